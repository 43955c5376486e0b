"""SQL of the view file, for the paths of segments and journals. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway.semconv import ATTEMPT_PROMOTED, COLUMNS, CONTENT_COLUMNS, EXCHANGE_PROMOTED
from gateway.tracing.journal import LINE_BYTES

# Columns of the relation `ledger`: one row for each journal, live or sealed.
LEDGER = {
    "journal": "VARCHAR",
    "worker": "VARCHAR",
    "accepted": "BIGINT",
    "stored": "BIGINT",
    "in_flight": "BIGINT",
    "interrupted": "BIGINT",
    "dropped": "BIGINT",
    "dropped_by_reason": "JSON",
    "attempts": "BIGINT",
    "damaged_lines": "BIGINT",
    "events": "BIGINT",
    "events_dropped": "BIGINT",
    "received": "BIGINT",
    "received_dropped": "BIGINT",
    "logs": "BIGINT",
    "logs_dropped": "BIGINT",
}

# Columns of the relation `events_raw`: one row for each line of an event of a run or a step, repeated or not.
EVENTS = {
    "event_id": "VARCHAR",  # the same for the same event
    "type": "VARCHAR",
    "phase": "INTEGER",  # of a run or a step: 0 start, 1 update, 2 end; NULL: a plain event
    "run_id": "VARCHAR",
    "step_id": "VARCHAR",
    "time_ns": "BIGINT",
    "received_ns": "BIGINT",
    "trace_id": "VARCHAR",  # of the run; derived from its id if the run's start has none
    "span_id": "VARCHAR",  # of the step or the run; likewise
    "parent_step_id": "VARCHAR",
    "parent_span_id": "VARCHAR",  # derived from the id of the parent step or the run
    "status": "VARCHAR",
    "name": "VARCHAR",
    "description": "VARCHAR",
    "step_type": "VARCHAR",
    "application": "VARCHAR",
    "environment": "VARCHAR",
    "service_name": "VARCHAR",
    "tags": "VARCHAR[]",
    "info": "JSON",
    "input": "JSON",
    "output": "JSON",
    "error": "JSON",
    "data": "JSON",
}

# Columns of the relation `received_spans`: one row for each span that an application sent, repeated or not.
# Values are in the reversible form of `tracing.ingest.otlp.values`.
RECEIVED = {
    "trace_id": "VARCHAR",
    "span_id": "VARCHAR",
    "parent_span_id": "VARCHAR",
    "trace_state": "VARCHAR",
    "name": "VARCHAR",
    "kind": "VARCHAR",
    "service_name": "VARCHAR",
    "start_ns": "BIGINT",
    "duration_ns": "BIGINT",
    "status": "VARCHAR",
    "status_message": "VARCHAR",
    "events": "JSON",  # [{name, time_ns, attributes}]
    "links": "JSON",  # [{trace_id, span_id, attributes}]
    "attributes": "JSON",
    "resource": "JSON",  # its attributes
    "otlp": "JSON",  # further fields of OTLP: {scope: {name, version, ...}, ...}
    "received_ns": "BIGINT",
    "session_id": "VARCHAR",  # of its attributes or its resource's, by several names; likewise
    "user_id": "VARCHAR",
}

# Columns of the relation `received_logs`: one row for each log record that an application sent, repeated or not.
LOGS = {
    "log_id": "VARCHAR",  # the same for the same record
    "time_ns": "BIGINT",
    "observed_ns": "BIGINT",
    "severity_text": "VARCHAR",
    "severity_number": "INTEGER",
    "event_name": "VARCHAR",
    "body": "JSON",
    "trace_id": "VARCHAR",
    "span_id": "VARCHAR",
    "session_id": "VARCHAR",
    "user_id": "VARCHAR",
    "service_name": "VARCHAR",
    "attributes": "JSON",
    "resource": "JSON",
    "otlp": "JSON",
    "received_ns": "BIGINT",
}

# Columns of `spans` that only the spans of applications have.
OF_OTHERS = {"links": "JSON", "resource": "JSON", "otlp": "JSON"}

# A line of another kind is damaged.
_KINDS = ("SERVER", "CLIENT", "INTERNAL", "PRODUCER", "CONSUMER")


def _read_schema() -> tuple[str, ...]:
    text = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    without_comments = "\n".join(line.partition("--")[0] for line in text.splitlines())
    return tuple(part for part in without_comments.split(";") if part.strip())


_SCHEMA = _read_schema()


def statements(segments: Sequence[Path], journals: Sequence[Path]) -> list[str]:
    """Return the statements that create the views over these files.

    The views are created over empty relations, which are replaced last: DuckDB binds a view as it creates it, and would
    open the files for each of them.
    """
    return [*schema(), *relations(segments, journals)]


def schema() -> list[str]:
    """Return the statements that create empty relations, and all views over them."""
    created = [f"CREATE VIEW {_view(table)} AS {_empty(columns)}" for table, columns in tables().items()]
    return [*created, *_SCHEMA, _otel_traces()]


def relations(segments: Sequence[Path], journals: Sequence[Path]) -> list[str]:
    """Return the statements that replace the relations by those over these files."""
    live = {
        "spans": rows_of(journals) if journals else "",
        "events_raw": events_of(journals) if journals else "",
        "received_spans": received_of(journals) if journals else "",
        "received_logs": logs_of(journals) if journals else "",
        "ledger": _live_ledger(journals),
    }
    return [
        f"CREATE OR REPLACE VIEW {_view(table)} AS {_union(_empty(columns), _sealed(table, segments), live[table])}"
        for table, columns in tables().items()
    ]


def _view(table: str) -> str:
    return "recorded_spans" if table == "spans" else table  # `spans` also has the spans of runs and steps


def tables() -> dict[str, dict[str, str]]:
    """Return the tables of every segment: their columns, in order, with types."""
    return {
        "spans": columns_of_spans(),
        "events_raw": EVENTS,
        "received_spans": {"started_at": "TIMESTAMP"} | RECEIVED,
        "received_logs": {"time": "TIMESTAMP"} | LOGS,
        "ledger": LEDGER,
    }


def typed(columns: Mapping[str, str]) -> str:
    """Return columns in the form of CREATE TABLE."""
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())


def columns_of_spans() -> dict[str, str]:
    """Return the columns of the relation `spans`, in order, with types."""
    return {"started_at": "TIMESTAMP"} | {column.name: column.type for column in COLUMNS}


def rows_of(journals: Sequence[Path], longest: int = LINE_BYTES) -> str:
    """Return the SELECT that reads spans from journals; torn and damaged lines are skipped.

    `longest`: bytes of the longest line possible, by which DuckDB sizes its buffers.
    """
    columns = {"t": "VARCHAR"} | {column.name: column.type for column in COLUMNS}
    return (
        "SELECT make_timestamp(start_ns // 1000) AS started_at, * EXCLUDE (t) "
        f"FROM {_read(journals, columns, longest)} WHERE t = 'span' AND span_id IS NOT NULL AND kind IN {_KINDS}"
    )


def events_of(journals: Sequence[Path], longest: int = LINE_BYTES) -> str:
    """Return the SELECT that reads events of runs from journals, as `rows_of` reads spans."""
    columns = {"t": "VARCHAR"} | EVENTS
    return (
        f"SELECT * EXCLUDE (t) FROM {_read(journals, columns, longest)} "
        "WHERE t = 'event' AND event_id IS NOT NULL AND type IS NOT NULL AND time_ns IS NOT NULL"
    )


def received_of(journals: Sequence[Path], longest: int = LINE_BYTES) -> str:
    """Return the SELECT that reads spans of applications from journals, as `rows_of` reads the gateway's own."""
    columns = {"t": "VARCHAR"} | RECEIVED
    return (
        "SELECT make_timestamp(start_ns // 1000) AS started_at, * EXCLUDE (t) "
        f"FROM {_read(journals, columns, longest)} WHERE t = 'received' AND span_id IS NOT NULL AND kind IN {_KINDS}"
    )


def logs_of(journals: Sequence[Path], longest: int = LINE_BYTES) -> str:
    """Return the SELECT that reads log records of applications from journals, as `rows_of` reads spans."""
    columns = {"t": "VARCHAR"} | LOGS
    return (
        "SELECT make_timestamp(coalesce(time_ns, observed_ns, received_ns) // 1000) AS time, * EXCLUDE (t) "
        f"FROM {_read(journals, columns, longest)} WHERE t = 'log' AND log_id IS NOT NULL AND received_ns IS NOT NULL"
    )


def _read(journals: Sequence[Path], columns: dict[str, str], longest: int = LINE_BYTES, more: str = "") -> str:
    types = ", ".join(f"{name}: {quoted(kind)}" for name, kind in columns.items())
    return (
        f"read_json({_listed(journals)}, columns = {{{types}}}, format = 'newline_delimited', ignore_errors = true, "
        # A folder named `name=x` is not a column.
        f"hive_partitioning = false, maximum_object_size = {longest}{more})"
    )


def _sealed(table: str, segments: Sequence[Path]) -> str:
    # All have the same columns (`compaction.modernize`). For a union by name DuckDB would open each for each view.
    options = f"table_name = '{table}', hive_partitioning = false"
    return f"SELECT * FROM read_duckdb({_listed(segments)}, {options})" if segments else ""


def _live_ledger(journals: Sequence[Path]) -> str:
    if not journals:
        return ""
    columns = dict.fromkeys(("t", "kind", "span_id", "reason", "worker", "event_id", "log_id"), "VARCHAR")
    columns |= dict.fromkeys(("count", "received_ns"), "BIGINT")
    return f"""
        SELECT *, accepted - stored - dropped AS in_flight, 0::BIGINT AS interrupted, NULL::BIGINT AS damaged_lines
        FROM (
            SELECT parse_filename(journal_file, true) AS journal, max(worker) AS worker,
                count(DISTINCT span_id) FILTER (t <> 'received' AND kind = 'SERVER') AS accepted,
                count(*) FILTER (t = 'span' AND kind = 'SERVER') AS stored,
                count(*) FILTER (t = 'dropped' AND kind = 'SERVER') AS dropped,
                to_json(histogram(coalesce(reason, '')) FILTER (t = 'dropped' AND kind = 'SERVER'))
                    AS dropped_by_reason,
                count(*) FILTER (t = 'span' AND kind <> 'SERVER') AS attempts,
                count(*) FILTER (t = 'event') AS events,
                coalesce(sum("count") FILTER (t = 'events_dropped'), 0)::BIGINT AS events_dropped,
                count(*) FILTER (t = 'received') AS received,
                coalesce(sum("count") FILTER (t = 'received_dropped'), 0)::BIGINT AS received_dropped,
                count(*) FILTER (t = 'log') AS logs,
                coalesce(sum("count") FILTER (t = 'logs_dropped'), 0)::BIGINT AS logs_dropped
            FROM {_read(journals, columns, more=", filename = 'journal_file'")}
            WHERE t IN ('journal', 'events_dropped', 'received_dropped', 'logs_dropped')
                OR (t = 'event' AND event_id IS NOT NULL)
                OR (t = 'log' AND log_id IS NOT NULL AND received_ns IS NOT NULL)
                OR (t IN ('start', 'span', 'dropped', 'received') AND span_id IS NOT NULL AND kind IN {_KINDS})
            GROUP BY journal_file
        )"""


def _union(*parts: str) -> str:
    return " UNION ALL BY NAME ".join(f"({part})" for part in parts if part)


def _empty(columns: Mapping[str, str]) -> str:
    """Return a relation without rows that has every column, even if there is no file."""
    return f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in columns.items())} WHERE false"


def _attributes() -> str:
    """Return the expression that restores promoted columns as attributes; a null removes the key."""

    def restored(promoted: dict[str, str]) -> str:
        pairs = ", ".join(
            f"{quoted(attribute)}, {f'CAST({column} AS VARCHAR)' if column in CONTENT_COLUMNS else column}"
            for attribute, column in promoted.items()
        )
        return f"json_object({pairs})"

    return (
        "CASE origin WHEN 'otlp' THEN attributes ELSE json_merge_patch(coalesce(attributes, '{}'), "
        f"CASE WHEN kind = 'SERVER' THEN {restored(EXCHANGE_PROMOTED)} ELSE {restored(ATTEMPT_PROMOTED)} END) END"
    )


def _otel_traces() -> str:
    """Return the view with the names of the Collector's ClickHouse exporter, so that queries written for it run."""
    return f"""
CREATE VIEW otel_traces AS
SELECT started_at AS Timestamp, trace_id AS TraceId, span_id AS SpanId, coalesce(parent_span_id, '') AS ParentSpanId,
    coalesce(trace_state, '') AS TraceState, name AS SpanName,
    CASE kind WHEN 'SERVER' THEN 'Server' WHEN 'CLIENT' THEN 'Client' WHEN 'PRODUCER' THEN 'Producer'
        WHEN 'CONSUMER' THEN 'Consumer' ELSE 'Internal' END AS SpanKind,
    service_name AS ServiceName,
    coalesce(resource, json_object('service.name', service_name)) AS ResourceAttributes,
    CASE origin WHEN 'otlp' THEN coalesce(otlp ->> '$.scope.name', '') ELSE 'tracing-gateway' END AS ScopeName,
    coalesce(otlp ->> '$.scope.version', '') AS ScopeVersion,
    {_attributes()} AS SpanAttributes, duration_ns AS Duration,
    CASE status WHEN 'ERROR' THEN 'Error' WHEN 'OK' THEN 'Ok' ELSE 'Unset' END AS StatusCode,
    coalesce(status_message, '') AS StatusMessage, coalesce(events, '[]') AS Events, coalesce(links, '[]') AS Links
FROM spans"""


def quoted(value: str | Path) -> str:
    """Return a value as a string of SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def _listed(paths: Sequence[Path]) -> str:
    return "[" + ", ".join(quoted(path.absolute()) for path in paths) + "]"
