"""What clients may tell of their runs and steps: the seed's events, read out of a request's body and checked. Pure.

A batch is read in steps, an event at a time, so that a large one holds up nobody else.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from gateway.dialects.wire.content_coding import mended, worth_reading
from gateway.errors import GatewayError
from gateway.tracing.truncate import text_of

MAX_EVENTS = 20_000
"""In one batch: each is a line in memory until all are known to be good."""

# Of a value that is too large to be read, this much is kept as text.
_UNREAD_KEPT = 1024 * 1024
_AT = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object missing required field `(.+)`")

_encoder = msgspec.json.Encoder()
_shallow = msgspec.json.Decoder(dict[str, Raw])

_Id = Annotated[str, Meta(min_length=1, max_length=256)]
_Type = Annotated[str, Meta(min_length=1, max_length=256)]
_Tags = list[str] | None
_Info = dict[str, Any] | None


class EventError(GatewayError):
    """What was sent is no event. `path` is where in the body, `index` which event, `status` the HTTP status."""

    def __init__(self, path: str, why: str, *, index: int | None = None, status: int = 422) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path
        self.index = index
        self.status = status


class RunStart(Struct, frozen=True, kw_only=True):
    """A run begins, or begins again."""

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
    """A run goes on, or ends."""

    id: _Id
    status: str | None = None
    output: Any = None
    info: _Info = None
    time: datetime | None = None
    event_id: _Id | None = None


class StartData(Struct, frozen=True, kw_only=True):
    """What is known of a step when it begins."""

    type: str
    name: str | None = None
    parent_step: _Id | None = None
    span_id: str | None = None
    tags: _Tags = None
    info: _Info = None
    input: Any = None


class EndData(Struct, frozen=True, kw_only=True):
    """What came of it."""

    # Not there where the step returned nothing: the seed's own client leaves out what is undefined.
    output: Any = None
    info: _Info = None


class ErrorData(Struct, frozen=True, kw_only=True):
    """What went wrong."""

    error: Any


class StateData(Struct, frozen=True, kw_only=True):
    """How it stands."""

    state: str


class Step(Struct, frozen=True, kw_only=True):
    """What all events of a step say."""

    run_id: _Id
    step_id: _Id
    time: datetime | None = None
    event_id: _Id | None = None


class StepStart(Step, frozen=True, kw_only=True):
    """A step begins."""

    data: StartData


class StepEnd(Step, frozen=True, kw_only=True):
    """A step ended."""

    data: EndData


class StepError(Step, frozen=True, kw_only=True):
    """A step failed."""

    data: ErrorData


class StepState(Step, frozen=True, kw_only=True):
    """A step goes on."""

    data: StateData


class Plain(Struct, frozen=True, kw_only=True):
    """Any other event."""

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


def events_in(body: bytes) -> list[tuple[str, Raw]]:
    """Return the events of a body, one or a batch, each with its path. Raises EventError.

    Taken are an event, a list of them, and `{"events": [...]}`.
    """
    try:
        body.decode()  # of what it passes over, the decoder sees no more than where it ends
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
    """Return the path of the list that a body is, or has, and what is in it; no path for an event alone."""
    if body.lstrip()[:1] == b"[":
        return "$", msgspec.json.decode(body, type=list[Raw])
    batch = msgspec.json.decode(body, type=_Batch)
    if batch.events is UNSET or batch.type is not UNSET:
        return "", [Raw(body)]
    return "$.events", batch.events


def event_in(raw: Raw, path: str, index: int) -> tuple[str, Event]:
    """Return an event and its type. Raises EventError, which names the field."""
    value = _read(bytes(raw), path, index)
    try:
        kind = msgspec.convert(value, _Typed).type
        event: Event = msgspec.convert(value, _FORMS.get(kind, Plain))
    except msgspec.ValidationError as error:
        raise _bad(path, error, index) from None
    return kind, event


def _read(raw: bytes, path: str, index: int) -> Any:
    """Return an event as a Python value. What no event may be read of is there as text."""
    try:
        return msgspec.json.decode(raw if worth_reading(raw) else _lightened(raw))
    except (msgspec.DecodeError, RecursionError) as error:
        raise EventError(path, f"this cannot be kept as JSON: {error}", index=index) from None


def _lightened(raw: bytes) -> bytes:
    """Return an event with its largest values as text: to read them would hold up everybody else."""
    try:
        fields: Mapping[str, Raw] = _shallow.decode(raw)
    except msgspec.ValidationError:  # it is no object, which the caller says better
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
            light[name] = Raw(text_of(encoded, _UNREAD_KEPT))
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
    """Return msgspec's error with the path in the whole body, and the missing field in that."""
    found = _AT.fullmatch(str(error))
    why, below = (found[1], found[2] or "") if found else (str(error), "")
    if missing := _FIELD.fullmatch(why):
        why, below = "this field is missing", f"{below}.{missing[1]}"
    return EventError(path + below, why, index=index)
