"""Jaeger's third API: rows of `spans` as OTLP in JSON, and a summary of each trace found. Pure.

As in proto3's JSON, 64-bit integers are text; ids are hex, kinds and status codes numbers, as OTLP has them.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from gateway.store.jaeger.spans import Json, scope_of

_KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3, "PRODUCER": 4, "CONSUMER": 5}
_STATUS = {"OK": 1, "ERROR": 2}


def resource_spans(found: Iterable[Json]) -> list[Json]:
    """Return the spans of rows, grouped by trace, resource and scope in the order of the rows."""
    groups: dict[tuple[str, bytes], Json] = {}
    for row in found:
        of = {
            "resource": {
                "attributes": _key_values(row.get("resource") or {"service.name": row.get("service_name", "")})
            },
            "scope": _scope(scope_of(row)),
        }
        group = groups.setdefault((row["trace_id"], msgspec.json.encode(of)), of | {"spans": []})
        group["spans"].append(_span(row))
    return [
        {"resource": of["resource"], "scopeSpans": [{"scope": of["scope"], "spans": of["spans"]}]}
        for of in groups.values()
    ]


def summaries(columns: Sequence[str], values: Iterable[Sequence[Any]]) -> list[Json]:
    """Return the rows of `sql.summaries` in the form of /api/v3/trace-summaries; empty values and 0 are left out."""
    return [_summary(dict(zip(columns, each, strict=True))) for each in values]


def _summary(row: Json) -> Json:
    return _without_defaults(
        {
            "traceId": row["trace_id"],
            "rootServiceName": row["root_service"],
            "rootOperationName": row["root_name"],
            "minStartTimeUnixNano": str(row["first_ns"]),
            "maxEndTimeUnixNano": str(row["last_ns"]),
            "spanCount": row["spans"],
            "errorSpanCount": row["errors"],
            "orphanSpanCount": row["orphans"],
            "services": [
                {"name": each["name"]}
                | _without_defaults({"spanCount": each["spans"], "errorSpanCount": each["errors"]})
                for each in row["services"]
            ],
        }
    )


def _span(row: Json) -> Json:
    start = row["start_ns"]
    return _without_defaults(
        {
            "traceId": row["trace_id"],
            "spanId": row["span_id"],
            "parentSpanId": row.get("parent_span_id"),
            "traceState": row.get("trace_state"),
            "name": row.get("name"),
            "kind": _KINDS.get(row["kind"]),
            "startTimeUnixNano": str(start),
            "endTimeUnixNano": str(start + row.get("duration_ns", 0)),
            "attributes": _key_values(row["attributes"]),
            "events": [_event(event) for event in row["events"]],
            "links": [_link(link) for link in row.get("links") or ()],
        }
    ) | {
        "status": _without_defaults({"message": row.get("status_message"), "code": _STATUS.get(row.get("status", ""))})
    }


def _scope(scope: Json) -> Json:
    attributes = _key_values(scope.get("attributes") or {})
    return _without_defaults({"name": scope.get("name"), "version": scope.get("version"), "attributes": attributes})


def _link(link: Mapping[str, Any]) -> Json:
    return _without_defaults(
        {
            "traceId": link["trace_id"],
            "spanId": link["span_id"],
            "traceState": link.get("trace_state"),
            "attributes": _key_values(link["attributes"]),
        }
    )


def _event(event: Mapping[str, Any]) -> Json:
    return _without_defaults(
        {
            "timeUnixNano": str(event.get("time_ns") or 0),
            "name": event.get("name"),
            "attributes": _key_values(event["attributes"]),
        }
    )


def _key_values(values: Mapping[str, Any]) -> list[Json]:
    return [{"key": key, "value": _any_value(value)} for key, value in sorted(values.items())]


def _any_value(value: Any) -> Json:
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case {"otlp.bytes": str(text)}:
            return {"bytesValue": text}
        case {"otlp.double": str(text)}:
            return {"doubleValue": text}
        case {"otlp.entries": list(pairs)}:
            return {"kvlistValue": {"values": [{"key": key, "value": _any_value(each)} for key, each in pairs]}}
        case list():
            return {"arrayValue": {"values": [_any_value(item) for item in value]}}
        case _:
            return {"kvlistValue": {"values": _key_values(value)}}


def _without_defaults(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value}
