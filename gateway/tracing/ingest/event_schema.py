"""Schema of the events of runs and steps, and their validation. Pure.

A batch is split first and its events are parsed one at a time, so that a large one does not block the event loop.
Source of the events and their fields: the event API of the Rust LLM proxy whose clients the gateway supports.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from gateway.dialects.wire.content_coding import mended, worth_reading
from gateway.errors import GatewayError
from gateway.tracing.truncate import truncated_text

MAX_EVENTS = 20_000
"""Events in a batch: each is a line in memory until all of them are valid."""

# Bytes of a value that is too large to be parsed, which are stored as text.
_UNPARSED_MAX = 1024 * 1024
_AT = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object missing required field `(.+)`")

_encoder = msgspec.json.Encoder()
_shallow = msgspec.json.Decoder(dict[str, Raw])

_Id = Annotated[str, Meta(min_length=1, max_length=256)]
_Type = Annotated[str, Meta(min_length=1, max_length=256)]
_Tags = list[str] | None
_Info = dict[str, Any] | None


class EventError(GatewayError):
    """An event is invalid: `path` is its JSON path in the body, `index` its position, `status` the HTTP status."""

    def __init__(self, path: str, why: str, *, index: int | None = None, status: int = 422) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.index = index
        self.status = status


class RunStart(Struct, frozen=True, kw_only=True):
    """The start of a run, or a restart."""

    id: _Id
    name: str
    description: str | None = None
    application: str | None = None
    environment: str | None = None
    input: Any = None
    trace_id: str | None = None
    span_id: str | None = None
    status: str | None = None
    tags: _Tags = None
    info: _Info = None
    time: datetime | None = None
    event_id: _Id | None = None


class RunUpdate(Struct, frozen=True, kw_only=True):
    """A change of a run's status, or its end."""

    id: _Id
    status: str | None = None
    output: Any = None
    info: _Info = None
    time: datetime | None = None
    event_id: _Id | None = None


class StartData(Struct, frozen=True, kw_only=True):
    """The data of a step's start."""

    type: str
    name: str | None = None
    parent_step: _Id | None = None
    span_id: str | None = None
    tags: _Tags = None
    info: _Info = None
    input: Any = None


class EndData(Struct, frozen=True, kw_only=True):
    """The data of a step's end."""

    # JavaScript clients omit `undefined`, the output of a step that returns nothing.
    output: Any = None
    info: _Info = None


class ErrorData(Struct, frozen=True, kw_only=True):
    """The data of a step's failure."""

    error: Any


class StateData(Struct, frozen=True, kw_only=True):
    """The data of a step's change of state."""

    state: str


class Step(Struct, frozen=True, kw_only=True):
    """Fields of all events of a step."""

    run_id: _Id
    step_id: _Id
    time: datetime | None = None
    event_id: _Id | None = None


class StepStart(Step, frozen=True, kw_only=True):
    """The start of a step."""

    data: StartData


class StepEnd(Step, frozen=True, kw_only=True):
    """The end of a step."""

    data: EndData


class StepError(Step, frozen=True, kw_only=True):
    """The failure of a step."""

    data: ErrorData


class StepState(Step, frozen=True, kw_only=True):
    """A change of a step's state."""

    data: StateData


class Plain(Struct, frozen=True, kw_only=True):
    """Any other event, of a type of the client's own."""

    run_id: _Id | None = None
    step_id: _Id | None = None
    data: Any = None
    error: Any = None
    time: datetime | None = None
    event_id: _Id | None = None


class _Typed(Struct, frozen=True):
    type: _Type


class _Batch(Struct, frozen=True):
    events: list[Raw] | UnsetType = UNSET
    type: Raw | UnsetType = UNSET


Event = RunStart | RunUpdate | StepStart | StepEnd | StepError | StepState | Plain

_FORMS: dict[str, type[Event]] = {
    "run:start": RunStart,
    "run:update": RunUpdate,
    "step:start": StepStart,
    "step:end": StepEnd,
    "step:error": StepError,
    "step:state": StepState,
}


def split_events(body: bytes) -> list[tuple[str, Raw]]:
    """Return the raw events of a body, each with its JSON path. Raises EventError.

    The body is an event, a list of events, or `{"events": [...]}`.
    """
    try:
        body.decode()  # the decoder does not validate the raw values that it skips
        try:
            prefix, listed = _listed(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            prefix, listed = _listed(mended(body))
    except msgspec.ValidationError as error:
        raise _bad("$", error, None) from None
    except (ValueError, RecursionError) as error:
        raise EventError("$", f"the body is no JSON: {error}", status=400) from None
    if len(listed) > MAX_EVENTS:
        raise EventError(prefix, f"{len(listed)} events are too many at once; send at most {MAX_EVENTS}", status=413)
    return [(f"{prefix}[{index}]" if prefix else "$", raw) for index, raw in enumerate(listed)]


def _listed(body: bytes) -> tuple[str, list[Raw]]:
    """Return the JSON path of a body's list of events, and its items; an empty path for a single event."""
    if body.lstrip()[:1] == b"[":
        return "$", msgspec.json.decode(body, type=list[Raw])
    batch = msgspec.json.decode(body, type=_Batch)
    if batch.events is UNSET or batch.type is not UNSET:
        return "", [Raw(body)]
    return "$.events", batch.events


def parse_event(raw: Raw, path: str, index: int) -> tuple[str, Event]:
    """Return an event's type and the event. Raises EventError with the path of the invalid field."""
    value = _decoded(bytes(raw), path, index)
    try:
        kind = msgspec.convert(value, _Typed).type
        event: Event = msgspec.convert(value, _FORMS.get(kind, Plain))
    except msgspec.ValidationError as error:
        raise _bad(path, error, index) from None
    return kind, event


def _decoded(raw: bytes, path: str, index: int) -> Any:
    """Return an event as a Python value. Values that are too large to be parsed are texts."""
    try:
        return msgspec.json.decode(raw if worth_reading(raw) else _lightened(raw))
    except (msgspec.DecodeError, RecursionError) as error:
        raise EventError(path, f"this cannot be kept as JSON: {error}", index=index) from None


def _lightened(raw: bytes) -> bytes:
    """Return an event with its largest values as texts: to parse them would block the event loop."""
    try:
        fields: Mapping[str, Raw] = _shallow.decode(raw)
    except msgspec.ValidationError:  # no object, which validation reports
        return b"null"
    light: dict[str, Any] = {}
    for name, value in fields.items():
        encoded = bytes(value)
        if worth_reading(encoded):
            light[name] = value
        elif name == "data" and encoded.lstrip()[:1] == b"{":
            light[name] = Raw(_lightened(encoded))
        elif name == "info":
            light[name] = {"gateway.content.truncated": True}
        else:
            light[name] = Raw(truncated_text(encoded, _UNPARSED_MAX))
    return _encoder.encode(light)


def nanoseconds(time: datetime, path: str, index: int) -> int:
    """Return a time as Unix nanoseconds. Raises EventError for one without a zone, or beyond 64 bits."""
    if time.tzinfo is None:
        raise EventError(path, "expected a time with its zone, as in 2026-01-31T12:00:00Z (RFC 3339)", index=index)
    nanoseconds = round(time.timestamp() * 1_000_000) * 1000
    if not 0 <= nanoseconds < 2**63:
        raise EventError(path, "expected a time between 1970 and 2262", index=index)
    return nanoseconds


def _bad(path: str, error: msgspec.ValidationError, index: int | None) -> EventError:
    """Return msgspec's error with its path in the whole body, including a missing field."""
    found = _AT.fullmatch(str(error))
    why, below = (found[1], found[2] or "") if found else (str(error), "")
    if missing := _FIELD.fullmatch(why):
        why, below = "this field is missing", f"{below}.{missing[1]}"
    return EventError(path + below, why, index=index)
