"""The views' SQL: columns, rows of journals, promoted attributes, and the names of the ClickHouse exporter."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from gateway.semconv import ATTEMPT_PROMOTED, COLUMNS, CONTENT_COLUMNS, EXCHANGE_PROMOTED
from gateway.store import views
from gateway.store.views import OF_OTHERS, columns_of_spans, quoted, tables, typed
from tests.support.store import exchange, header, journal, over, sealed, span

TYPES = {column.name: column.type for column in COLUMNS}
SAMPLES: dict[str, tuple[Any, Any]] = {
    "VARCHAR": ("é", "é"),
    "INTEGER": (7, 7),
    "BIGINT": (2**62, 2**62),
    "DOUBLE": (0.5, 0.5),
    "BOOLEAN": (False, False),
    "VARCHAR[]": (["a", "b"], ["a", "b"]),
    "DOUBLE[]": ([0.5, 2.0], [0.5, 2.0]),
    "JSON": ([{"role": "user"}], '[{"role":"user"}]'),
}
"""A value of each type of column, and the same as an attribute."""
PROMOTED = [
    (kind, attribute, column)
    for kind, promoted in (("SERVER", EXCHANGE_PROMOTED), ("CLIENT", ATTEMPT_PROMOTED))
    for attribute, column in promoted.items()
]


@pytest.mark.parametrize("value", ["plain", "it's", "''", 'a "b"', "a;b", "two\nlines", "ünïcode ☃"])
def test_quoted_values_are_read_back(value):
    """Any text is one string of SQL."""
    with duckdb.connect() as con:
        assert con.execute(f"SELECT {quoted(value)}").fetchall() == [(value,)]


def test_columns_have_the_form_of_create_table():
    """DuckDB accepts the definition of each table, and has the same columns in the same order."""
    with duckdb.connect() as con:
        for table, columns in tables().items():
            con.execute(f"CREATE TABLE {table} ({typed(columns)})")
            assert [row[:2] for row in con.execute(f"DESCRIBE {table}").fetchall()] == list(columns.items())


def test_spans_have_a_utc_time_before_the_columns_of_the_conventions():
    """`started_at` is derived from `start_ns`."""
    assert list(columns_of_spans()) == ["started_at", *TYPES]
    names, _ = over("FROM spans")
    assert names == [*columns_of_spans(), "origin", *OF_OTHERS]


RELATIONS = {
    "recorded_spans": "spans",
    "events_raw": "events_raw",
    "received_spans": "received_spans",
    "received_logs": "received_logs",
    "ledger": "ledger",
}


@pytest.mark.parametrize(("view", "table"), RELATIONS.items(), ids=RELATIONS)
def test_a_relation_of_files_has_the_columns_of_its_table(view, table):
    """Even if there is no file."""
    assert [row[:2] for row in over(f"DESCRIBE {view}")[1]] == list(tables()[table].items())


def lines(t: str, **columns: Any) -> dict[str, Any]:
    """Return a line about the span or the event 1."""
    if t == "event":
        return {"t": t, "event_id": "1", "type": "note", "time_ns": 5} | columns
    return span(t, "CLIENT", "1" * 16) | columns


READERS = {"span": views.rows_of, "event": views.events_of, "received": views.received_of}
REQUIRED = {
    "span": ("span_id", "kind"),
    "event": ("event_id", "type", "time_ns"),
    "received": ("span_id", "kind"),
}


def rows_in(data: Path, t: str, *each: dict[str, Any] | bytes) -> list[dict[str, Any]]:
    """Return the rows of the lines of one type."""
    encoded = b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in each)
    with duckdb.connect() as con:
        cursor = con.execute(READERS[t]([journal(data, encoded)]))
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.mark.parametrize("t", READERS)
def test_only_lines_of_the_type_are_rows(tmp_path, t):
    """A journal has lines of every type."""
    (row,) = rows_in(tmp_path, t, header(), *(lines(each) for each in READERS), lines("start"), lines("dropped"))
    assert row["event_id" if t == "event" else "span_id"].startswith("1")
    assert "t" not in row


@pytest.mark.parametrize(("t", "name"), [(t, name) for t, names in REQUIRED.items() for name in names])
def test_a_line_without_a_required_field_is_skipped(tmp_path, t, name):
    """The ledger counts it as damaged."""
    without = {key: value for key, value in lines(t).items() if key != name}
    assert len(rows_in(tmp_path, t, without, lines(t))) == 1


DAMAGED = [b"\x00\xff", b'{"t":"span",', b"[]", b"7", b"", b'{"t":"span","start_ns":"now"}']


@pytest.mark.parametrize("damage", DAMAGED)
@pytest.mark.parametrize("t", READERS)
def test_a_damaged_line_is_skipped(tmp_path, t, damage):
    """The lines around it are read."""
    assert len(rows_in(tmp_path, t, lines(t), damage, lines(t))) == 2


KINDS = ("SERVER", "CLIENT", "INTERNAL", "PRODUCER", "CONSUMER")


@pytest.mark.parametrize("t", ["span", "received"])
def test_spans_of_every_kind_are_read(tmp_path, t):
    """Another kind is damage."""
    found = rows_in(tmp_path, t, *(lines(t, kind=kind) for kind in (*KINDS, "OTHER", "client")))
    assert tuple(row["kind"] for row in found) == KINDS


@pytest.fixture(name="otel_traces", scope="module")
def _otel_traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return the rows of `otel_traces` by span id: a span for each promoted attribute, kind and status."""
    each = [
        span("span", kind, f"{kind} {attribute}", **{column: SAMPLES[TYPES[column]][0]})
        for kind, attribute, column in PROMOTED
    ]
    each += [span("span", kind, kind) for kind in KINDS]
    each += [span("span", "CLIENT", status, status=status) for status in STATUSES]
    each += [span("span", "CLIENT", "rest", attributes={"own": 1, "http.request.method": "replaced"}, method="POST")]
    path = journal(tmp_path_factory.mktemp("views"), [header(), *each])
    names, rows = over("FROM otel_traces", (), [path])
    return {row["SpanId"]: row for row in (dict(zip(names, values, strict=True)) for values in rows)}


@pytest.mark.parametrize(("kind", "attribute", "column"), PROMOTED)
def test_a_promoted_column_is_an_attribute_again(otel_traces, kind, attribute, column):
    """`otel_traces` has it under the name of the conventions, of its type; content is text."""
    expected = SAMPLES[TYPES[column]][1]
    assert json.loads(otel_traces[f"{kind} {attribute}"]["SpanAttributes"]) == {attribute: expected}
    assert isinstance(expected, str) or column not in CONTENT_COLUMNS


def test_other_attributes_stay_beside_the_promoted(otel_traces):
    """A promoted column replaces an attribute of the same name."""
    assert json.loads(otel_traces["rest"]["SpanAttributes"]) == {"own": 1, "http.request.method": "POST"}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_are_spelled_as_by_the_clickhouse_exporter(otel_traces, kind):
    """In `otel_traces`."""
    assert otel_traces[kind]["SpanKind"] == kind.capitalize()


STATUSES = {"OK": "Ok", "ERROR": "Error", "UNSET": "Unset"}


@pytest.mark.parametrize(("status", "code"), STATUSES.items(), ids=STATUSES)
def test_status_codes_are_spelled_as_by_the_clickhouse_exporter(otel_traces, status, code):
    """In `otel_traces`."""
    assert otel_traces[status]["StatusCode"] == code


def test_otel_traces_has_no_null_in_texts(otel_traces):
    """The ClickHouse exporter writes empty texts and lists."""
    expected = {"ParentSpanId": "", "TraceState": "", "ScopeName": "tracing-gateway", "ScopeVersion": ""}
    expected |= {"StatusMessage": "", "Events": "[]", "Links": "[]"}
    assert {name: otel_traces["CLIENT"][name] for name in expected} == expected


LEDGER = {
    "accepted": 4,
    "stored": 1,
    "in_flight": 2,
    "interrupted": 0,
    "dropped": 1,
    "attempts": 1,
    "events": 2,
    "events_dropped": 5,
    "received": 1,
    "received_dropped": 7,
    "logs": 2,
    "logs_dropped": 9,
}


def test_the_ledger_of_a_live_journal_is_counted(tmp_path):
    """An exchange is counted once, by its start or its end; damage is counted when the journal is sealed."""
    each = [
        *exchange(1),
        *exchange(2, ended=False),
        *exchange(3, ended=False),
        span("dropped", "SERVER", "4" * 16, reason="disk_full"),
        lines("event"),
        lines("event", type="run:start"),
        {"t": "events_dropped", "reason": "disk_full", "count": 5},
        lines("received"),
        {"t": "received_dropped", "reason": "disk_full", "count": 7},
        {"t": "log", "log_id": "a", "received_ns": 1},
        {"t": "log", "log_id": "b", "received_ns": 2},
        {"t": "log", "log_id": "without the time of its arrival"},
        {"t": "logs_dropped", "reason": "disk_full", "count": 9},
        {"t": "metric", "metric": ""},
        {"t": "metrics_dropped", "reason": "disk_full", "count": 1},
    ]
    path = journal(tmp_path, [header("w7"), *each], "w7-1")
    names, (values,) = over("FROM ledger", (), [path])
    row = dict(zip(names, values, strict=True))
    assert json.loads(row.pop("dropped_by_reason")) == {"disk_full": 1}
    assert row == LEDGER | {"journal": "w7-1", "worker": "w7", "damaged_lines": None}


def test_a_folder_named_like_a_partition_is_no_column(tmp_path):
    """Of journals and of segments."""
    folder = tmp_path / "provider=other"
    segment = sealed(folder, [header(), *exchange(1, provider="mine")])
    path = journal(folder, [header(), *exchange(2, provider="mine")])
    assert over("SELECT DISTINCT provider FROM attempts", [segment], [path])[1] == [("mine",)]
