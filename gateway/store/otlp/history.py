"""The store as the exporter sees it: all spans of a time, oldest first, in bounded memory, from a place on.

It is asked in the locked room, a query at a time. A long one would hold on to files that the recorder merges and
removes, and sort what does not fit: so what is there is counted first, by the minute; then the spans' places of some
minutes are listed; then the spans themselves are read, a few megabytes at a time, while those before are being sent.
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
from gateway.store.otlp import passing
from gateway.store.otlp.delivery import Batch
from gateway.store.otlp.encoding import Outgoing, weight
from gateway.store.otlp.rows import row_of_store, span_of
from gateway.store.query import QueryError, QueryRefused, QueryTimeout, Result, run_sql_async
from gateway.store.segments import store_files
from gateway.store.views import OF_OTHERS, quoted
from gateway.tracing.journal_file import locked
from gateway.tracing.tracer import SCOPE, VERSION

_MINUTE = 60_000_000_000
# As many spans, about, are listed at once, and as many bytes of them, about, read at once.
_LISTED, _READ_SPANS, _READ_BYTES = 20_000, 5000, 20 * MIB
_MOST_ROWS = 200_000
# A span's time is taken a moment before its line is written.
_SETTLED = 1_000_000_000
_TRIES, _AGAIN_SECONDS = 3, 1.0

# More than the room answers with, as JSON of JSON; no collector takes that either, so it goes without its content.
_LONGEST = 24 * MIB

_NAMES = [*(column.name for column in COLUMNS), "origin", *OF_OTHERS]
_WIDE = (*CONTENT_COLUMNS, "attributes", "events", "links", "resource")
_NARROW = [name for name in _NAMES if name not in CONTENT_COLUMNS]
_SIZE = " + ".join(f"coalesce(strlen({name}::VARCHAR), 0)" for name in _WIDE)

T = TypeVar("T")
U = TypeVar("U")
Row = dict[str, Any]


class Place(Struct, frozen=True, order=True):
    """A place in the order of all spans: Unix nanoseconds of a span's start, and its id. All before it is behind."""

    start_ns: int
    span_id: str = ""


class Span(NamedTuple):
    """Where a span is, and about how many bytes it takes."""

    start_ns: int
    span_id: str
    bytes: int


class Window(NamedTuple):
    """Spans that are listed at once: those before `end` that no window before has, about how many."""

    end: int
    spans: int


class Asked(Struct, frozen=True, kw_only=True):
    """Which spans are wanted: those started before `until_ns`, of which `where` (SQL over `spans`) is true."""

    data: Path
    until_ns: int
    where: str = "true"
    timeout: float = 600.0
    memory_mb: int = 1024


class History:
    """Spans of the store from a place on. Close it: it asks ahead, in a thread of its own."""

    def __init__(self, asked: Asked, begin: Place, source: Resource, vocabulary: VocabularyName = "gen-ai") -> None:
        self._asked = asked
        self._begin = begin
        self._source = source
        self._vocabulary = vocabulary
        self._scope = InstrumentationScope(SCOPE, VERSION)
        self._resources: dict[str, Resource] = {}
        self._windows: list[Window] = []
        self._ahead = _Ahead(self._chunks())
        self._rows: list[Row] = []
        self._at = 0
        self.reached = begin
        self.total = 0
        self.finished = False

    def __repr__(self) -> str:
        return f"<History reached: {self.reached}>"

    def count(self) -> int:
        """Return how many spans are wanted, as far as is known now. Raises QueryError."""
        self._windows = self._ahead.wait(self._count())
        self.total = sum(window.spans for window in self._windows)
        return self.total

    def batch(self, max_spans: int, max_bytes: int, capture: Capture) -> Batch[Place]:
        """Return the next spans; none where all are behind. Raises QueryError."""
        if self._at >= len(self._rows):
            self._rows, self._at = self._ahead.next() or [], 0
            if not self._rows:
                return Batch([], Place(self._asked.until_ns))
        batch = Batch([], self.reached)
        held = 0
        for row in self._rows[self._at : self._at + max_spans]:
            try:
                span = self._span(row, capture)
            except Exception:  # whatever is wrong with a row, the ones behind it are sent
                batch.damaged += 1
            else:
                held += weight(span)
                if batch.spans and held > max_bytes:
                    break
                batch.spans.append(span)
            batch.reached = Place(row["start_ns"], row["span_id"])
        batch.full = True
        return batch

    def settle(self, reached: Place) -> None:
        """Go on behind a batch."""
        while self._at < len(self._rows) and _place(self._rows[self._at]) <= reached:
            self._at += 1
        self.reached = reached
        self.finished = reached == Place(self._asked.until_ns)

    @property
    def ready(self) -> bool:
        """Nothing is, that no batch shows."""
        return False

    def close(self) -> None:
        """End a query under way."""
        self._ahead.close()

    def _span(self, row: Row, capture: Capture) -> Outgoing:
        if row["origin"] == "otlp":
            return passing.span_of(passing.row_of_store(row), capture)
        return span_of(row_of_store(row), self._resource(row), self._scope, capture, self._vocabulary)

    def _resource(self, row: Row) -> Resource:
        """Return what the span's service says of itself: its name is in the store, the rest is the environment's."""
        name = row.get("service_name") or "gateway"
        if name not in self._resources:
            self._resources[name] = self._source.merge(Resource({"service.name": name}))
        return self._resources[name]

    async def _count(self) -> list[Window]:
        until = self._asked.until_ns
        found = await self._ask(
            f"SELECT start_ns // {_MINUTE} AS minute, count(*)::BIGINT FROM spans "
            f"WHERE {self._wanted(self._begin, until)} GROUP BY minute ORDER BY minute",
            _MOST_ROWS,
        )
        return list(windows([(int(minute), int(count)) for minute, count in found.rows], until))

    async def _chunks(self) -> AsyncIterator[list[Row]]:
        """Give the spans in order, some at a time."""
        behind = self._begin
        for window in self._windows:
            more = True
            while more:
                listed = await self._ask(
                    f"SELECT start_ns, span_id, {_SIZE} FROM spans WHERE {self._wanted(behind, window.end)} "
                    "ORDER BY start_ns, span_id",
                    _MOST_ROWS,
                )
                spans = [Span(*row) for row in listed.rows]
                for chunk in portions(spans):
                    yield await self._read(chunk)
                more = listed.truncated and bool(spans)
                behind = Place(*spans[-1][:2]) if more else Place(window.end)

    async def _read(self, chunk: Sequence[Span]) -> list[Row]:
        """Return the spans of these places. By their ids: the same condition need not choose the same ones again."""
        ids = ", ".join(quoted(span.span_id) for span in chunk)
        names = _NAMES if chunk[0].bytes <= _LONGEST else _NARROW
        found = await self._ask(
            f"SELECT {', '.join(names)} FROM spans "
            f"WHERE start_ns BETWEEN {chunk[0].start_ns} AND {chunk[-1].start_ns} AND span_id IN ({ids}) "
            "ORDER BY start_ns, span_id",
            2 * len(chunk) + 1,
        )
        return [dict(zip(names, row, strict=True)) for row in found.rows]

    def _wanted(self, behind: Place, until: int) -> str:
        """Return the condition for the spans behind a place. By its bounds DuckDB passes over most of the store."""
        since = f"start_ns >= {behind.start_ns}"
        if behind.span_id:
            since += f" AND (start_ns > {behind.start_ns} OR span_id > {quoted(behind.span_id)})"
        return f"{since} AND start_ns < {until} AND (\n{self._asked.where}\n)"

    async def _ask(self, sql: str, limit: int) -> Result:
        """Ask, and once more where files went away meanwhile. Raises QueryError."""
        asked = self._asked
        for _ in range(_TRIES - 1):
            try:
                return await run_sql_async(
                    asked.data, sql, limit=limit, timeout_s=asked.timeout, memory_mb=asked.memory_mb
                )
            except (QueryRefused, QueryTimeout):
                raise
            except QueryError as error:
                if "cannot be read" not in str(error) and "IO Error" not in str(error):
                    raise
                await asyncio.sleep(_AGAIN_SECONDS)
        return await run_sql_async(asked.data, sql, limit=limit, timeout_s=asked.timeout, memory_mb=asked.memory_mb)


def windows(minutes: Iterable[tuple[int, int]], until_ns: int) -> Iterator[Window]:
    """Give windows that follow each other up to `until_ns`, made of minutes and how many spans each has, in order."""
    held = 0
    for minute, spans in minutes:
        if held and held + spans > _LISTED:
            yield Window(minute * _MINUTE, held)
            held = 0
        held += spans
    yield Window(until_ns, held)


def portions(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Give spans some at a time: as many as may be read at once, by number and by bytes, and one at least."""
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
    """Return up to when the store has all spans that were started: now, or when what is still in flight began."""
    _, journals = store_files(data)
    written = [path for path in journals if locked(path)]
    if not written:
        return now_ns
    begun = [now_ns - _SETTLED]
    for path in written:
        try:
            begun += [start["start_ns"] for start in read_ledger(path)[1]]
        except FileNotFoundError:  # sealed, and gone
            continue
    return min(begun)


def _place(row: Row) -> Place:
    return Place(row["start_ns"], row["span_id"])


class _Ahead(Generic[T]):
    """Items made one ahead of who takes them, on a loop in a thread of its own."""

    def __init__(self, items: AsyncIterator[T]) -> None:
        self._items = items
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ahead", daemon=True)
        self._thread.start()
        self._coming: Future[T | None] | None = None

    def wait(self, made: Coroutine[Any, Any, U]) -> U:
        """Return what comes of a coroutine."""
        return asyncio.run_coroutine_threadsafe(made, self._loop).result()

    def next(self) -> T | None:
        """Return the next item, and have the one behind it made; None behind the last."""
        coming = self._coming or self._start()
        item = coming.result()
        self._coming = None if item is None else self._start()
        return item

    def close(self) -> None:
        """Cancel what is being made, and end the thread."""
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
