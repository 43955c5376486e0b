"""How far each journal has been exported: read on from there, a batch at a time, and remember it across `kill -9`.

Nothing is held between two batches but the runs and steps that have not ended: what a collector did not take is read
again. The cursor is written after a batch was taken, so that a span is sent at least once.
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
from gateway.store.otlp import passing
from gateway.store.otlp.delivery import Batch
from gateway.store.otlp.encoding import Outgoing, weight
from gateway.store.otlp.folding import Folding, Told, Turn
from gateway.store.otlp.memory import Memory
from gateway.store.otlp.rows import row_in, span_of
from gateway.tracing.journal import SUFFIX
from gateway.tracing.journal_file import locked
from gateway.tracing.tracer import SCOPE, VERSION

log = logging.getLogger("gateway.otlp")

_SPAN = b'{"t":"span"'
_EVENT = b'{"t":"event"'
_RECEIVED = b'{"t":"received"'
# No more are read for one batch: what they come to is held until it was taken.
_EVENTS_MAX = 5_000
# So many spans of applications are known again: one that comes back from where it was passed on to goes no further.
_PASSED_MAX = 50_000


P = ParamSpec("P")


class Cursor(Struct, frozen=True, omit_defaults=True):
    """A place in a journal: bytes, then interrupted exchanges, that are behind it; `done` once nothing can follow."""

    offset: int = 0
    interrupted: int = 0
    done: bool = False


class Reached(NamedTuple):
    """Where a batch leaves each journal, and each run and step; which spans of applications are in it."""

    cursors: dict[str, Cursor]
    changed: dict[str, Told]
    passed: dict[str, None] = {}  # noqa: RUF012  a tuple, which nobody changes


class _Identity(Struct):
    trace_id: str
    span_id: str


class _Room:
    """What is left of a batch's bytes."""

    def __init__(self, batch: Batch[Reached], max_bytes: int) -> None:
        self._batch = batch
        self._left = max_bytes

    def takes(self, made: Callable[P, Outgoing], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Put the span that is made into the batch, one at least; False where there is no room for it.

        Whatever is wrong with one, the ones behind it are sent.
        """
        batch = self._batch
        try:
            span = made(*args, **kwargs)
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
    """The journals of a data folder as the exporter sees them. `exported` and `forget` may be called by any thread."""

    def __init__(self, data: Path, vocabulary: VocabularyName = "gen-ai") -> None:
        self._vocabulary = vocabulary
        self._live = data / "live"
        self._file = data / "otlp" / "cursor.json"
        self._memory = Memory(data / "otlp" / "open.jsonl")
        self._folding = Folding(self._memory.read())
        self._folding.given_up = 0  # they were counted when they were
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
        """Whether nothing of a journal is left to send."""
        return self._cursor(journal).done

    def forget(self, journal: Path) -> None:
        """Drop what is known of a journal that is gone."""
        with self._lock:
            self._cursors.pop(journal.name, None)

    def scan(self) -> list[Path]:
        """Return the journals with something to send, now or later, oldest first; count their bytes."""
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
        """How many runs and steps have begun and are not sent."""
        return len(self._folding)

    @property
    def ready(self) -> bool:
        """Whether a run or a step ended that waits for nothing any more."""
        return self._folding.any_due()

    def given_up(self) -> int:
        """Return how many runs and steps were given up since this was asked last."""
        count, self._folding.given_up = self._folding.given_up, 0
        return count

    def batch(self, max_spans: int, max_bytes: int, capture: Capture, now_ns: int) -> Batch[Reached]:
        """Return the next spans in order, with as much content as `capture` says; one at least, however long it is.

        Runs and steps that have ended come first: their events were read for a batch before. `now_ns`: Unix time.
        """
        turn = Turn(self._folding)
        reached = Reached({}, turn.changed, {})
        batch = Batch([], reached)
        room = _Room(batch, max_bytes)
        for told in self._folding.due(now_ns):
            if self._folding.identity(told) in self._passed:  # the application's own stands for it
                turn.sent(told)
                continue
            if not room.takes(self._span_of_told, told, capture):
                return batch
            turn.sent(told)
            if len(batch.spans) >= max_spans:
                batch.full = True
                return batch
        events = 0
        for journal in self.scan():
            for line, behind in self._lines(journal):
                if line.startswith(_SPAN):
                    if not room.takes(self._span_of, line, journal, capture):
                        return batch
                elif line.startswith(_RECEIVED):
                    of = _identity(line)
                    if of not in self._passed and of not in reached.passed:
                        if not room.takes(_span_received, line, capture):
                            return batch
                        reached.passed[of] = None
                elif line.startswith(_EVENT):
                    events += 1
                    batch.damaged += self._told(turn, line, journal, capture)
                elif line and not (line.startswith(b"{") and line.endswith(b"\n")):
                    batch.damaged += 1
                batch.reached.cursors[journal.name] = behind
                if len(batch.spans) >= max_spans or events >= _EVENTS_MAX:
                    batch.full = True
                    return batch
        return batch

    def _span_of(self, line: bytes, journal: Path, capture: Capture) -> ReadableSpan:
        return span_of(row_in(line), self._resource(journal), self._scope, capture, self._vocabulary)

    def _span_of_told(self, told: Told, capture: Capture) -> ReadableSpan:
        row = self._folding.row_of(told)
        return span_of(row, Resource(told.resource), self._scope, capture, self._vocabulary)

    def _told(self, turn: Turn, line: bytes, journal: Path, capture: Capture) -> int:
        """Take an event; return how many lines were damaged."""
        try:
            turn.take(line, self._resource(journal).attributes, capture)
        except Exception:  # as for a span
            return 1
        return 0

    def settle(self, reached: Reached) -> None:
        """Move the cursors, and take what changed of runs and steps; write both down.

        The cursor comes last: after a kill between the two, events are read again, which changes nothing.
        """
        changed = reached.changed
        self._folding.keep(changed)
        self._passed.update(reached.passed)
        while len(self._passed) > _PASSED_MAX:
            del self._passed[next(iter(self._passed))]
        with self._lock:
            self._cursors.update(reached.cursors)
            cursors = dict(self._cursors)
        if cursors == self._saved and not changed:
            return
        unfinished = self._file.with_suffix(".tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._memory.write(changed.values(), self._folding)
            unfinished.write_bytes(msgspec.json.encode(cursors))
            unfinished.replace(self._file)
        except OSError as error:  # the worst of it: a restart sends some spans again
            log.warning("cannot write in %s: %s", self._file.parent, error)
        else:
            self._saved = cursors

    def give_up(self, max_bytes: int, capture: Capture) -> int:
        """Pass over the oldest journals until no more than `max_bytes` wait; return how many spans that loses.

        What they tell of runs and steps is taken: it is small.
        """
        lost = 0
        for journal in self.scan() if self.bytes > max_bytes else ():
            if self.bytes <= max_bytes:
                break
            before = reached = self._cursor(journal)
            turn = Turn(self._folding)
            for line, behind in self._lines(journal):
                lost += line.startswith((_SPAN, _RECEIVED))
                if line.startswith(_EVENT):
                    self._told(turn, line, journal, capture)
                reached = behind
            self.bytes -= reached.offset - before.offset
            self.settle(Reached({journal.name: reached}, turn.changed))
        return lost

    def _cursor(self, journal: Path) -> Cursor:
        with self._lock:
            return self._cursors.get(journal.name, Cursor())

    def _lines(self, journal: Path) -> Iterator[tuple[bytes, Cursor]]:
        """Give a journal's lines from its cursor on, each with the place behind it.

        Once nobody writes to it any more, its interrupted exchanges follow, as lines, and an empty last one.
        """
        at = self._cursor(journal)
        offset = at.offset
        try:
            final = not locked(journal)  # asked first: what is read after that is all there will be
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
        """Return what the worker said of itself, OTEL_RESOURCE_ATTRIBUTES included, when it began the journal."""
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
            log.warning("%s cannot be read (%s); what is in the journals is sent again", self._file, error)
            return {}


def _identity(line: bytes) -> str:
    """Return what tells a span from all others; of a damaged line, which is none, nothing."""
    try:
        of = _identities.decode(line)
    except msgspec.DecodeError:
        return ""
    return of.trace_id + of.span_id


def _span_received(line: bytes, capture: Capture) -> passing.Passed:
    return passing.span_of(passing.row_in(line), capture)


def _age(journal: Path) -> tuple[int, str]:
    """Return a sort key: the time in the name, which ends in Unix nanoseconds."""
    _, _, started = journal.stem.rpartition("-")
    return (int(started) if started.isdecimal() else 0, journal.name)
