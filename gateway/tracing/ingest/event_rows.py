"""What clients tell of their runs and steps, as the lines that a journal keeps. Pure.

A run is an application's own unit of work, a step a part of it; both are folded from their events where those are read
(`schema.sql`, `otlp.folding`), since events come in any order, repeated, by way of several workers.
"""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from gateway import ids
from gateway.tracing.capture import CapturePolicy
from gateway.tracing.ingest.event_schema import (
    Event,
    Plain,
    RunStart,
    RunUpdate,
    Step,
    StepEnd,
    StepError,
    StepStart,
    StepState,
    event_in,
    nanoseconds,
)
from gateway.tracing.metadata import Metadata
from gateway.tracing.truncate import fitted

# A status that a run is updated to while it goes on; any other ends it.
_GOING_ON = frozenset({"started", "running", "pending", "queued", "waiting", "paused", "suspended", "resumed"})

_encoder = msgspec.json.Encoder()

Line = dict[str, Any]


class Arrival(NamedTuple):
    """How a batch came: when (Unix nanoseconds), at which gateway (`service.name`), with what its headers say."""

    received_ns: int
    service_name: str | None = None
    metadata: Metadata = Metadata()


def line_of(raw: Raw, path: str, index: int, arrival: Arrival, capture_policy: CapturePolicy) -> Line:
    """Return an event as a journal's line; what is unknown is not in it. Raises EventError, which names the field."""
    kind, event = event_in(raw, path, index)
    time_ns = arrival.received_ns if event.time is None else nanoseconds(event.time, f"{path}.time", index)
    line = {
        "event_id": event.event_id or _identity(kind, event, time_ns),
        "type": kind,
        "time_ns": time_ns,
        "received_ns": arrival.received_ns,
        "service_name": arrival.service_name,
        **_TOLD[type(event)](event, arrival.metadata),
    }
    return {name: value for name, value in _kept(line, capture_policy).items() if value is not None}


def _run_start(event: RunStart, metadata: Metadata) -> Line:
    run_id = ids.known(event.id)
    trace_id, span_id = ids.valid_trace_id(event.trace_id), ids.valid_span_id(event.span_id)
    unusable = {
        name: given
        for name, given, taken in (("trace_id", event.trace_id, trace_id), ("span_id", event.span_id, span_id))
        if given and taken is None
    }
    return {
        "phase": 0,
        "run_id": run_id,
        "trace_id": trace_id or (run_id and ids.trace_id(run_id)),
        "span_id": span_id or (run_id and ids.run_span_id(run_id)),
        "status": event.status or "started",
        "name": event.name or None,
        "description": event.description,
        "application": event.application or metadata.application,
        "environment": event.environment or metadata.environment,
        "tags": event.tags or None,
        "info": {**(event.info or {}), **_info_of(metadata)} or None,
        "input": event.input,
        "data": unusable or None,
    }


def _run_update(event: RunUpdate, _: Metadata) -> Line:
    run_id = ids.known(event.id)
    status = event.status or "finished"
    return {
        "phase": 1 if status.lower() in _GOING_ON else 2,
        "run_id": run_id,
        "trace_id": run_id and ids.trace_id(run_id),
        "span_id": run_id and ids.run_span_id(run_id),
        "status": status,
        "info": event.info or None,
        "output": event.output,
    }


def _step_start(event: StepStart, _: Metadata) -> Line:
    data, line = event.data, _of_step(event)
    parent = ids.known(data.parent_step)
    if parent is not None:
        line["parent_step_id"] = parent
        line["parent_span_id"] = ids.step_span_id(parent, line["run_id"])
    span_id = ids.valid_span_id(data.span_id)
    return {
        **line,
        "phase": 0,
        "span_id": span_id or line["span_id"],
        "status": "started",
        "name": data.name or None,
        "step_type": data.type,
        "tags": data.tags or None,
        "info": data.info or None,
        "input": data.input,
        "data": {"span_id": data.span_id} if data.span_id and span_id is None else None,
    }


def _step_end(event: StepEnd, _: Metadata) -> Line:
    data = event.data
    return {
        **_of_step(event),
        "phase": 2,
        "status": "finished",
        "info": data.info or None,
        "output": data.output,
    }


def _step_error(event: StepError, _: Metadata) -> Line:
    return {**_of_step(event), "phase": 2, "status": "error", "error": event.data.error}


def _step_state(event: StepState, _: Metadata) -> Line:
    return {**_of_step(event), "phase": 1, "status": event.data.state}


def _plain(event: Plain, _: Metadata) -> Line:
    line = _of_step(event)
    line["parent_span_id"] = None
    return {**line, "data": event.data, "error": event.error}


def _of_step(event: Step | Plain) -> Line:
    """Return where a step is: its ids, and those of its spans as far as it says them itself."""
    run_id, step_id = ids.known(event.run_id), ids.known(event.step_id)
    own = run_id or step_id
    run_span = run_id and ids.run_span_id(run_id)
    return {
        "run_id": run_id,
        "step_id": step_id,
        "trace_id": own and ids.trace_id(own),
        "span_id": ids.step_span_id(step_id, run_id) if step_id else run_span,
        "parent_span_id": run_span,
    }


_TOLD: dict[type[Event], Callable[[Any, Metadata], Line]] = {
    RunStart: _run_start,
    RunUpdate: _run_update,
    StepStart: _step_start,
    StepEnd: _step_end,
    StepError: _step_error,
    StepState: _step_state,
    Plain: _plain,
}


def _info_of(metadata: Metadata) -> dict[str, Any]:
    """Return what headers say of a run beyond its application and environment.

    They go before what the event itself says under the same name. Source: the seed.
    """
    told = {name: getattr(metadata, name) for name in _INFO if getattr(metadata, name) is not None}
    return {**told, **(metadata.extra or {})}


_INFO = (
    "organization_id",
    "project_id",
    "user_id",
    "workflow_id",
    "workflow_name",
    "step_index",
    "prompt_id",
    "prompt_version",
)


_CONTENT = ("input", "output", "error", "data")
_WORDS = ("name", "description", "status", "step_type", "application", "environment", "tags", "info")


def _kept(line: Line, capture_policy: CapturePolicy) -> Line:
    """Take out, or cut, what is not kept, and let nothing stand for JSON's null."""
    for name in _CONTENT:
        value = line.get(name)
        if value is not None:
            value = _without(value, capture_policy)
            line[name] = Raw(fitted(_encoder.encode(value), capture_policy.limit)) if capture_policy.content else None
    for name in _WORDS:
        if line.get(name) is not None:
            line[name] = _without(line[name], capture_policy)
    if not capture_policy.reads:
        line["info"] = None
    return line


def _without(value: Any, capture_policy: CapturePolicy) -> Any:
    """Return a value without what is to be taken out of it; it may be JSON as it came."""
    if not capture_policy.redaction:
        return value
    return capture_policy.redaction.value(msgspec.json.decode(_encoder.encode(value)))


def _identity(kind: str, event: Event, time_ns: int) -> str:
    """Return an id that a repeated event has again: the same type, run, step, time and content."""
    return hashlib.blake2b(_encoder.encode([kind, time_ns, event]), digest_size=16).hexdigest()
