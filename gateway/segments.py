"""Journals become sealed DuckDB files, and one small file of views makes a database of them all.

Any DuckDB opens the view file and sees live rows, with no lock and no server: it lists segments and journals by path,
and is replaced as a whole whenever that list changes. Files are written for DuckDB 1.5 as well as 2.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from msgspec import Struct

from gateway.semconv import ATTEMPT_PROMOTED, COLUMNS, CONTENT_COLUMNS, EXCHANGE_PROMOTED

VIEWS = "spans.duckdb"
INTERRUPTED = "interrupted"

# 2.0 writes files that 1.5 refuses, unless told so.
_STORAGE = "(STORAGE_VERSION 'v1.5.0', ROW_GROUP_SIZE 8192)"
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "256MB",
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
# A worker writes no longer line; DuckDB sizes its read buffers by it.
_LINE_BYTES = 64 * 1024 * 1024
_LEDGER = {
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
}


class _Line(Struct, gc=False):
    """What the ledger needs of a line."""

    t: str = ""
    kind: str | None = None
    span_id: str | None = None
    reason: str = ""
    worker: str | None = None


_line_decoder = msgspec.json.Decoder(_Line)


class Ledger(Struct):
    """What a journal says of itself. accepted = stored + interrupted + dropped, once nobody writes to it."""

    journal: str
    worker: str | None = None
    accepted: int = 0
    stored: int = 0
    in_flight: int = 0
    interrupted: int = 0
    dropped: int = 0
    dropped_by_reason: dict[str, int] = {}
    attempts: int = 0
    damaged_lines: int = 0


class SegmentInfo(Struct, frozen=True, kw_only=True):
    """A segment as retention sees it: its size, and the Unix time of its newest row."""

    path: Path
    bytes: int
    newest: float


def store_files(data: Path) -> tuple[list[Path], list[Path]]:
    """Return the segments of a data folder, and the journals that have none yet: together they are the store."""
    segments = sorted((data / "segments").glob("*.duckdb"))
    sealed = {path.stem for path in segments}
    return segments, sorted(path for path in (data / "live").glob("*.jsonl") if path.stem not in sealed)


def read_ledger(journal: Path) -> tuple[Ledger, list[dict[str, Any]]]:
    """Count what a journal holds; return the counts, and the starts of the exchanges that have no end in it."""
    ledger = Ledger(journal=journal.stem, dropped_by_reason={})
    starts: dict[str, bytes] = {}
    ended: set[str] = set()
    dropped: dict[str, str] = {}
    with journal.open("rb") as file:
        for raw in file:
            try:
                line = _line_decoder.decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError):
                ledger.damaged_lines += 1
                continue
            if line.t == "journal":
                ledger.worker = line.worker
            elif line.span_id is None:
                continue
            elif line.t == "start":
                starts[line.span_id] = raw
            elif line.t == "span" and line.kind == "SERVER":
                ended.add(line.span_id)
                starts.pop(line.span_id, None)
            elif line.t == "span":
                ledger.attempts += 1
            elif line.t == "dropped" and line.kind == "SERVER":
                dropped[line.span_id] = line.reason
    for span_id, reason in dropped.items():
        starts.pop(span_id, None)
        ledger.dropped_by_reason[reason] = ledger.dropped_by_reason.get(reason, 0) + 1
    ledger.stored = len(ended)
    ledger.dropped = len(dropped)
    ledger.interrupted = len(starts)
    ledger.accepted = ledger.stored + ledger.dropped + ledger.interrupted
    return ledger, [msgspec.json.decode(raw) for raw in starts.values()]


def interrupted(start: dict[str, Any]) -> dict[str, Any]:
    """Return the row that stands for an exchange whose gateway stopped before it ended; how long it took is unknown."""
    return start | {
        "t": "span",
        "outcome": INTERRUPTED,
        "error_type": INTERRUPTED,
        "status": "ERROR",
        "status_message": INTERRUPTED,
        "error": "the gateway stopped before this exchange ended",
    }


def seal(journal: Path, segment: Path) -> Ledger:
    """Make a segment of a journal that nobody writes to. May be repeated, after a kill at any moment as well."""
    ledger, open_starts = read_ledger(journal)
    unfinished = segment.with_suffix(".tmp")
    rows = segment.with_suffix(".tmp.jsonl")
    for leftover in (unfinished, unfinished.with_name(unfinished.name + ".wal"), rows):
        leftover.unlink(missing_ok=True)
    sources = [journal]
    if open_starts:
        rows.write_bytes(b"".join(msgspec.json.encode(interrupted(start)) + b"\n" for start in open_starts))
        sources.append(rows)
    with duckdb.connect(":memory:", config=_CONFIG) as con:
        con.execute(f"SET temp_directory = {_quoted(segment.with_suffix('.tmp.spill'))}")
        con.execute(f"ATTACH {_quoted(unfinished)} AS segment {_STORAGE}")
        con.execute(f"CREATE TABLE segment.spans AS {_rows_of(sources)}")
        con.execute(f"CREATE TABLE segment.ledger ({', '.join(f'{name} {kind}' for name, kind in _LEDGER.items())})")
        values = [getattr(ledger, name) for name in _LEDGER]
        values[list(_LEDGER).index("dropped_by_reason")] = msgspec.json.encode(ledger.dropped_by_reason).decode()
        con.execute(f"INSERT INTO segment.ledger VALUES ({', '.join('?' * len(values))})", values)
        con.execute("DETACH segment")
    rows.unlink(missing_ok=True)
    _replace(unfinished, segment)
    return ledger


def publish(data: Path, segments: Sequence[Path], journals: Sequence[Path]) -> None:
    """Replace the view file by one over these files, named by their absolute paths."""
    views = data / VIEWS
    unfinished = data / f"{VIEWS}.tmp"
    unfinished.unlink(missing_ok=True)
    with duckdb.connect(":memory:", config=_CONFIG) as con:
        con.execute(f"ATTACH {_quoted(unfinished)} AS views {_STORAGE}")
        con.execute("USE views")
        for statement in statements(segments, journals):
            con.execute(statement)
        con.execute("USE memory")
        con.execute("DETACH views")
    # A write-ahead log that somebody's own session left belongs to the file that goes.
    (data / f"{VIEWS}.wal").unlink(missing_ok=True)
    _replace(unfinished, views)


def statements(segments: Sequence[Path], journals: Sequence[Path]) -> Iterator[str]:
    """Give the statements that make the views over these files."""
    yield f"CREATE VIEW spans AS {_union(_sealed('spans', segments), _rows_of(journals) if journals else '', _empty())}"
    no_ledger = f"SELECT {', '.join(f'NULL::{kind} AS {name}' for name, kind in _LEDGER.items())} WHERE false"
    yield f"CREATE VIEW ledger AS {_union(_sealed('ledger', segments), _live_ledger(journals), no_ledger)}"
    schema = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    yield from (f"CREATE VIEW {part}" for part in _without_comments(schema).split("CREATE VIEW ")[1:])
    yield _otel_traces()


def expired(
    segments: Iterable[SegmentInfo], now: float, max_age: float | None, max_bytes: int | None
) -> list[SegmentInfo]:
    """Return the segments to remove, oldest first: those older than `max_age` seconds, and as many as are too much."""
    oldest_first = sorted(segments, key=lambda info: (info.newest, info.path))
    left = sum(info.bytes for info in oldest_first)
    gone = []
    for info in oldest_first:
        too_old = max_age is not None and now - info.newest > max_age
        too_much = max_bytes is not None and left > max_bytes
        if not (too_old or too_much):
            break
        gone.append(info)
        left -= info.bytes
    return gone


def _rows_of(journals: Sequence[Path]) -> str:
    """Return the SELECT that reads the spans out of journals; torn and damaged lines are passed over."""
    columns = {"t": "VARCHAR"} | {column.name: column.type for column in COLUMNS}
    return (
        f"SELECT make_timestamp(start_ns // 1000) AS started_at, * EXCLUDE (t) FROM {_read(journals, columns)} "
        "WHERE t = 'span' AND span_id IS NOT NULL"
    )


def _read(journals: Sequence[Path], columns: dict[str, str], more: str = "") -> str:
    typed = ", ".join(f"{name}: {_quoted(kind)}" for name, kind in columns.items())
    return (
        f"read_json({_listed(journals)}, columns = {{{typed}}}, format = 'newline_delimited', ignore_errors = true, "
        f"maximum_object_size = {_LINE_BYTES}{more})"
    )


def _sealed(table: str, segments: Sequence[Path]) -> str:
    return f"SELECT * FROM read_duckdb({_listed(segments)}, table_name = '{table}')" if segments else ""


def _live_ledger(journals: Sequence[Path]) -> str:
    if not journals:
        return ""
    columns = dict.fromkeys(("t", "kind", "span_id", "reason", "worker"), "VARCHAR")
    return f"""
        SELECT *, accepted - stored - dropped AS in_flight, 0::BIGINT AS interrupted, NULL::BIGINT AS damaged_lines
        FROM (
            SELECT parse_filename(journal_file, true) AS journal, max(worker) AS worker,
                count(DISTINCT span_id) FILTER (kind = 'SERVER') AS accepted,
                count(*) FILTER (t = 'span' AND kind = 'SERVER') AS stored,
                count(*) FILTER (t = 'dropped' AND kind = 'SERVER') AS dropped,
                to_json(histogram(reason) FILTER (t = 'dropped' AND kind = 'SERVER')) AS dropped_by_reason,
                count(*) FILTER (t = 'span' AND kind = 'CLIENT') AS attempts
            FROM {_read(journals, columns, ", filename = 'journal_file'")} GROUP BY journal_file
        )"""


def _union(sealed: str, live: str, empty: str) -> str:
    return " UNION ALL BY NAME ".join(f"({part})" for part in (sealed, live) if part) or empty


def _empty() -> str:
    columns = ", ".join(f"NULL::{column.type} AS {column.name}" for column in COLUMNS)
    return f"SELECT NULL::TIMESTAMP AS started_at, {columns} WHERE false"


def _attributes() -> str:
    """Return the expression that puts promoted columns back under their attributes' names; a null removes the key."""

    def put_back(promoted: dict[str, str]) -> str:
        pairs = ", ".join(
            f"{_quoted(attribute)}, {f'CAST({column} AS VARCHAR)' if column in CONTENT_COLUMNS else column}"
            for attribute, column in promoted.items()
        )
        return f"json_object({pairs})"

    return (
        f"json_merge_patch(coalesce(attributes, '{{}}'), CASE WHEN kind = 'SERVER' THEN {put_back(EXCHANGE_PROMOTED)} "
        f"ELSE {put_back(ATTEMPT_PROMOTED)} END)"
    )


def _otel_traces() -> str:
    """Return the view with the names of the Collector's ClickHouse exporter, so that queries written for it run."""
    return f"""
CREATE VIEW otel_traces AS
SELECT started_at AS Timestamp, trace_id AS TraceId, span_id AS SpanId, coalesce(parent_span_id, '') AS ParentSpanId,
    coalesce(trace_state, '') AS TraceState, name AS SpanName,
    CASE kind WHEN 'SERVER' THEN 'Server' WHEN 'CLIENT' THEN 'Client' WHEN 'PRODUCER' THEN 'Producer'
        WHEN 'CONSUMER' THEN 'Consumer' ELSE 'Internal' END AS SpanKind,
    service_name AS ServiceName, json_object('service.name', service_name) AS ResourceAttributes,
    'tracing-gateway' AS ScopeName, '' AS ScopeVersion, {_attributes()} AS SpanAttributes, duration_ns AS Duration,
    CASE status WHEN 'ERROR' THEN 'Error' WHEN 'OK' THEN 'Ok' ELSE 'Unset' END AS StatusCode,
    coalesce(status_message, '') AS StatusMessage, coalesce(events, '[]') AS Events, '[]'::JSON AS Links
FROM spans"""


def _without_comments(sql: str) -> str:
    return "\n".join(line.partition("--")[0] for line in sql.splitlines())


def _quoted(value: str | Path) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _listed(paths: Sequence[Path]) -> str:
    return "[" + ", ".join(_quoted(path.absolute()) for path in paths) + "]"


def _replace(unfinished: Path, final: Path) -> None:
    """Put a finished file in its place, so that it is whole or not there after a crash of the machine as well."""
    _sync(unfinished)
    unfinished.replace(final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
