"""Rows of a journal or of the store back to spans, with content as `[capture] otlp` allows. Pure.

The inverse of `tracer.row_of`, under the names of a vocabulary. A run or a step is a row of the same form
(`open_runs.row_of`), with its input and output under `content`.
"""

from typing import Any, TypedDict

import msgspec
from msgspec import structs
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from gateway.config.model import Capture, VocabularyName
from gateway.semconv import CAPTURE_OTLP, COLUMNS, CONTENT_COLUMNS, COUNT_TOKENS, ERROR_BODY, promoted
from gateway.store.otlp.content import Facts, flat, listed
from gateway.store.otlp.vocabularies import attributes_in
from gateway.tracing.capture import least_capture
from gateway.tracing.truncate import truncate_json, truncate_messages

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
# Attributes that are read from bodies.
_READ = ("gen_ai.", "gateway.usage.")
_USAGE, _COUNTED = "gen_ai.usage.", "gateway.usage.counted."
# Settings of `[capture] otlp` with which content is sent.
_CONTENT = ("full", "truncated")
_TOOLS = "gen_ai.tool.definitions"
# Input and output of a run or a step.
_RUN_CONTENT = ("input.value", "output.value")

# Content stays raw JSON: it becomes a string again, in most cases without being parsed.
_Row = TypedDict(  # type: ignore[misc]
    "_Row", {column.name: msgspec.Raw if column.name in CONTENT_COLUMNS else Any for column in COLUMNS}, total=False
)
_JSON = frozenset(column.name for column in COLUMNS if column.type == "JSON")
_decoder: Any = msgspec.json.Decoder(_Row)


def row_in(line: bytes) -> dict[str, Any]:
    """Return the row in a line of a journal. Raises msgspec.DecodeError."""
    row: dict[str, Any] = _decoder.decode(line)
    return row


def row_of_store(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the store in the form of a journal's line, with JSON decoded. Raises msgspec.DecodeError."""
    read = {
        name: value.encode() if name in CONTENT_COLUMNS else msgspec.json.decode(value) if name in _JSON else value
        for name, value in row.items()
        if value is not None
    }
    if read["kind"] == "INTERNAL" and ("run_id" in read or "step_id" in read):
        attributes = read.get("attributes") or {}
        read["content"] = {
            name: attributes.pop(name).encode() for name in _RUN_CONTENT if isinstance(attributes.get(name), str)
        }
    return read


def span_of(
    row: dict[str, Any],
    source: Resource,
    scope: InstrumentationScope,
    capture: Capture,
    vocabulary: VocabularyName = "gen-ai",
) -> ReadableSpan:
    """Return the span of a row, with content as `capture.otlp` allows. Raises KeyError or ValueError."""
    kind = SpanKind[row["kind"]]
    trace_id, start = int(row["trace_id"], 16), row["start_ns"]
    # The message of a failed step is its own text, hence content.
    message = None if "content" in row and capture.otlp not in _CONTENT else row.get("status_message")
    parent = row.get("parent_span_id")
    state = row.get("trace_state")
    return ReadableSpan(
        name=row["name"],
        context=SpanContext(
            trace_id,
            int(row["span_id"], 16),
            is_remote=False,
            trace_flags=_SAMPLED,
            trace_state=TraceState.from_header([state]) if state else None,
        ),
        # An exchange's parent is in the client's process.
        parent=SpanContext(trace_id, int(parent, 16), is_remote=kind is SpanKind.SERVER) if parent else None,
        resource=source,
        attributes=attributes_of(row, capture, vocabulary),
        events=[Event(event["name"], event["attributes"], event["time_ns"]) for event in row.get("events") or ()],
        kind=kind,
        status=Status(StatusCode[row.get("status") or "UNSET"], message),
        start_time=start,
        end_time=start + (row.get("duration_ns") or 0),
        instrumentation_scope=scope,
    )


def weight(span: ReadableSpan) -> int:
    """Return an upper estimate of the bytes of a span in a request."""
    total = 512
    for key, value in (span.attributes or {}).items():
        total += len(key) + 16
        if isinstance(value, str):
            total += len(value.encode())
        elif isinstance(value, (list, tuple, dict)):
            total += len(msgspec.json.encode(value)) + 16 * len(value)
    for attributes in [*(event.attributes for event in span.events), *(link.attributes for link in span.links)]:
        total += 64 + len(msgspec.json.encode(dict(attributes or {})))
    return total


def attributes_of(row: dict[str, Any], capture: Capture, vocabulary: VocabularyName = "gen-ai") -> dict[str, Any]:
    """Return the attributes of a row's span under the names of a vocabulary, with content as `capture.otlp` allows."""
    facts = Facts(row["kind"], row["start_ns"], row.get("duration_ns"))
    return attributes_in(vocabulary, _attributes(row, capture), facts)


def _attributes(row: dict[str, Any], capture: Capture) -> dict[str, Any]:
    attributes: dict[str, Any] = dict(row.get("attributes") or {})
    if CAPTURE_OTLP in attributes:
        capture = structs.replace(capture, otlp=least_capture(capture.otlp, attributes[CAPTURE_OTLP]))
    for attribute, column in promoted(row["kind"]).items():
        value = row.get(column)
        if value is not None and column not in CONTENT_COLUMNS:
            attributes[attribute] = value
    if capture.otlp in _CONTENT:
        _add_content(attributes, row, capture.otlp_bytes if capture.otlp == "truncated" else None)
        if capture.otlp == "truncated" and ERROR_BODY in attributes:
            attributes[ERROR_BODY] = attributes[ERROR_BODY][: capture.otlp_bytes]
    else:
        attributes.pop(ERROR_BODY, None)  # it may repeat content
    if row.get("operation") == COUNT_TOKENS:  # consumers add up what is below the first name
        attributes = {name.replace(_USAGE, _COUNTED, 1): value for name, value in attributes.items()}
    if capture.otlp == "off":  # only attributes of HTTP remain
        attributes = {name: value for name, value in attributes.items() if not name.startswith(_READ)}
    return attributes


def _add_content(attributes: dict[str, Any], row: dict[str, Any], limit: int | None) -> None:
    """Add content, each attribute cut to `limit` bytes; if one is cut, add the query that finds the whole."""
    content = {
        attribute: bytes(row.get(column) or b"")
        for attribute, column in promoted(row["kind"]).items()
        if column in CONTENT_COLUMNS
    }
    if content.get(_TOOLS):
        content[_TOOLS] = _tools(content[_TOOLS])
    for attribute, encoded in (content | row.get("content", {})).items():
        if encoded in {b"", b"null"}:
            continue
        if limit is None or len(encoded) <= limit:
            attributes[attribute] = encoded.decode()
            continue
        attributes[attribute] = (
            truncate_messages(encoded, limit) if attribute in content else truncate_json(encoded, limit).decode()
        )
        attributes["gateway.content.truncated"] = True
        attributes["gateway.content.full"] = f"SELECT * FROM spans WHERE span_id = '{row['span_id']}'"


def _tools(encoded: bytes) -> bytes:
    """Return tool definitions in the conventions' form: strict readers show no others."""
    tools = listed(encoded)
    return encoded if tools is None else msgspec.json.encode(flat(tools))
