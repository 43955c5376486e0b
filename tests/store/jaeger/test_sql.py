"""What is asked of the store for Jaeger's pages: the right spans, whatever stands in the parameters."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.jaeger import sql
from gateway.store.jaeger.parameters import Search
from gateway.store.views import OF_OTHERS, columns_of_spans, typed
from tests.support.examples import examples
from tests.support.store import START_NS, header, journal, over, sealed, span

T = "0b" * 16
START_US = START_NS // 1000
SECOND = 1_000_000


def wanted(**more: Any) -> Search:
    """Return a search with wide bounds on the time."""
    return Search(**({"service": "gateway", "start_us": START_US - SECOND, "end_us": START_US + 60 * SECOND} | more))


def a_span(
    number: int, kind: str = "CLIENT", *, trace: int | str = 1, at_s: float = 0, **columns: Any
) -> dict[str, Any]:
    """Return a line: a span of a trace, that began so many seconds after the start."""
    trace_id = f"{trace:032x}" if isinstance(trace, int) else trace
    start = START_NS + int(at_s * 1e9)
    named = {"name": "op", "service_name": "gateway", "duration_ns": 5_000_000}
    return span("span", kind, f"{number:016x}", trace_id=trace_id, **(named | columns | {"start_ns": start}))


def found(search: Search, *paths: Path) -> list[int]:
    """Return the numbers of the spans of the traces that a search finds."""
    columns, rows = over(sql.found(search), journals=paths)
    return [int(row[columns.index("span_id")], 16) for row in rows]


def test_services_and_operations_are_what_the_store_has(tmp_path: Path):
    """Each once, by name; sealed or not; the kind in small letters."""
    segment = sealed(tmp_path, [header(), a_span(1, "SERVER", name="in"), a_span(2), a_span(3, service_name="app")])
    live = journal(tmp_path, [header(), a_span(4), a_span(5, service_name=None)])
    assert over(sql.services(), [segment], [live])[1] == [("app",), ("gateway",)]
    assert over(sql.operations("gateway"), [segment], [live])[1] == [("in", "server"), ("op", "client")]
    assert over(sql.operations("gateway", "client"), [segment], [live])[1] == [("op", "client")]
    assert over(sql.operations("nobody"), [segment], [live])[1] == []


def test_a_trace_is_found_by_one_span_that_meets_all(tmp_path: Path):
    """Then all its spans come, in the order in which they began; two spans that meet half of it each do not do."""
    path = journal(
        tmp_path,
        [
            a_span(1, "SERVER", name="in", duration_ns=9_000_000),
            a_span(2, at_s=2, name="out", duration_ns=1_000_000, parent_span_id=f"{1:016x}"),
            a_span(3, at_s=1, name="out", duration_ns=3_000_000, service_name="app"),
            a_span(4, trace=2, at_s=5),
        ],
    )
    assert found(wanted(operation="out"), path) == [1, 3, 2]
    assert found(wanted(), path) == [4, 1, 3, 2]
    assert found(wanted(limit=1), path) == [4]
    assert found(wanted(operation="out", min_ns=2_000_000), path) == []
    assert found(wanted(service="app", min_ns=3_000_000, max_ns=3_000_000), path) == [1, 3, 2]
    assert found(wanted(service=None, operation="op"), path) == [4]
    assert found(wanted(service="nobody"), path) == []


def test_the_time_is_that_of_a_span_that_meets_the_rest(tmp_path: Path):
    """Both ends are included."""
    path = journal(tmp_path, [a_span(1), a_span(2, trace=2, at_s=2)])
    assert found(wanted(start_us=START_US + 2 * SECOND), path) == [2]
    assert found(wanted(end_us=START_US), path) == [1]
    assert found(wanted(start_us=START_US + 1, end_us=START_US + 2 * SECOND - 1), path) == []


ATTEMPT = a_span(
    1, status="ERROR", status_message="server", trace_state="a=b", request_model="m", http_status=500, ttfc_s=0.25,
    stream=False, finish_reasons=["error", "length"], input_messages=[{"role": "user"}], chunk_times_ms=[1.5, 2.0],
    attributes={"server.port": 443, "gen_ai.provider.name": "openai", "a/b~c": True, 'q"$[*]': "x", "list": [1, "two"]},
    usage_source="reported",
)  # fmt: skip
EXCHANGE = a_span(2, "SERVER", trace=2, request_model="prefix/m", retries=3, outcome="ok")
TAGS = [
    ("error", "true", [1]),
    ("error", "false", [2]),
    ("span.kind", "client", [1]),
    ("span.kind", "server", [2]),
    ("span.kind", "SERVER", []),
    ("otel.status_code", "ERROR", [1]),
    ("otel.status_code", "OK", []),
    ("otel.status_description", "server", [1]),
    ("otel.scope.name", "tracing-gateway", [1, 2]),
    ("otel.scope.name", "another", []),
    ("service.name", "gateway", [1, 2]),
    ("w3c.tracestate", "a=b", [1]),
    ("gen_ai.request.model", "m", [1]),
    ("gen_ai.request.model", "prefix/m", []),
    ("gateway.request.model", "prefix/m", [2]),
    ("gateway.request.model", "m", []),
    ("http.response.status_code", "500", [1]),
    ("http.response.status_code", "500.0", []),
    ("http.response.status_code", "5 OR 1=1", []),
    ("gen_ai.response.time_to_first_chunk", "0.25", [1]),
    ("gen_ai.response.time_to_first_chunk", "nan", []),
    ("gen_ai.response.time_to_first_chunk", "1e999", []),
    ("gateway.stream", "false", [1]),
    ("gateway.stream", "no", []),
    ("gateway.retries", "3", [2]),
    ("gateway.usage.source", "reported", [1]),
    ("gen_ai.response.finish_reasons", "length", [1]),
    ("gen_ai.response.finish_reasons", '["error","length"]', [1]),
    ("gateway.attempt.chunk_times_ms", "[1.5,2.0]", [1]),
    ("gen_ai.input.messages", '[{"role":"user"}]', [1]),
    ("server.port", "443", [1]),
    ("gen_ai.provider.name", "openai", [1]),
    ("gen_ai.system", "openai", [1]),
    ("a/b~c", "true", [1]),
    ('q"$[*]', "x", [1]),
    ("list", '[1,"two"]', [1]),
    ("no.such.thing", "x", []),
    ("", "", []),
    ("*", "x", []),
]


@pytest.fixture(name="tagged", scope="module")
def _tagged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return journal(tmp_path_factory.mktemp("tagged"), [ATTEMPT, EXCHANGE])


@pytest.mark.integration
@pytest.mark.parametrize(("key", "value", "numbers"), TAGS)
def test_a_tag_is_looked_for_where_it_is(tagged: Path, key, value, numbers):
    """Columns, attributes, and what Jaeger makes of a span's own fields, by the names under which it shows them."""
    assert found(wanted(tags={key: value}), tagged) == numbers


def test_all_tags_must_be_there(tagged: Path):
    """On one span."""
    assert found(wanted(tags={"error": "true", "server.port": "443"}), tagged) == [1]
    assert found(wanted(tags={"error": "true", "span.kind": "server"}), tagged) == []


# A lone surrogate is no text: neither HTTP nor JSON brings one here.
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_odd = st.sampled_from(
    ["'", "''; --", "') OR 1=1 --", "\\'", "\0", "a\0b", "'\0'", "$1", "?", '"', "/", "~1", "%", "{}", "\n", "x"]
)
_any_text = st.one_of(_odd, _texts)
_any_tags = st.dictionaries(_any_text, _any_text, max_size=2)


@pytest.fixture(name="table", scope="module")
def _table() -> Iterator[duckdb.DuckDBPyConnection]:
    """Give a database in which `spans` is a table: it is filled and emptied faster than views over files are made."""
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE spans ({typed(columns_of_spans() | OF_OTHERS)})")
        yield con


@pytest.mark.integration
@examples(150)
@given(
    spans=st.lists(st.tuples(_any_text, _any_text, _any_tags), min_size=1, max_size=3),
    service=st.none() | _any_text,
    operation=st.none() | _any_text,
    tags=_any_tags,
    data=st.data(),
)  # fmt: skip
def test_no_value_is_more_than_itself(table: duckdb.DuckDBPyConnection, spans, service, operation, tags, data):
    """A search finds just those whose texts are the same, character by character."""
    if data.draw(st.booleans()):  # as likely to be found as not
        service, operation, tags = data.draw(st.sampled_from(spans))
    table.execute("DELETE FROM spans")
    for number, (of, name, attributes) in enumerate(spans, 1):
        table.execute(
            "INSERT INTO spans (trace_id, span_id, service_name, name, attributes, started_at, start_ns, kind) "
            "VALUES ($1, $1, $2, $3, $4, make_timestamp($5), $5 * 1000, 'CLIENT')",
            [f"{number:032x}", of, name, json.dumps(attributes), START_US],
        )
    said = wanted(service=service, operation=operation, tags=tags, limit=100)
    expected = {
        f"{number:032x}"
        for number, (of, name, attributes) in enumerate(spans, 1)
        if service in {None, of} and operation in {None, name} and tags.items() <= attributes.items()
    }
    assert {row[0] for row in table.execute(sql.summaries(said)).fetchall()} == expected
    assert len(table.execute(sql.found(said)).fetchall()) == len(expected)
    if service:
        named = {each[1] for each in spans if each[0] == service}
        assert {row[0] for row in table.execute(sql.operations(service)).fetchall()} == named


def test_traces_are_found_by_id(tmp_path: Path):
    """All their spans, sealed or not, and of nobody else's trace."""
    segment = sealed(tmp_path, [a_span(1, trace=T), a_span(2, trace=7)])
    live = journal(tmp_path, [a_span(3, trace=T, at_s=1), a_span(4, trace=8)])
    columns, rows = over(sql.by_ids([T, f"{8:032x}"]), [segment], [live])
    assert sorted(int(row[columns.index("span_id")], 16) for row in rows) == [1, 3, 4]
    assert over(sql.by_ids(["f" * 32]), [segment], [live])[1] == []


def test_an_answer_holds_so_much_content_and_no_more(tmp_path: Path):
    """What is too long in itself, or beyond what an answer holds, is left out, and the row says so."""
    mib = 1024 * 1024
    lengths = [5 * mib, *[3 * mib + 900_000] * 7]
    lines = [
        a_span(number, at_s=number, input_messages=["x" * length], output_messages=["short"])
        for number, length in enumerate(lengths)
    ]
    path = journal(tmp_path, lines)
    columns, rows = over(sql.by_ids([f"{1:032x}"]), journals=[path])
    told = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [each[sql.WITHHELD] for each in told] == [True, False, False, False, False, False, False, True]
    assert [each["input_messages"] is None for each in told] == [each[sql.WITHHELD] for each in told]
    assert told[0]["output_messages"] == '["short"]'
    columns, rows = over(sql.found(wanted()), journals=[path])
    assert all(row[columns.index(sql.WITHHELD)] for row in rows)
    assert all(row[columns.index("output_messages")] == '["short"]' for row in rows)


@pytest.mark.parametrize(("limit", "withheld"), [(20, False), (1500, True)])
def test_many_traces_say_less_each(tmp_path: Path, limit: int, withheld: bool):
    """So that they fit into the memory of the sandbox."""
    path = journal(tmp_path, [a_span(1, input_messages=["x" * 100_000])])
    columns, rows = over(sql.found(wanted(limit=limit)), journals=[path])
    assert [row[columns.index(sql.WITHHELD)] for row in rows] == [withheld]


def test_summaries_say_what_a_trace_is(tmp_path: Path):
    """Root, times, spans, errors, orphans, services; of the newest trace first."""
    one, gone = f"{1:016x}", "9" * 16
    path = journal(
        tmp_path,
        [
            a_span(2, at_s=1, parent_span_id=one, status="ERROR", service_name="app"),
            a_span(1, "SERVER", name="root", duration_ns=3_000_000_000),
            a_span(3, at_s=2, parent_span_id=one, duration_ns=None),
            a_span(4, trace=2, at_s=9, parent_span_id=gone, name="first of ours"),
            a_span(5, trace=2, at_s=10, parent_span_id=f"{4:016x}"),
            a_span(6, trace=3, at_s=20, service_name="app"),
            a_span(7, at_s=-0.5, parent_span_id=gone, service_name="app", name="before the root"),
        ],
    )
    columns, rows = over(sql.summaries(wanted(limit=2)), journals=[path])
    told = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [each["trace_id"][-1] for each in told] == ["2", "1"]
    assert told[0] == {
        "trace_id": f"{2:032x}", "root_service": "gateway", "root_name": "first of ours",
        "first_ns": START_NS + 9 * 10**9, "last_ns": START_NS + 10_005_000_000, "spans": 2, "errors": 0, "orphans": 1,
        "services": [{"name": "gateway", "spans": 2, "errors": 0}],
    }  # fmt: skip
    assert told[1] == {
        "trace_id": f"{1:032x}", "root_service": "gateway", "root_name": "root",
        "first_ns": START_NS - 5 * 10**8, "last_ns": START_NS + 3 * 10**9, "spans": 4, "errors": 1, "orphans": 1,
        "services": [{"name": "app", "spans": 2, "errors": 1}, {"name": "gateway", "spans": 2, "errors": 0}],
    }  # fmt: skip


def test_dependencies_count_calls_between_services(tmp_path: Path):
    """A span below another one is a call of its service by the other's, if it began within the time."""
    path = journal(
        tmp_path,
        [
            a_span(1, service_name="app"),
            a_span(2, "SERVER", parent_span_id=f"{1:016x}"),
            a_span(3, parent_span_id=f"{2:016x}", at_s=1),
            a_span(4, parent_span_id=f"{2:016x}", at_s=9),
            a_span(5, parent_span_id="9" * 16),
            a_span(6, trace=2, parent_span_id=f"{1:016x}"),
        ],
    )
    ends = (START_US, START_US + 5 * SECOND)
    assert over(sql.dependencies(*ends, None), journals=[path])[1] == [("app", "gateway", 1), ("gateway", "gateway", 1)]
    assert over(sql.dependencies(*ends, "app"), journals=[path])[1] == [("app", "gateway", 1)]
    assert over(sql.dependencies(*ends, "x' OR '1'='1"), journals=[path])[1] == []
