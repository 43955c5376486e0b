"""Events of runs and steps to spans: what was told of each is put together until it has ended. Pure but for its clock.

The same rules as in `schema.sql`, one event after the other: what happened last by its own time counts. A span that was
sent cannot be taken back, so one that ended is sent once, with what is known then; an end waits a while for its start,
and for that of its run, which may have gone to another worker.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from gateway import ids
from gateway.config.model import Capture
from gateway.tracing.truncate import truncate_json

OPEN_MAX = 10_000
"""So many runs and steps may be open at once; beyond that the oldest are given up."""
SENT_MAX = 10_000
"""So many that were sent are remembered, so that they are sent once, and their steps find them."""
PATIENCE_NS = 10_000_000_000
"""So long an end waits for its start, and a run or a step for the application's own span of it."""
# What is held of a run's or a step's content until it ends, where `[capture] otlp` says full.
_HELD_BYTES = 16 * 1024

Place = tuple[int, int, str]
"""Where an event stands among others: its time, its phase, its id."""

_CONTENT = ("input", "output", "error")
_OF_START = ("name", "step_type", "application", "environment", "tags", "parent_step_id", "parent_span_id", "input")
_OF_END = ("output", "error")
_OF_RUN = ("application", "environment")  # what its steps ask for


class Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was told of one run, or one step, so far. `place`s are those of the events that were taken."""

    run_id: str | None = None
    step_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    begun: Place | None = None
    ended: Place | None = None
    stood: Place | None = None
    status: str | None = None
    values: dict[str, Any] = {}
    received_ns: int = 0
    resource: dict[str, Any] = {}
    sent: bool = False

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return key_of(self.run_id, self.step_id)

    @property
    def bridged(self) -> bool:
        """Whether it has the id of a span of the application's own, which may send that itself, with more to say."""
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
    """Return a run's key, or a step's."""
    return f"{run_id or ''}\n{step_id or ''}"


class Folding:
    """All runs and steps that are open, and the last ones that were sent.

    What a batch reads becomes part of it only once the batch was taken (`Turn`, `keep`).
    """

    def __init__(self, told: Mapping[str, Told]) -> None:
        self._going_on: dict[str, Told] = {}
        self._ended: dict[str, Told] = {}
        self._sent: dict[str, Told] = {}
        self.given_up = 0
        self.keep(told)

    def __repr__(self) -> str:
        return f"<Folding open: {len(self)}>"

    def __len__(self) -> int:
        """How many are not sent."""
        return len(self._going_on) + len(self._ended)

    def __iter__(self) -> Iterator[Told]:
        """Give all that is known."""
        for kept in (self._sent, self._ended, self._going_on):
            yield from kept.values()

    @property
    def known(self) -> int:
        """How many there are in all."""
        return len(self) + len(self._sent)

    def get(self, key: str) -> Told | None:
        """Return what is known of a run or a step."""
        return self._going_on.get(key) or self._ended.get(key) or self._sent.get(key)

    def keep(self, changed: Mapping[str, Told]) -> None:
        """Take what a turn changed; give up the oldest where there is too much."""
        for key, told in changed.items():
            into = self._sent if told.sent else self._going_on if told.ended is None else self._ended
            for other in (self._going_on, self._ended):
                if other is not into:
                    other.pop(key, None)
            into[key] = told
        for kept in (self._going_on, self._ended):
            while len(kept) > OPEN_MAX:
                del kept[next(iter(kept))]
                self.given_up += 1
        while len(self._sent) > SENT_MAX:
            del self._sent[next(iter(self._sent))]

    def due(self, now_ns: int) -> Iterator[Told]:
        """Give those that have ended and wait for nothing any more, oldest first."""
        for told in self._ended.values():
            if self._whole(told) or now_ns - told.received_ns > PATIENCE_NS:
                yield told

    def any_due(self) -> bool:
        """Whether one is due at once."""
        return any(self._whole(told) for told in self._ended.values())

    def _whole(self, told: Told) -> bool:
        if told.bridged:
            return False
        if told.begun is None or told.step_id is None or told.run_id is None:
            return told.begun is not None
        run = self.get(key_of(told.run_id, None))
        return run is not None and (run.begun is not None or run.sent)

    def identity(self, told: Told) -> str:
        """Return what tells its span from all others."""
        run = self.get(key_of(told.run_id, None)) if told.run_id and told.step_id else None
        return f"{(run and run.trace_id) or told.trace_id}{told.span_id}"

    def row_of(self, told: Told) -> dict[str, Any]:
        """Return the row of a span, as `rows.span_of` takes it; what was said is in `told`, as JSON."""
        values = told.values
        run = self.get(key_of(told.run_id, None)) if told.run_id and told.step_id else None
        parent_step_id = values.get("parent_step_id")
        parent = self.get(key_of(told.run_id, parent_step_id)) if parent_step_id else run
        begun = told.begun or told.ended or told.stood or (0, 0, "")
        ended = told.ended or begun
        attributes = {
            "gateway.step.type": values.get("step_type"),
            "gateway.status": told.status,
            "gateway.tags": values.get("tags"),
        }
        failed = told.status == "error"
        return {
            "trace_id": (run and run.trace_id) or told.trace_id,
            "span_id": told.span_id,
            "parent_span_id": (parent and parent.span_id) or told.parent_span_id,
            "name": values.get("name") or values.get("step_type") or ("run" if told.step_id is None else "step"),
            "kind": "INTERNAL",
            "start_ns": begun[0],
            "duration_ns": max(0, ended[0] - begun[0]),
            "status": "ERROR" if failed else None,
            "status_message": _message_of(values.get("error")) if failed else None,
            "application": values.get("application") or (run and run.values.get("application")),
            "environment": values.get("environment") or (run and run.values.get("environment")),
            "run_id": told.run_id,
            "step_id": told.step_id,
            "attributes": {name: value for name, value in attributes.items() if value is not None},
            "told": {f"{name}.value": values[name].encode() for name in ("input", "output") if values.get(name)},
        }


class Turn:
    """What one batch makes of the events that it reads; `changed` is to be kept once the batch was taken."""

    def __init__(self, folding: Folding) -> None:
        self._folding = folding
        self.changed: dict[str, Told] = {}

    def take(self, line: bytes, resource: Mapping[str, Any], capture: Capture) -> None:
        """Take an event out of a journal's line. Raises msgspec.DecodeError."""
        event = _decoder.decode(line)
        key = key_of(event.run_id, event.step_id)
        if event.phase is None or key == key_of(None, None):
            return
        before = self.changed.get(key) or self._folding.get(key)
        if before is not None and before.sent:
            return
        self.changed[key] = _with(before or Told(run_id=event.run_id, step_id=event.step_id), event, resource, capture)

    def sent(self, told: Told) -> None:
        """Say that a span goes out with this batch; of it stays what its steps ask for."""
        of_run: dict[str, Any] = {name: told.values[name] for name in _OF_RUN if name in told.values}
        self.changed[told.key] = Told(
            run_id=told.run_id,
            step_id=told.step_id,
            trace_id=told.trace_id,
            span_id=told.span_id,
            values=of_run if told.step_id is None else {},
            sent=True,
        )


def _with(told: Told, event: _Event, resource: Mapping[str, Any], capture: Capture) -> Told:
    place = (event.time_ns, event.phase or 0, event.event_id)
    said = {
        name: value
        for name in (*_OF_START, *_OF_END)
        if (value := _held(name, getattr(event, name), capture)) is not None
    }
    first = told.begun is None or place < told.begun
    changes: dict[str, Any] = {
        "received_ns": max(told.received_ns, event.received_ns),
        "resource": told.resource or dict(resource),
    }
    if event.phase == 0 and first:
        changes |= {"begun": place, "trace_id": event.trace_id, "span_id": event.span_id}
        changes["parent_span_id"] = event.parent_span_id
    elif told.begun is None and told.span_id is None:
        changes |= {"trace_id": event.trace_id, "span_id": event.span_id, "parent_span_id": event.parent_span_id}
    last = told.stood is None or place > told.stood
    if last:
        changes |= {"stood": place, "status": event.status}
    if event.step_id is None:
        # A run that goes on after its end, or is begun again, has not ended.
        ended = changes.get("stood", told.stood)
        changes["ended"] = ended if ended is not None and ended[1] == 2 else None
    elif event.phase == 2 and (told.ended is None or place > told.ended):
        changes["ended"] = place
    keep_old = not first if event.phase == 0 else not last
    changes["values"] = said | told.values if keep_old else told.values | said
    return structs.replace(told, **changes)


def _held(name: str, value: Any, capture: Capture) -> Any:
    """Return a value as it is held until the end: content as text of JSON, as much as will be sent at most."""
    if name not in _CONTENT:
        return value
    encoded = bytes(value)
    if not encoded or encoded == b"null" or capture.otlp not in {"full", "truncated"}:
        return None
    limit = _HELD_BYTES if capture.otlp == "full" else min(_HELD_BYTES, 2 * capture.otlp_bytes)
    return truncate_json(encoded, limit).decode()


def _message_of(error: str | None) -> str | None:
    """Return what an error says: its message, or all of it."""
    if error is None:
        return None
    value = msgspec.json.decode(error)
    message = value.get("message") if isinstance(value, dict) else value
    return message if isinstance(message, str) else error
