"""Journal lines of the events of runs and steps. Pure.

A run is an application's own unit of work, a step a part of it. Both are folded from their events when they are read
(`store/schema.sql`, `store.otlp.open_runs`), since events arrive in any order, repeated, and by several workers.
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
    nanoseconds,
    parse_event,
)
from gateway.tracing.metadata import Metadata
from gateway.tracing.truncate import truncate_json

# Statuses of a run that goes on; an update to any other one ends it.
_RUNNING = frozenset({"started", "running", "pending", "queued", "waiting", "paused", "suspended", "resumed"})

_encoder = msgspec.json.Encoder()

Line = dict[str, Any]


class BatchContext(NamedTuple):
    """The context of a batch of events: its arrival (Unix nanoseconds), the gateway's `service.name`, its headers."""

    received_ns: int
    service_name: str | None = None
    metadata: Metadata = Metadata()


def event_line(raw: Raw, path: str, index: int, batch: BatchContext, capture_policy: CapturePolicy) -> Line:
    """Return an event's line, without absent fields. Raises EventError with the path of the invalid field."""
    kind, event = parse_event(raw, path, index)
    time_ns = batch.received_ns if event.time is None else nanoseconds(event.time, f"{path}.time", index)
    line = {
        "event_id": event.event_id or _identity(kind, event, time_ns),
        "type": kind,
        "time_ns": time_ns,
        "received_ns": batch.received_ns,
        "service_name": batch.service_name,
        **_LINES[type(event)](event, batch.metadata),
    }
    return {name: value for name, value in _captured(line, capture_policy).items() if value is not None}


def _run_start(event: RunStart, metadata: Metadata) -> Line:
    run_id = ids.known(event.id)
    trace_id, span_id = ids.valid_trace_id(event.trace_id), ids.valid_span_id(event.span_id)
    unusable = {
        name: given
        for name, given, valid in (("trace_id", event.trace_id, trace_id), ("span_id", event.span_id, span_id))
        if given and valid is None
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
        "phase": 1 if status.lower() in _RUNNING else 2,
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
    """Return the ids of a step, and those of its spans."""
    run_id, step_id = ids.known(event.run_id), ids.known(event.step_id)
    traced = run_id or step_id
    run_span = run_id and ids.run_span_id(run_id)
    return {
        "run_id": run_id,
        "step_id": step_id,
        "trace_id": traced and ids.trace_id(traced),
        "span_id": ids.step_span_id(step_id, run_id) if step_id else run_span,
        "parent_span_id": run_span,
    }


_LINES: dict[type[Event], Callable[[Any, Metadata], Line]] = {
    RunStart: _run_start,
    RunUpdate: _run_update,
    StepStart: _step_start,
    StepEnd: _step_end,
    StepError: _step_error,
    StepState: _step_state,
    Plain: _plain,
}


def _info_of(metadata: Metadata) -> dict[str, Any]:
    """Return the metadata of a run's headers except application and environment.

    It takes precedence over the event's own info, as in the LLM proxy whose events these are (`event_schema`).
    """
    info = {name: getattr(metadata, name) for name in _INFO if getattr(metadata, name) is not None}
    return {**info, **(metadata.extra or {})}


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


def _captured(line: Line, capture_policy: CapturePolicy) -> Line:
    """Redact a line, and capture its content as the policy sets."""
    for name in _CONTENT:
        value = line.get(name)
        if value is not None:
            value = _redacted(value, capture_policy)
            line[name] = (
                Raw(truncate_json(_encoder.encode(value), capture_policy.limit)) if capture_policy.content else None
            )
    for name in _WORDS:
        if line.get(name) is not None:
            line[name] = _redacted(line[name], capture_policy)
    if not capture_policy.reads:
        line["info"] = None
    return line


def _redacted(value: Any, capture_policy: CapturePolicy) -> Any:
    """Return a redacted value, which may hold raw JSON."""
    if not capture_policy.redaction:
        return value
    return capture_policy.redaction.value(msgspec.json.decode(_encoder.encode(value)))


def _identity(kind: str, event: Event, time_ns: int) -> str:
    """Return an id of an event without one: a digest of its type, time and content, the same if it is repeated."""
    return hashlib.blake2b(_encoder.encode([kind, time_ns, event]), digest_size=16).hexdigest()
