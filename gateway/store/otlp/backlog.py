"""Journals as a source of spans: batches read from a cursor for each journal.

Only open runs and steps are held between two batches: a batch that the collector did not take is read again.
"""

import logging
from pathlib import Path

import msgspec
from msgspec import Struct
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from gateway.config.model import Capture, VocabularyName
from gateway.store.otlp import forwarding
from gateway.store.otlp.cursors import Budget, Checkpoint, Cursors
from gateway.store.otlp.delivery import Batch
from gateway.store.otlp.open_runs import EventBatch, OpenRuns, RunState
from gateway.store.otlp.open_runs_file import OpenRunsFile
from gateway.store.otlp.rows import row_in, span_of
from gateway.tracing.tracer import SCOPE, VERSION

log = logging.getLogger("gateway.otlp")

_SPAN = b'{"t":"span"'
_EVENT = b'{"t":"event"'
_RECEIVED = b'{"t":"received"'
# Events read for one batch; their changes are held in memory until the batch is settled.
_EVENTS_MAX = 5_000


class _Identity(Struct):
    trace_id: str
    span_id: str


class _Header(Struct):
    resource: dict[str, str | int | float | bool]


_identities = msgspec.json.Decoder(_Identity)


class Backlog:
    """The journals of a data folder, and how far each is exported. `exported` and `forget` are thread-safe."""

    def __init__(self, data: Path, vocabulary: VocabularyName = "gen-ai") -> None:
        self._vocabulary = vocabulary
        self._live = data / "live"
        self._cursors = Cursors(data, data / "otlp" / "cursor.json")
        self._runs_file = OpenRunsFile(data / "otlp" / "open.jsonl")
        self._runs = OpenRuns(self._runs_file.read())
        self._runs.given_up = 0  # counted before the restart
        self._scope = InstrumentationScope(SCOPE, VERSION)
        self._resources: dict[str, Resource] = {}

    def __repr__(self) -> str:
        return f"<Backlog {self._live} waiting: {self.waiting}>"

    @property
    def waiting(self) -> int:
        """Bytes of journals that wait, at the last scan."""
        return self._cursors.waiting

    def exported(self, journal: Path) -> bool:
        """Return whether all of a journal is sent or given up."""
        return self._cursors.exported(journal)

    def forget(self, journal: Path) -> None:
        """Drop the cursor of a journal that was removed."""
        self._cursors.forget(journal)

    def scan(self) -> list[Path]:
        """Return the journals that are not done, oldest first, and update `waiting`."""
        pending = self._cursors.scan()
        names = self._cursors.names
        self._resources = {name: source for name, source in self._resources.items() if name in names}
        return pending

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
        budget = Budget(batch, max_bytes)
        for run in self._runs.due(now_ns):
            if self._cursors.passed(self._runs.identity(run)):  # the application sent it itself
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
            for line, behind in self._cursors.lines(journal, with_interrupted=True):
                if line.startswith(_SPAN):
                    if not budget.add(self._span_of, line, journal, capture):
                        return batch
                elif line.startswith(_RECEIVED):
                    of = _identity(line)
                    if not self._cursors.passed(of) and of not in checkpoint.passed:
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

        def write_runs() -> None:
            self._runs_file.write(changed.values(), self._runs)

        self._cursors.settle(checkpoint.cursors, checkpoint.passed, write_runs if changed else None)

    def drop_oldest(self, max_bytes: int, capture: Capture) -> int:
        """Skip the oldest journals until at most `max_bytes` wait; return the number of spans lost.

        Their events of runs and steps are read: they are small.
        """
        lost = 0
        for journal in self.scan() if self.waiting > max_bytes else ():
            if self.waiting <= max_bytes:
                break
            before = checkpoint = self._cursors.of(journal)
            events_batch = EventBatch(self._runs)
            for line, behind in self._cursors.lines(journal, with_interrupted=True):
                lost += line.startswith((_SPAN, _RECEIVED))
                if line.startswith(_EVENT):
                    self._add_event(events_batch, line, journal, capture)
                checkpoint = behind
            self._cursors.waiting -= checkpoint.offset - before.offset
            self.settle(Checkpoint({journal.name: checkpoint}, events_batch.changed))
        return lost

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


def _identity(line: bytes) -> str:
    """Return the trace id and the span id in a line, empty for a damaged one."""
    try:
        of = _identities.decode(line)
    except msgspec.DecodeError:
        return ""
    return of.trace_id + of.span_id


def _span_received(line: bytes, capture: Capture) -> forwarding.Forwarded:
    return forwarding.span_of(forwarding.row_in(line), capture)
