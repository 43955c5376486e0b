"""Jaeger's first API: rows of `spans` as traces with typed tags, references and processes. Pure.

Tags are those that Jaeger derives from the same spans sent over OTLP, sorted by name. Times are in microseconds.
Content is cut to `VALUE_BYTES` for each tag, as valid JSON, so that a UI stays responsive.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from gateway.config.model import Capture
from gateway.semconv import CONTENT_COLUMNS
from gateway.store.jaeger.sql import WITHHELD
from gateway.store.ledger import INTERRUPTED
from gateway.store.otlp.rows import attributes_of
from gateway.store.views import OF_OTHERS
from gateway.tracing.ingest.otlp.content import capture_attributes
from gateway.tracing.tracer import SCOPE

Json = dict[str, Any]

VALUE_BYTES = 64 * 1024
_CAPTURE = Capture(otlp="truncated", otlp_bytes=VALUE_BYTES)
# JavaScript rounds larger integers; Jaeger sends them as text.
_SAFE = 2**53 - 1


def rows(columns: Sequence[str], values: Iterable[Sequence[Any]]) -> Iterator[Json]:
    """Yield rows of a result in the form of a journal's line, with all attributes under `attributes`, cut."""
    for each in values:
        row = {name: value for name, value in zip(columns, each, strict=True) if value is not None}
        withheld = row.pop(WITHHELD, False)
        for name in ("attributes", "events", *OF_OTHERS):
            if name in row:
                row[name] = msgspec.json.decode(row[name])
        row |= {name: row[name].encode() for name in CONTENT_COLUMNS if name in row}
        if "otlp" in row:
            attributes = capture_attributes(row.get("attributes") or {}, "truncated", VALUE_BYTES)
        else:
            attributes = attributes_of(row, _CAPTURE)
        row["attributes"] = _cut(attributes)
        row["events"] = [event | {"attributes": _cut(event.get("attributes") or {})} for event in row.get("events", ())]
        if withheld:
            row["attributes"] |= {
                "gateway.content.truncated": True,
                "gateway.content.full": f"SELECT * FROM spans WHERE span_id = '{row['span_id']}'",
            }
        yield row


def traces(found: Iterable[Json], most: int | None = None) -> list[Json]:
    """Return traces in the order of the rows; `most`: the limit that cut the result, for a warning on each trace."""
    traces: dict[str, Json] = {}
    processes: dict[str, dict[tuple[str, bytes], str]] = {}
    for row in found:
        shown_id = short_id(row["trace_id"])
        trace = traces.setdefault(shown_id, {"traceID": shown_id, "spans": [], "processes": {}, "warnings": None})
        service, of = row.get("service_name", ""), dict(row.get("resource") or {})
        of.pop("service.name", None)
        known = processes.setdefault(shown_id, {})
        process = known.setdefault((service, msgspec.json.encode(of)), f"p{len(known) + 1}")
        trace["processes"][process] = {"serviceName": service, "tags": _typed(of)}
        trace["spans"].append(_span(row, shown_id, process))
    if most is not None:
        for trace in traces.values():
            trace["warnings"] = [f"the result is limited to {most} spans; the last trace may lack some"]
    return list(traces.values())


def short_id(trace_id: str) -> str:
    """Return a trace id in Jaeger's form: one of 64 bits has 16 digits."""
    return trace_id[16:] if trace_id.startswith("0" * 16) else trace_id


def _span(row: Json, trace_id: str, process: str) -> Json:
    duration = row.get("duration_ns")
    return {
        "traceID": trace_id,
        "spanID": row["span_id"],
        "operationName": row.get("name", ""),
        "references": _references(row, trace_id),
        "startTime": row["start_ns"] // 1000,
        "duration": (duration or 0) // 1000,
        "tags": _tags(row),
        "logs": [_log(event) for event in row["events"]],
        "processID": process,
        "warnings": [f"{INTERRUPTED}: its duration is not known"] if duration is None else None,
    }


def scope_of(row: Json) -> Json:
    """Return the name, version and attributes of the scope of a row's span, as far as they are known."""
    scope: Json = row["otlp"].get("scope") or {} if "otlp" in row else {"name": SCOPE}
    return scope


def _references(row: Json, trace_id: str) -> list[Json]:
    parent = row.get("parent_span_id")
    links = [(short_id(link["trace_id"]), link["span_id"]) for link in row.get("links") or ()]
    follows = [{"refType": "FOLLOWS_FROM", "traceID": of, "spanID": span_id} for of, span_id in links]
    if not parent or (trace_id, parent) in links:  # a parent that is linked to as well is listed once, as in Jaeger
        return follows
    return [{"refType": "CHILD_OF", "traceID": trace_id, "spanID": parent}, *follows]


def _tags(row: Json) -> list[Json]:
    tags = dict(row["attributes"])
    scope = scope_of(row)
    tags |= {f"otel.scope.{name}": scope[name] for name in ("name", "version") if scope.get(name)}
    tags["span.kind"] = row["kind"].lower()
    status = row.get("status", "UNSET")
    if status in {"OK", "ERROR"}:
        tags["otel.status_code"] = status
    if status == "ERROR":
        tags["error"] = True
    if row.get("status_message"):
        tags["otel.status_description"] = row["status_message"]
    if row.get("trace_state"):
        tags["w3c.tracestate"] = row["trace_state"]
    return _typed(tags)


def _log(event: Mapping[str, Any]) -> Json:
    fields = {"event": event["name"]} if event.get("name") else {}
    fields |= event["attributes"]
    return {"timestamp": (event.get("time_ns") or 0) // 1000, "fields": _typed(fields)}


def _typed(values: Mapping[str, Any]) -> list[Json]:
    return [{"key": key} | _value(value) for key, value in sorted(values.items())]


def _value(value: Any) -> Json:
    match value:
        case bool():
            return {"type": "bool", "value": value}
        case int():
            return {"type": "int64", "value": value if abs(value) <= _SAFE else str(value)}
        case float():
            return {"type": "float64", "value": value}
        case str():
            return {"type": "string", "value": value}
        case {"otlp.bytes": str(text)}:
            return {"type": "binary", "value": text}
        case _:  # lists and objects are text in Jaeger
            return {"type": "string", "value": msgspec.json.encode(_as_go(value)).decode()}


def _as_go(value: Any) -> Any:
    """Return a value whose JSON is the same as Go's: a whole number has no fraction."""
    match value:
        case float() if value.is_integer() and abs(value) <= _SAFE:
            return int(value)
        case list():
            return [_as_go(item) for item in value]
        case dict():
            return {name: _as_go(item) for name, item in value.items()}
        case _:
            return value


def _cut(values: Mapping[str, Any]) -> Json:
    """Return attributes with texts cut to `VALUE_BYTES` characters. Content has been cut before, as valid JSON."""
    return {
        name: f"{value[:VALUE_BYTES]}… [{len(value) - VALUE_BYTES} more characters]"
        if isinstance(value, str) and len(value) > VALUE_BYTES
        else value
        for name, value in values.items()
    }
