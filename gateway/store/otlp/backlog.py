"""Journals as a source of spans: a cursor for each, which survives `kill -9`, and batches read from there.

Only open runs and steps are held between two batches: a batch that the collector did not take is read again. Cursors
are written after the collector took a batch, so that every span is sent at least once.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, ParamSpec

import msgspec
from msgspec import Struct
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.config.model import Capture, VocabularyName
from gateway.store.ledger import interrupted, read_ledger
from gateway.store.otlp import forwarding
from gateway.store.otlp.delivery import Batch
from gateway.store.otlp.open_runs import EventBatch, OpenRuns, RunState
from gateway.store.otlp.open_runs_file import OpenRunsFile
from gateway.store.otlp.request import Outgoing, weight
from gateway.store.otlp.rows import row_in, span_of
from gateway.tracing.journal import SUFFIX
from gateway.tracing.journal_file import locked
from gateway.tracing.tracer import SCOPE, VERSION

log = logging.getLogger("gateway.otlp")

_SPAN = b'{"t":"span"'
_EVENT = b'{"t":"event"'
_RECEIVED = b'{"t":"received"'
# Events read for one batch; their changes are held in memory until the batch is settled.
_EVENTS_MAX = 5_000
# Ids of forwarded spans that are remembered: one that a collector sends back is not forwarded again.
_PASSED_MAX = 50_000


P = ParamSpec("P")


class Cursor(Struct, frozen=True, omit_defaults=True):
    """Position in a journal: bytes read, then interrupted exchanges sent; `done` once nothing can follow."""

    offset: int = 0
    interrupted: int = 0
    done: bool = False


class Checkpoint(NamedTuple):
    """Positions after a batch: cursors that moved, runs and steps that changed, ids of spans that are forwarded."""

    cursors: dict[str, Cursor]
    changed: dict[str, RunState]
    passed: dict[str, None] = {}  # noqa: RUF012  a tuple; its dict is never changed


class _Identity(Struct):
    trace_id: str
    span_id: str


class _Budget:
    """Byte budget of one batch."""

    def __init__(self, batch: Batch[Checkpoint], max_bytes: int) -> None:
        self._batch = batch
        self._left = max_bytes

    def add(self, build: Callable[P, Outgoing], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Build a span and add it to the batch, at least one; return False if the budget is used up.

        A span that cannot be built is counted as damaged, and the next ones are sent.
        """
        batch = self._batch
        try:
            span = build(*args, **kwargs)
            self._left -= weight(span)
        except Exception:
            batch.damaged += 1
            return True
        if batch.spans and self._left < 0:
            batch.full = True
            return False
        batch.spans.append(span)
        return True


class _Header(Struct):
    resource: dict[str, str | int | float | bool]


_identities = msgspec.json.Decoder(_Identity)


class Backlog:
    """The journals of a data folder, and how far each is exported. `exported` and `forget` are thread-safe."""

    def __init__(self, data: Path, vocabulary: VocabularyName = "gen-ai") -> None:
        self._vocabulary = vocabulary
        self._live = data / "live"
        self._file = data / "otlp" / "cursor.json"
        self._runs_file = OpenRunsFile(data / "otlp" / "open.jsonl")
        self._runs = OpenRuns(self._runs_file.read())
        self._runs.given_up = 0  # counted before the restart
        self._scope = InstrumentationScope(SCOPE, VERSION)
        self._resources: dict[str, Resource] = {}
        self._passed: dict[str, None] = {}
        self._lock = threading.Lock()
        self._cursors = self._load()
        self._saved = dict(self._cursors)
        self.bytes = 0

    def __repr__(self) -> str:
        return f"<Backlog {self._live} bytes: {self.bytes}>"

    def exported(self, journal: Path) -> bool:
        """Return whether all of a journal is sent or given up."""
        return self._cursor(journal).done

    def forget(self, journal: Path) -> None:
        """Drop the cursor of a journal that was removed."""
        with self._lock:
            self._cursors.pop(journal.name, None)

    def scan(self) -> list[Path]:
        """Return the journals that are not done, oldest first, and update `bytes`."""
        sizes = {}
        for path in self._live.glob(f"*{SUFFIX}"):
            try:
                sizes[path] = path.stat().st_size
            except FileNotFoundError:
                continue
        names = {path.name for path in sizes}
        with self._lock:
            self._cursors = {name: cursor for name, cursor in self._cursors.items() if name in names}
            pending = {path: self._cursors.get(path.name, Cursor()) for path in sizes}
        self._resources = {name: source for name, source in self._resources.items() if name in names}
        pending = {path: cursor for path, cursor in pending.items() if not cursor.done}
        self.bytes = sum(max(0, sizes[path] - cursor.offset) for path, cursor in pending.items())
        return sorted(pending, key=_age)

    @property
    def open(self) -> int:
        """Number of runs and steps that began and are not sent."""
        return len(self._runs)

    @property
    def ready(self) -> bool:
        """Whether a run or step is due, which no full batch shows."""
        return self._runs.any_due()

    def given_up(self) -> int:
        """Return the number of runs and steps given up since the last call."""
        count, self._runs.given_up = self._runs.given_up, 0
        return count

    def batch(self, max_spans: int, max_bytes: int, capture: Capture, now_ns: int) -> Batch[Checkpoint]:
        """Return the next spans in order, with content as `capture` allows; at least one, however large.

        Runs and steps that are due come first: their events were read for an earlier batch. `now_ns`: Unix time.
        """
        events_batch = EventBatch(self._runs)
        checkpoint = Checkpoint({}, events_batch.changed, {})
        batch = Batch([], checkpoint)
        budget = _Budget(batch, max_bytes)
        for run in self._runs.due(now_ns):
            if self._runs.identity(run) in self._passed:  # the application sent it itself
                events_batch.mark_sent(run)
                continue
            if not budget.add(self._span_of_run, run, capture):
                return batch
            events_batch.mark_sent(run)
            if len(batch.spans) >= max_spans:
                batch.full = True
                return batch
        events = 0
        for journal in self.scan():
            for line, behind in self._lines(journal):
                if line.startswith(_SPAN):
                    if not budget.add(self._span_of, line, journal, capture):
                        return batch
                elif line.startswith(_RECEIVED):
                    of = _identity(line)
                    if of not in self._passed and of not in checkpoint.passed:
                        if not budget.add(_span_received, line, capture):
                            return batch
                        checkpoint.passed[of] = None
                elif line.startswith(_EVENT):
                    events += 1
                    batch.damaged += self._add_event(events_batch, line, journal, capture)
                elif line and not (line.startswith(b"{") and line.endswith(b"\n")):
                    batch.damaged += 1
                batch.position.cursors[journal.name] = behind
                if len(batch.spans) >= max_spans or events >= _EVENTS_MAX:
                    batch.full = True
                    return batch
        return batch

    def _span_of(self, line: bytes, journal: Path, capture: Capture) -> ReadableSpan:
        return span_of(row_in(line), self._resource(journal), self._scope, capture, self._vocabulary)

    def _span_of_run(self, run: RunState, capture: Capture) -> ReadableSpan:
        row = self._runs.row_of(run)
        return span_of(row, Resource(run.resource), self._scope, capture, self._vocabulary)

    def _add_event(self, events_batch: EventBatch, line: bytes, journal: Path, capture: Capture) -> int:
        """Add an event; return the number of damaged lines."""
        try:
            events_batch.add(line, self._resource(journal).attributes, capture)
        except Exception:  # whatever is wrong with it, the next lines are read
            return 1
        return 0

    def settle(self, checkpoint: Checkpoint) -> None:
        """Apply a checkpoint, and write it: runs and steps first, then the cursors.

        After a kill between the two writes, events are read twice, which changes nothing. In the other order the start
        of an open run would be lost.
        """
        changed = checkpoint.changed
        self._runs.apply(changed)
        self._passed.update(checkpoint.passed)
        while len(self._passed) > _PASSED_MAX:
            del self._passed[next(iter(self._passed))]
        with self._lock:
            self._cursors.update(checkpoint.cursors)
            cursors = dict(self._cursors)
        if cursors == self._saved and not changed:
            return
        unfinished = self._file.with_suffix(".tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._runs_file.write(changed.values(), self._runs)
            unfinished.write_bytes(msgspec.json.encode(cursors))
            unfinished.replace(self._file)
        except OSError as error:  # at worst a restart sends some spans again
            log.warning("cannot write in %s: %s", self._file.parent, error)
        else:
            self._saved = cursors

    def drop_oldest(self, max_bytes: int, capture: Capture) -> int:
        """Skip the oldest journals until at most `max_bytes` wait; return the number of spans lost.

        Their events of runs and steps are read: they are small.
        """
        lost = 0
        for journal in self.scan() if self.bytes > max_bytes else ():
            if self.bytes <= max_bytes:
                break
            before = checkpoint = self._cursor(journal)
            events_batch = EventBatch(self._runs)
            for line, behind in self._lines(journal):
                lost += line.startswith((_SPAN, _RECEIVED))
                if line.startswith(_EVENT):
                    self._add_event(events_batch, line, journal, capture)
                checkpoint = behind
            self.bytes -= checkpoint.offset - before.offset
            self.settle(Checkpoint({journal.name: checkpoint}, events_batch.changed))
        return lost

    def _cursor(self, journal: Path) -> Cursor:
        with self._lock:
            return self._cursors.get(journal.name, Cursor())

    def _lines(self, journal: Path) -> Iterator[tuple[bytes, Cursor]]:
        """Yield a journal's lines from its cursor on, each with the cursor after it.

        Once no worker writes to the journal, its interrupted exchanges follow as lines, and an empty last one.
        """
        at = self._cursor(journal)
        offset = at.offset
        try:
            final = not locked(journal)  # checked first: then no line can follow those that are read
            with journal.open("rb") as file:
                file.seek(offset)
                for line in file:
                    if not (final or line.endswith(b"\n")):
                        return
                    offset += len(line)
                    yield line, Cursor(offset)
            if not final:
                return
            _, starts = read_ledger(journal)
        except FileNotFoundError:
            return
        for index in range(at.interrupted, len(starts)):
            yield msgspec.json.encode(interrupted(starts[index])), Cursor(offset, index + 1)
        yield b"", Cursor(offset, len(starts), done=True)

    def _resource(self, journal: Path) -> Resource:
        """Return the worker's resource from the journal's header, with OTEL_RESOURCE_ATTRIBUTES."""
        source = self._resources.get(journal.name)
        if source is None:
            with journal.open("rb") as file:
                header = file.readline()
            try:
                source = Resource(msgspec.json.decode(header, type=_Header).resource)
            except msgspec.DecodeError:
                source = Resource({"service.name": "gateway"})
            self._resources[journal.name] = source
        return source

    def _load(self) -> dict[str, Cursor]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Cursor])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s cannot be read (%s); all journals are sent again", self._file, error)
            return {}


def _identity(line: bytes) -> str:
    """Return the trace id and the span id in a line, empty for a damaged one."""
    try:
        of = _identities.decode(line)
    except msgspec.DecodeError:
        return ""
    return of.trace_id + of.span_id


def _span_received(line: bytes, capture: Capture) -> forwarding.ForwardedSpan:
    return forwarding.span_of(forwarding.row_in(line), capture)


def _age(journal: Path) -> tuple[int, str]:
    """Return a sort key: the time in the name, which ends in Unix nanoseconds."""
    _, _, started = journal.stem.rpartition("-")
    return (int(started) if started.isdecimal() else 0, journal.name)
