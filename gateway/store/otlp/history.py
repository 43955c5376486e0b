"""The store as a source of spans: all of a period, oldest first, in bounded memory, from a position on.

Queries run in the sandbox, each of them short: a long one would hold files that the recorder merges and removes, and
sort more than fits into memory. Spans are counted by the minute, then the positions of some minutes are listed, then
the spans are read, a few megabytes at a time, while the ones before are being sent.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Struct
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.config.model import MIB, Capture, VocabularyName
from gateway.semconv import COLUMNS, CONTENT_COLUMNS
from gateway.store.ledger import read_ledger
from gateway.store.otlp import forwarding
from gateway.store.otlp.delivery import Batch
from gateway.store.otlp.request import Outgoing, weight
from gateway.store.otlp.rows import row_of_store, span_of
from gateway.store.query import QueryError, QueryRefused, QueryTimeout, Result, run_sql_async
from gateway.store.segments import store_files
from gateway.store.views import OF_OTHERS, quoted
from gateway.tracing.journal_file import locked
from gateway.tracing.tracer import SCOPE, VERSION

_MINUTE = 60_000_000_000
# Rough limits on the spans that are listed at once, and on the spans and bytes that are read at once.
_LISTED, _READ_SPANS, _READ_BYTES = 20_000, 5000, 20 * MIB
_MOST_ROWS = 200_000
# A line is written shortly after its span's time is taken.
_SETTLED = 1_000_000_000
_TRIES, _AGAIN_SECONDS = 3, 1.0

# More than a query may return, as JSON within JSON; no collector takes it either, so it is sent without content.
_LONGEST = 24 * MIB

_NAMES = [*(column.name for column in COLUMNS), "origin", *OF_OTHERS]
_WIDE = (*CONTENT_COLUMNS, "attributes", "events", "links", "resource")
_WITHOUT_CONTENT = [name for name in _NAMES if name not in CONTENT_COLUMNS]
_SIZE = " + ".join(f"coalesce(strlen({name}::VARCHAR), 0)" for name in _WIDE)

T = TypeVar("T")
U = TypeVar("U")
Row = dict[str, Any]


class SpanPosition(Struct, frozen=True, order=True):
    """Position in the order of all spans: the start of a span in Unix nanoseconds, and its id."""

    start_ns: int
    span_id: str = ""


class Span(NamedTuple):
    """Position of a span, and its estimated bytes."""

    start_ns: int
    span_id: str
    bytes: int


class Window(NamedTuple):
    """A period whose spans are listed at once, from the end of the window before; `spans`: about how many."""

    end: int
    spans: int


class Selection(Struct, frozen=True, kw_only=True):
    """Spans to export: those started before `until_ns` that meet `where`, a condition of SQL over `spans`."""

    data: Path
    until_ns: int
    where: str = "true"
    timeout: float = 600.0
    memory_mb: int = 1024


class History:
    """Spans of the store from a position on. Must be closed: a thread prefetches."""

    def __init__(
        self, selection: Selection, begin: SpanPosition, source: Resource, vocabulary: VocabularyName = "gen-ai"
    ) -> None:
        self._selection = selection
        self._begin = begin
        self._source = source
        self._vocabulary = vocabulary
        self._scope = InstrumentationScope(SCOPE, VERSION)
        self._resources: dict[str, Resource] = {}
        self._windows: list[Window] = []
        self._prefetch = _Prefetch(self._chunks())
        self._rows: list[Row] = []
        self._at = 0
        self.position = begin
        self.total = 0
        self.finished = False

    def __repr__(self) -> str:
        return f"<History position: {self.position}>"

    def count(self) -> int:
        """Return the number of spans selected now. Raises QueryError."""
        self._windows = self._prefetch.wait(self._count())
        self.total = sum(window.spans for window in self._windows)
        return self.total

    def batch(self, max_spans: int, max_bytes: int, capture: Capture) -> Batch[SpanPosition]:
        """Return the next spans, none at the end. Raises QueryError."""
        if self._at >= len(self._rows):
            self._rows, self._at = self._prefetch.next() or [], 0
            if not self._rows:
                return Batch([], SpanPosition(self._selection.until_ns))
        batch = Batch([], self.position)
        held = 0
        for row in self._rows[self._at : self._at + max_spans]:
            try:
                span = self._span(row, capture)
            except Exception:  # whatever is wrong with a row, the next ones are sent
                batch.damaged += 1
            else:
                held += weight(span)
                if batch.spans and held > max_bytes:
                    break
                batch.spans.append(span)
            batch.position = SpanPosition(row["start_ns"], row["span_id"])
        batch.full = True
        return batch

    def settle(self, position: SpanPosition) -> None:
        """Move to the position after a batch."""
        while self._at < len(self._rows) and _position_of(self._rows[self._at]) <= position:
            self._at += 1
        self.position = position
        self.finished = position == SpanPosition(self._selection.until_ns)

    @property
    def ready(self) -> bool:
        """False: a full batch shows that there is more."""
        return False

    def close(self) -> None:
        """Cancel a query under way, and end the thread."""
        self._prefetch.close()

    def _span(self, row: Row, capture: Capture) -> Outgoing:
        if row["origin"] == "otlp":
            return forwarding.span_of(forwarding.row_of_store(row), capture)
        return span_of(row_of_store(row), self._resource(row), self._scope, capture, self._vocabulary)

    def _resource(self, row: Row) -> Resource:
        """Return the resource of a span: the service's name from the store, all else from the environment."""
        name = row.get("service_name") or "gateway"
        if name not in self._resources:
            self._resources[name] = self._source.merge(Resource({"service.name": name}))
        return self._resources[name]

    async def _count(self) -> list[Window]:
        until = self._selection.until_ns
        found = await self._query(
            f"SELECT start_ns // {_MINUTE} AS minute, count(*)::BIGINT FROM spans "
            f"WHERE {self._condition(self._begin, until)} GROUP BY minute ORDER BY minute",
            _MOST_ROWS,
        )
        return list(windows([(int(minute), int(count)) for minute, count in found.rows], until))

    async def _chunks(self) -> AsyncIterator[list[Row]]:
        """Yield the spans in order, some at a time."""
        behind = self._begin
        for window in self._windows:
            more = True
            while more:
                listed = await self._query(
                    f"SELECT start_ns, span_id, {_SIZE} FROM spans WHERE {self._condition(behind, window.end)} "
                    "ORDER BY start_ns, span_id",
                    _MOST_ROWS,
                )
                spans = [Span(*row) for row in listed.rows]
                for chunk in portions(spans):
                    yield await self._read(chunk)
                more = listed.truncated and bool(spans)
                behind = SpanPosition(*spans[-1][:2]) if more else SpanPosition(window.end)

    async def _read(self, chunk: Sequence[Span]) -> list[Row]:
        """Return the spans at these positions, by their ids: the condition need not select the same ones again."""
        ids = ", ".join(quoted(span.span_id) for span in chunk)
        names = _NAMES if chunk[0].bytes <= _LONGEST else _WITHOUT_CONTENT
        found = await self._query(
            f"SELECT {', '.join(names)} FROM spans "
            f"WHERE start_ns BETWEEN {chunk[0].start_ns} AND {chunk[-1].start_ns} AND span_id IN ({ids}) "
            "ORDER BY start_ns, span_id",
            2 * len(chunk) + 1,
        )
        return [dict(zip(names, row, strict=True)) for row in found.rows]

    def _condition(self, behind: SpanPosition, until: int) -> str:
        """Return the condition for the spans after a position. By its bounds DuckDB skips most row groups."""
        since = f"start_ns >= {behind.start_ns}"
        if behind.span_id:
            since += f" AND (start_ns > {behind.start_ns} OR span_id > {quoted(behind.span_id)})"
        return f"{since} AND start_ns < {until} AND (\n{self._selection.where}\n)"

    async def _query(self, sql: str, limit: int) -> Result:
        """Run a query, again if files were removed meanwhile. Raises QueryError."""
        selection = self._selection
        for _ in range(_TRIES - 1):
            try:
                return await run_sql_async(
                    selection.data, sql, limit=limit, timeout_s=selection.timeout, memory_mb=selection.memory_mb
                )
            except (QueryRefused, QueryTimeout):
                raise
            except QueryError as error:
                if "cannot be read" not in str(error) and "IO Error" not in str(error):
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
        return await run_sql_async(
            selection.data, sql, limit=limit, timeout_s=selection.timeout, memory_mb=selection.memory_mb
        )


def windows(minutes: Iterable[tuple[int, int]], until_ns: int) -> Iterator[Window]:
    """Yield consecutive windows up to `until_ns`, of minutes with their numbers of spans, in order."""
    held = 0
    for minute, spans in minutes:
        if held and held + spans > _LISTED:
            yield Window(minute * _MINUTE, held)
            held = 0
        held += spans
    yield Window(until_ns, held)


def portions(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Yield spans some at a time, within the limits on number and bytes, at least one."""
    portion: list[Span] = []
    held = 0
    for span in spans:
        if portion and (len(portion) == _READ_SPANS or held + span.bytes > _READ_BYTES):
            yield portion
            portion, held = [], 0
        portion.append(span)
        held += span.bytes
    if portion:
        yield portion


def horizon(data: Path, now_ns: int) -> int:
    """Return the time up to which the store has every span: now, or the start of the oldest exchange in flight."""
    _, journals = store_files(data)
    written = [path for path in journals if locked(path)]
    if not written:
        return now_ns
    begun = [now_ns - _SETTLED]
    for path in written:
        try:
            begun += [start["start_ns"] for start in read_ledger(path)[1]]
        except FileNotFoundError:  # sealed and removed
            continue
    return min(begun)


def _position_of(row: Row) -> SpanPosition:
    return SpanPosition(row["start_ns"], row["span_id"])


class _Prefetch(Generic[T]):
    """Items prefetched one ahead of their consumer, on an event loop in a thread of its own."""

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ahead", daemon=True)
        self._thread.start()
        self._coming: Future[T | None] | None = None

    def wait(self, coroutine: Coroutine[Any, Any, U]) -> U:
        """Run a coroutine and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def next(self) -> T | None:
        """Return the next item and start the one after it; None at the end."""
        coming = self._coming or self._start()
        item = coming.result()
        self._coming = None if item is None else self._start()
        return item

    def close(self) -> None:
        """Cancel the item under way, and end the thread."""
        if self._loop.is_closed():
            return
        self.wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _start(self) -> "Future[T | None]":
        return asyncio.run_coroutine_threadsafe(anext(self._items, None), self._loop)

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
