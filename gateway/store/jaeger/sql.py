"""SQL for Jaeger's pages, one query for each page. Pure.

Every query starts a process (`store.query`), so no page runs two. A value of a request is in the SQL only as a quoted
literal or a number. Tags that Jaeger derives from fields of a span, and attributes with columns of their own, are
searched in those columns.
"""

import math
import re
from collections.abc import Sequence

from gateway.semconv import ATTEMPT_PROMOTED, COLUMNS, CONTENT_COLUMNS, EXCHANGE_PROMOTED
from gateway.store.jaeger.parameters import Search
from gateway.store.otlp.vocabularies import ALIASES
from gateway.store.views import OF_OTHERS, quoted
from gateway.tracing.tracer import SCOPE

MOST_NAMES = 10_000
MOST_SPANS = 10_000
# Content in one result. The rest stays in the store, and the span has a pointer to it (`WITHHELD`).
_ANSWER_BYTES = 24 * 1024 * 1024
# One value: more for a trace that is opened than for each of many that are found. Shorter values are sorted in the
# memory of the sandbox before the result is cut.
_VALUE_BYTES = 4 * 1024 * 1024
_FOUND_BYTES = 256 * 1024

WITHHELD = "withheld"
"""Column beside those of `spans`: whether a span's content is left out."""

_TYPES = {column.name: column.type for column in COLUMNS} | OF_OTHERS
# Columns that may be long.
_LONG = (*CONTENT_COLUMNS, "attributes", "events", *OF_OTHERS)
_WHOLE = re.compile(r"-?[0-9]{1,18}", re.ASCII)


def services() -> str:
    """Return the query for the names of all services."""
    return "SELECT DISTINCT service_name FROM spans WHERE service_name IS NOT NULL ORDER BY 1"


def operations(service: str, kind: str | None = None) -> str:
    """Return the query for the operations of a service: name and kind, in lower case."""
    kinds = f" AND lower(kind) = {_text(kind)}" if kind else ""
    return (
        "SELECT DISTINCT coalesce(name, '') AS name, lower(kind) AS kind FROM spans "
        f"WHERE service_name = {_text(service)}{kinds} ORDER BY 1, 2"
    )


def by_ids(trace_ids: Sequence[str]) -> str:
    """Return the query for the spans of traces, in the order of their starts.

    No bounds on the time: in a sealed file, zone maps find an id that starts with the time as fast without.
    """
    listed = ", ".join(_text(trace_id) for trace_id in trace_ids)
    return _spans(f"SELECT DISTINCT trace_id, 0 AS newest FROM spans WHERE trace_id IN ({listed})", _VALUE_BYTES)


def found(search: Search) -> str:
    """Return the query for the spans of the traces that a search finds, newest trace first."""
    return _spans(_found(search), min(_FOUND_BYTES, 4 * _ANSWER_BYTES // search.limit))


def summaries(search: Search) -> str:
    """Return the query for a row on each trace that a search finds, newest first.

    Columns: trace_id, root_service, root_name, first_ns, last_ns, spans, errors, orphans, services (structs of name,
    spans and errors). The root is the first span without a parent, else the first whose parent is not here.
    """
    return f"""
WITH found AS ({_found(search)}), here AS (
    SELECT s.trace_id, s.span_id, nullif(s.parent_span_id, '') AS parent_id, coalesce(s.service_name, '') AS service,
        coalesce(s.name, '') AS name, s.start_ns, s.start_ns + coalesce(s.duration_ns, 0) AS end_ns,
        coalesce(s.status = 'ERROR', false) AS failed, found.newest
    FROM spans s JOIN found USING (trace_id)
), placed AS (
    SELECT h.*, h.parent_id IS NOT NULL AND p.span_id IS NULL AS orphan
    FROM here h LEFT JOIN (SELECT DISTINCT trace_id, span_id FROM here) p
        ON p.trace_id = h.trace_id AND p.span_id = h.parent_id
), each_service AS (
    SELECT trace_id, service, count(*) AS spans, count(*) FILTER (failed) AS errors FROM placed GROUP BY ALL
), listed AS (
    SELECT trace_id, list({{'name': service, 'spans': spans, 'errors': errors}} ORDER BY service) AS services
    FROM each_service GROUP BY trace_id
), roots AS (
    SELECT trace_id, arg_min(service, (orphan, start_ns)) AS root_service,
        arg_min(name, (orphan, start_ns)) AS root_name
    FROM placed WHERE parent_id IS NULL OR orphan GROUP BY trace_id
), whole AS (
    SELECT trace_id, min(start_ns) AS first_ns, max(end_ns) AS last_ns, count(*) AS spans,
        count(*) FILTER (failed) AS errors, count(*) FILTER (orphan) AS orphans, max(newest) AS newest
    FROM placed GROUP BY trace_id
)
SELECT trace_id, root_service, root_name, first_ns, last_ns, spans, errors, orphans, services
FROM whole JOIN listed USING (trace_id) LEFT JOIN roots USING (trace_id) ORDER BY newest DESC, trace_id"""


def dependencies(start_us: int, end_us: int, service: str | None) -> str:
    """Return the query for calls between services, by spans that began in a period: parent, child, calls."""
    within = f"started_at >= {_timestamp(start_us)} AND started_at <= {_timestamp(end_us)}"
    either = f"WHERE {_text(service)} IN (parent, child)" if service else ""
    return f"""
WITH below AS (
    SELECT trace_id, parent_span_id, service_name FROM spans WHERE parent_span_id IS NOT NULL AND {within}
), calls AS (
    SELECT coalesce(above.service_name, '') AS parent, coalesce(below.service_name, '') AS child, count(*) AS calls
    FROM below JOIN spans above ON above.trace_id = below.trace_id AND above.span_id = below.parent_span_id GROUP BY ALL
)
SELECT parent, child, calls FROM calls {either} ORDER BY ALL"""


def _spans(found: str, most: int) -> str:
    """Return the query for all columns of the spans of the traces in `found`, newest first, and for `WITHHELD`.

    `most`: limit on the bytes of one value.
    """
    short = ", ".join(f"CASE WHEN strlen({name}) <= {most} THEN {name} END AS {name}" for name in _LONG)
    too_long = " OR ".join(f"strlen({name}) > {most}" for name in _LONG)
    length = " + ".join(f"coalesce(strlen({name}), 0)" for name in _LONG)
    order = "newest DESC, trace_id, start_ns, span_id"
    whole = f"so_far <= {_ANSWER_BYTES}"
    columns = ", ".join(f"CASE WHEN {whole} THEN {name} END AS {name}" if name in _LONG else name for name in _TYPES)
    return f"""
WITH found AS ({found}), cut AS (
    SELECT s.* REPLACE ({short}), coalesce({too_long}, false) AS too_long, found.newest
    FROM spans s JOIN found USING (trace_id)
), counted AS (SELECT *, sum({length}) OVER (ORDER BY {order} ROWS UNBOUNDED PRECEDING) AS so_far FROM cut)
SELECT {columns}, too_long OR NOT ({whole}) AS {WITHHELD} FROM counted ORDER BY {order}"""


def _found(search: Search) -> str:
    """Return the query for the ids of traces with a span that meets a search, and the start of the newest one."""
    conditions = [
        f"started_at >= {_timestamp(search.start_us)}",
        f"started_at <= {_timestamp(search.end_us)}",
    ]
    if search.service is not None:
        conditions.append(f"service_name = {_text(search.service)}")
    if search.operation is not None:
        conditions.append(f"name = {_text(search.operation)}")
    if search.min_ns is not None:
        conditions.append(f"coalesce(duration_ns, 0) >= {search.min_ns}")
    if search.max_ns is not None:
        conditions.append(f"coalesce(duration_ns, 0) <= {search.max_ns}")
    conditions += [_tag(key, value) for key, value in search.tags.items()]
    return (
        "SELECT trace_id, max(start_ns) AS newest FROM spans "
        f"WHERE {' AND '.join(conditions)} GROUP BY trace_id ORDER BY newest DESC, trace_id LIMIT {search.limit}"
    )


def _tag(key: str, value: str) -> str:
    """Return the condition that a span has a tag, in the form in which Jaeger shows it."""
    key = _CANONICAL.get(key, key)
    match key:
        case "error":
            return "status = 'ERROR'" if value == "true" else "status IS DISTINCT FROM 'ERROR'"
        case "span.kind":
            return f"lower(kind) = {_text(value)}"
        case "otel.status_code":
            return f"status = {_text(value)}" if value in {"OK", "ERROR"} else "false"
        case "otel.status_description":
            return f"status_message = {_text(value)}"
        case "otel.scope.name":
            own = f"CASE WHEN otlp IS NULL THEN {_text(SCOPE)} ELSE json_extract_string(otlp, '/scope/name') END"
            return f"{own} IS NOT DISTINCT FROM {_text(value)}"
        case "service.name":
            return f"service_name = {_text(value)}"
        case "w3c.tracestate":
            return f"trace_state = {_text(value)}"
    # A JSON pointer: in a path, a name could contain operators.
    pointer = _text("/" + key.replace("~", "~0").replace("/", "~1"))
    rest = f"json_extract_string(attributes, {pointer}) = {_text(value)}"
    of_exchange, of_attempt = EXCHANGE_PROMOTED.get(key), ATTEMPT_PROMOTED.get(key)
    ways = [f"coalesce({rest}, false)", f"coalesce(json_extract_string(resource, {pointer}) = {_text(value)}, false)"]
    if of_exchange:
        ways.append(f"(kind = 'SERVER' AND {_column(of_exchange, value)})")
    if of_attempt:
        ways.append(f"(kind <> 'SERVER' AND {_column(of_attempt, value)})")
    return f"({' OR '.join(ways)})"


_CANONICAL = {alias: attribute for attribute, alias in ALIASES.items()}


def _column(name: str, value: str) -> str:
    """Return the condition that a column has a value, given as text."""
    match _TYPES[name]:
        case "VARCHAR":
            return f"{name} = {_text(value)}"
        case "JSON":
            return f"CAST({name} AS VARCHAR) = {_text(value)}"
        case "BOOLEAN":
            return f"{name} IS {value.upper()}" if value in {"true", "false"} else "false"
        case "INTEGER" | "BIGINT":
            return f"{name} = {value}" if _WHOLE.fullmatch(value) else "false"
        case "DOUBLE":
            return _number(name, value)
        case "VARCHAR[]":  # Jaeger shows a list as JSON; a person searches for an element
            return f"(list_contains({name}, {_text(value)}) OR CAST(to_json({name}) AS VARCHAR) = {_text(value)})"
        case _:
            return f"CAST(to_json({name}) AS VARCHAR) = {_text(value)}"


def _number(name: str, value: str) -> str:
    try:
        number = float(value)
    except ValueError:
        return "false"
    return f"{name} = {number!r}::DOUBLE" if math.isfinite(number) else "false"


def _text(value: str) -> str:
    """Return a string literal. A zero byte would end the statement in DuckDB 1.5."""
    return f"({' || chr(0) || '.join(quoted(part) for part in value.split(chr(0)))})"


def _timestamp(us: int) -> str:
    return f"make_timestamp({us})"
