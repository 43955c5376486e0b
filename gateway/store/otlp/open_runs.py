"""Events of runs and steps, merged into one span for each, which is due once the run or step has ended. Pure.

The rules are those of `schema.sql`, applied one event at a time: the latest event by its own time wins. A span cannot
be recalled from a collector, so each is sent once; an end waits for its start, and for the start of its run, which may
be in the journal of another worker.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from gateway import ids
from gateway.config.model import Capture
from gateway.tracing.truncate import truncate_json

OPEN_MAX = 10_000
"""Limit on open runs and steps; the oldest beyond it are given up."""
SENT_MAX = 10_000
"""Limit on sent ones that are remembered, so that each is sent once and its steps find their parent."""
PATIENCE_NS = 10_000_000_000
"""Time that an end waits for its start, and a run or step for the span that the application may send of it."""
# Bytes of content of an open run or step, if `[capture] otlp` is "full".
_HELD_BYTES = 16 * 1024

EventOrder = tuple[int, int, str]
"""Sort key of an event: its time in Unix nanoseconds, its phase, its id."""

_CONTENT = ("input", "output", "error")
_OF_START = ("name", "step_type", "application", "environment", "tags", "parent_step_id", "parent_span_id", "input")
_OF_END = ("output", "error")
_OF_RUN = ("application", "environment")  # inherited by its steps


class RunState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """State of one run or one step after the events read so far; a line of `otlp/open.jsonl`.

    Attributes:
        begun: The first start.
        ended: The last end; None if the run goes on.
        stood: The latest event of all, which `status` is of.

    """

    run_id: str | None = None
    step_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    begun: EventOrder | None = None
    ended: EventOrder | None = None
    stood: EventOrder | None = None
    status: str | None = None
    values: dict[str, Any] = {}
    received_ns: int = 0
    resource: dict[str, Any] = {}
    sent: bool = False

    @property
    def key(self) -> str:
        """Key of the run or step, unique among both."""
        return key_of(self.run_id, self.step_id)

    @property
    def bridged(self) -> bool:
        """Whether its span id is that of an application's span, which the application may send itself."""
        if self.step_id is not None:
            return self.span_id != ids.step_span_id(self.step_id, self.run_id)
        return self.run_id is not None and self.span_id != ids.run_span_id(self.run_id)


class _Event(Struct):
    event_id: str
    type: str
    time_ns: int
    phase: int | None = None
    received_ns: int = 0
    run_id: str | None = None
    step_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    parent_step_id: str | None = None
    status: str | None = None
    name: str | None = None
    step_type: str | None = None
    application: str | None = None
    environment: str | None = None
    tags: list[str] | None = None
    input: Raw = Raw()
    output: Raw = Raw()
    error: Raw = Raw()


_decoder = msgspec.json.Decoder(_Event)


def key_of(run_id: str | None, step_id: str | None) -> str:
    """Return the key of a run (no step id) or a step."""
    return f"{run_id or ''}\n{step_id or ''}"


class OpenRuns:
    """All open runs and steps, and the latest that were sent.

    Events of a batch are collected in an `EventBatch` and applied once the collector has taken the batch.
    """

    def __init__(self, states: Mapping[str, RunState]) -> None:
        self._open: dict[str, RunState] = {}
        self._ended: dict[str, RunState] = {}
        self._sent: dict[str, RunState] = {}
        self.given_up = 0
        self.apply(states)

    def __repr__(self) -> str:
        return f"<OpenRuns open: {len(self)}>"

    def __len__(self) -> int:
        """Return the number that is not sent."""
        return len(self._open) + len(self._ended)

    def __iter__(self) -> Iterator[RunState]:
        """Yield every state, sent ones first."""
        for states in (self._sent, self._ended, self._open):
            yield from states.values()

    @property
    def known(self) -> int:
        """Number of states, sent ones included."""
        return len(self) + len(self._sent)

    def get(self, key: str) -> RunState | None:
        """Return the state of a run or a step, None if it is unknown."""
        return self._open.get(key) or self._ended.get(key) or self._sent.get(key)

    def apply(self, changed: Mapping[str, RunState]) -> None:
        """Apply the changes of a batch; give up the oldest states beyond the limits."""
        for key, run in changed.items():
            into = self._sent if run.sent else self._open if run.ended is None else self._ended
            for other in (self._open, self._ended):
                if other is not into:
                    other.pop(key, None)
            into[key] = run
        for states in (self._open, self._ended):
            while len(states) > OPEN_MAX:
                del states[next(iter(states))]
                self.given_up += 1
        while len(self._sent) > SENT_MAX:
            del self._sent[next(iter(self._sent))]

    def due(self, now_ns: int) -> Iterator[RunState]:
        """Yield the ended ones that wait for no other event, oldest first. `now_ns`: Unix time."""
        for run in self._ended.values():
            if self._complete(run) or now_ns - run.received_ns > PATIENCE_NS:
                yield run

    def any_due(self) -> bool:
        """Return whether one is due without a wait."""
        return any(self._complete(run) for run in self._ended.values())

    def _complete(self, state: RunState) -> bool:
        if state.bridged:
            return False
        if state.begun is None or state.step_id is None or state.run_id is None:
            return state.begun is not None
        run = self._run_of(state)
        return run is not None and (run.begun is not None or run.sent)

    def identity(self, state: RunState) -> str:
        """Return the trace id and the span id of a run or a step, which no other span has."""
        run = self._run_of(state)
        return f"{(run and run.trace_id) or state.trace_id}{state.span_id}"

    def _run_of(self, state: RunState) -> RunState | None:
        """Return the run of a step; None for a run, and for a step without one."""
        return self.get(key_of(state.run_id, None)) if state.run_id and state.step_id else None

    def row_of(self, state: RunState) -> dict[str, Any]:
        """Return the row of a span, as `rows.span_of` takes it; input and output are under `content`, as JSON."""
        values = state.values
        run = self._run_of(state)
        parent_step_id = values.get("parent_step_id")
        parent = self.get(key_of(state.run_id, parent_step_id)) if parent_step_id else run
        begun = state.begun or state.ended or state.stood or (0, 0, "")
        ended = state.ended or begun
        attributes = {
            "gateway.step.type": values.get("step_type"),
            "gateway.status": state.status,
            "gateway.tags": values.get("tags"),
        }
        failed = state.status == "error"
        return {
            "trace_id": (run and run.trace_id) or state.trace_id,
            "span_id": state.span_id,
            "parent_span_id": (parent and parent.span_id) or state.parent_span_id,
            "name": values.get("name") or values.get("step_type") or ("run" if state.step_id is None else "step"),
            "kind": "INTERNAL",
            "start_ns": begun[0],
            "duration_ns": max(0, ended[0] - begun[0]),
            "status": "ERROR" if failed else None,
            "status_message": _message_of(values.get("error")) if failed else None,
            "application": values.get("application") or (run and run.values.get("application")),
            "environment": values.get("environment") or (run and run.values.get("environment")),
            "run_id": state.run_id,
            "step_id": state.step_id,
            "attributes": {name: value for name, value in attributes.items() if value is not None},
            "content": {f"{name}.value": values[name].encode() for name in ("input", "output") if values.get(name)},
        }


class EventBatch:
    """Changes by the events of one batch, to be applied once the collector has taken the batch."""

    def __init__(self, runs: OpenRuns) -> None:
        self._runs = runs
        self.changed: dict[str, RunState] = {}

    def add(self, line: bytes, resource: Mapping[str, Any], capture: Capture) -> None:
        """Add the event in a line of a journal. Raises msgspec.DecodeError."""
        event = _decoder.decode(line)
        key = key_of(event.run_id, event.step_id)
        if event.phase is None or key == key_of(None, None):
            return
        before = self.changed.get(key) or self._runs.get(key)
        if before is not None and before.sent:
            return
        self.changed[key] = _updated(
            before or RunState(run_id=event.run_id, step_id=event.step_id), event, resource, capture
        )

    def mark_sent(self, run: RunState) -> None:
        """Note that the span is in this batch; only the values that its steps inherit remain."""
        of_run: dict[str, Any] = {name: run.values[name] for name in _OF_RUN if name in run.values}
        self.changed[run.key] = RunState(
            run_id=run.run_id,
            step_id=run.step_id,
            trace_id=run.trace_id,
            span_id=run.span_id,
            values=of_run if run.step_id is None else {},
            sent=True,
        )


def _updated(run: RunState, event: _Event, resource: Mapping[str, Any], capture: Capture) -> RunState:
    order = (event.time_ns, event.phase or 0, event.event_id)
    values = {
        name: value
        for name in (*_OF_START, *_OF_END)
        if (value := _held(name, getattr(event, name), capture)) is not None
    }
    first = run.begun is None or order < run.begun
    changes: dict[str, Any] = {
        "received_ns": max(run.received_ns, event.received_ns),
        "resource": run.resource or dict(resource),
    }
    if event.phase == 0 and first:
        changes |= {"begun": order, "trace_id": event.trace_id, "span_id": event.span_id}
        changes["parent_span_id"] = event.parent_span_id
    elif run.begun is None and run.span_id is None:
        changes |= {"trace_id": event.trace_id, "span_id": event.span_id, "parent_span_id": event.parent_span_id}
    last = run.stood is None or order > run.stood
    if last:
        changes |= {"stood": order, "status": event.status}
    if event.step_id is None:
        # A run that goes on after its end, or is begun again, has not ended.
        ended = changes.get("stood", run.stood)
        changes["ended"] = ended if ended is not None and ended[1] == 2 else None
    elif event.phase == 2 and (run.ended is None or order > run.ended):
        changes["ended"] = order
    keep_old = not first if event.phase == 0 else not last
    changes["values"] = values | run.values if keep_old else run.values | values
    return structs.replace(run, **changes)


def _held(name: str, value: Any, capture: Capture) -> Any:
    """Return a value as an open state has it: content as JSON text, cut to the most that may be sent."""
    if name not in _CONTENT:
        return value
    encoded = bytes(value)
    if not encoded or encoded == b"null" or capture.otlp not in {"full", "truncated"}:
        return None
    limit = _HELD_BYTES if capture.otlp == "full" else min(_HELD_BYTES, 2 * capture.otlp_bytes)
    return truncate_json(encoded, limit).decode()


def _message_of(error: str | None) -> str | None:
    """Return the message of an error, or all of it as JSON."""
    if error is None:
        return None
    value = msgspec.json.decode(error)
    message = value.get("message") if isinstance(value, dict) else value
    return message if isinstance(message, str) else error
