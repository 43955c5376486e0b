"""Sealing: a journal's rows come back as they were, whatever they hold, and views show live and sealed ones alike."""

import json

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind

from gateway.semconv import ATTEMPT_PROMOTED, COLUMNS, CONTENT_COLUMNS, EXCHANGE_PROMOTED
from gateway.store.compaction import merge, modernize
from gateway.store.ledger import read_ledger
from gateway.store.query import run_sql
from gateway.store.segments import SegmentInfo, expired, publish, seal, store_files
from gateway.tracing.tracer import row_of
from tests.support.examples import examples
from tests.support.gateways import ask
from tests.support.run_events import lines_of, whole_run
from tests.support.store import encoded, exchange, header, journal, over, sealed, small, span

# Each example writes its files anew, and takes as long as a disk does.
_files = examples(30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_doubles = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(2**80), 2**80) | _doubles | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
_values = {
    "VARCHAR": st.text(),
    "BIGINT": st.integers(-(2**63), 2**63 - 1),
    "INTEGER": st.integers(-(2**31), 2**31 - 1),
    "DOUBLE": _doubles,
    "BOOLEAN": st.booleans(),
    "DOUBLE[]": st.lists(_doubles, max_size=3),
    "VARCHAR[]": st.lists(st.text(), max_size=3),
    "JSON": _json,
}
_given = {column.name: st.none() | _values[column.type] for column in COLUMNS if column.name not in {"span_id", "kind"}}
_rows = st.fixed_dictionaries(
    {"kind": st.sampled_from(["SERVER", "CLIENT", "INTERNAL"])},
    optional=_given | {"start_ns": st.none() | st.integers(0, 2**62)},
)

FIXED = {
    "exchanges": """trace_id, span_id, started_at, duration_ms, path, dialect, client, model, status_code, outcome,
        attempts, retries, rate_limited, provider, response_model, input_tokens, output_tokens, total_tokens, cost_usd,
        session_id, user_id, application, environment, run_id, step_id, error, organization_id, project_id, workflow_id,
        workflow_name, step_index, prompt_id, prompt_version, extra""",
    "attempts": """trace_id, span_id, exchange_id, attempt, reason, started_at, duration_ms, backoff_ms, ttfb_ms,
        ttfc_ms, provider, operation, request_model, response_model, response_id, status_code, error_type, outcome,
        stream, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, total_tokens,
        usage_source, cost_usd, provider_cost_usd, service_tier, audio_input_tokens, audio_output_tokens,
        cache_write_5m_tokens, cache_write_1h_tokens, web_search_requests, server_tool_requests, unread_reason,
        finish_reasons,
        input_messages, output_messages, overhead_us, attributes""",
}
VIEWS = (
    *FIXED, "spans", "recorded_spans", "ledger", "messages", "prices", "costs", "otel_traces", "runs", "steps",
    "events", "events_raw", "run_usage",
)  # fmt: skip


@_files
@given(st.lists(_rows, min_size=1, max_size=6))
def test_rows_come_back_as_they_were(tmp_path, rows):
    """Whatever the columns hold, the row that is read is the row that was written, from the journal and the segment."""
    rows = [row | {"span_id": f"{index:016x}"} for index, row in enumerate(rows)]
    path = journal(tmp_path, [{"t": "span", **row} for row in rows])
    segment = tmp_path / "w0-1.duckdb"
    assert seal(path, segment).damaged_lines == 0
    names, live = over("FROM spans ORDER BY span_id", journals=[path])
    assert (names, live) == over("FROM spans ORDER BY span_id", segments=[segment])
    assert len(live) == len(rows)
    for read, wrote in zip(live, rows, strict=True):
        found = dict(zip(names, read, strict=True))
        for column in COLUMNS:
            value = found[column.name]
            if column.type == "JSON" and value is not None:
                value = json.loads(value)
            assert (column.name, value) == (column.name, wrote.get(column.name))


_content = st.lists(st.fixed_dictionaries({"role": st.text(), "parts": st.lists(_json, max_size=2)}), max_size=2)
_others = st.text(min_size=1).filter(lambda name: name not in ATTEMPT_PROMOTED and name not in EXCHANGE_PROMOTED)
_scalars = st.text() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | _doubles


def _attribute(column: str):
    if column in CONTENT_COLUMNS:
        return _content.map(lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False))
    return _values[next(each.type for each in COLUMNS if each.name == column)]


@pytest.mark.parametrize("kind", ["SERVER", "CLIENT"])
@_files
@given(st.data())
def test_all_attributes_come_back_under_their_names(tmp_path, kind, data):
    """What became a column of its own and what did not: `otel_traces` has it all, by the names of the conventions."""
    promoted = EXCHANGE_PROMOTED if kind == "SERVER" else ATTEMPT_PROMOTED
    mine = st.fixed_dictionaries({}, optional={name: _attribute(column) for name, column in promoted.items()})
    attributes = data.draw(mine) | data.draw(st.dictionaries(_others, _scalars | st.lists(st.text()), max_size=4))
    context = SpanContext(trace_id=1, span_id=2, is_remote=False)
    resource = Resource({"service.name": "mine"})
    done = ReadableSpan(
        name="x",
        context=context,
        kind=SpanKind[kind],
        attributes=attributes,
        start_time=1,
        end_time=9,
        resource=resource,
    )
    path = journal(tmp_path, [{"t": "span", **row_of(done)}])
    _, [(name, came_back)] = over('SELECT "ServiceName", "SpanAttributes" FROM otel_traces', journals=[path])
    found = json.loads(came_back)
    for key in set(found) & {name for name, column in promoted.items() if column in CONTENT_COLUMNS}:
        assert json.loads(found.pop(key)) == json.loads(attributes.pop(key))
    assert (name, found) == ("mine", attributes)


@pytest.mark.parametrize("view", FIXED)
def test_columns_others_depend_on(view):
    """The views that people query have the columns that were promised, in order."""
    names, _ = over(f"FROM {view}")
    assert names == [name.strip() for name in FIXED[view].split(",")]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_asked_of_every_kind_of_store(tmp_path, view):
    """In a store that is empty, all live, all sealed, or both, the views are there with the same columns and types."""
    segment = sealed(tmp_path, [header(), *exchange(1)])
    path = journal(tmp_path, [header(), *exchange(2)])
    stores = [([], []), ([], [path]), ([segment], []), ([segment], [path])]
    described = [over(f"DESCRIBE {view}", *store)[1] for store in stores]
    assert described[0]
    assert all(each == described[0] for each in described)
    counts = [len(over(f"FROM {view}", *store)[1]) for store in stores]
    assert counts[3] == counts[1] + counts[2]
    assert counts[0] == 0


def test_what_a_conversation_said_is_one_row_a_message(tmp_path):
    """The view of messages has both directions, in order, with the text of all parts."""
    asked = [
        {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
        {"role": "user", "parts": [{"type": "text", "content": "a"}, {"type": "text", "content": "b"}]},
    ]
    answered = [{"role": "assistant", "parts": [{"type": "text", "content": "c"}], "finish_reason": "stop"}]
    lines = exchange(1, input_messages=asked, output_messages=answered)
    path = journal(tmp_path, [header(), *lines, *exchange(2, input_messages=None), *exchange(3, input_messages=[])])
    _, rows = over(
        "SELECT direction, position, role, content, finish_reason FROM messages ORDER BY ALL", journals=[path]
    )
    assert rows == [
        ("input", 0, "system", "Be brief.", None),
        ("input", 1, "user", "ab", None),
        ("output", 0, "assistant", "c", "stop"),
    ]


def test_an_older_segment_has_fewer_columns_and_is_renewed(tmp_path):
    """A column that came later is NULL in what was sealed before it, once the segment has been given it."""
    new = sealed(tmp_path, [header(), *exchange(2)], "w1-2")
    assert not modernize(new)
    for old in ("w0-1", "w9-9"):
        path = tmp_path / "segments" / f"{old}.duckdb"
        with duckdb.connect(str(path)) as con:
            con.execute("CREATE TABLE spans AS SELECT 'SERVER' AS kind, 'aa' AS span_id, 1::BIGINT AS start_ns")
            con.execute("CREATE TABLE ledger AS SELECT 'old' AS journal, 1::BIGINT AS accepted")
        assert modernize(path)
        assert not modernize(path)
    told = sealed(tmp_path, [header(), *lines_of(whole_run())], "w2-3")
    with duckdb.connect(str(told)) as con:
        con.execute("ALTER TABLE events_raw DROP COLUMN service_name")
    assert modernize(told)
    assert over("SELECT name, status FROM runs", store_files(tmp_path)[0])[1] == [("answer a ticket", "finished")]
    segments, _ = store_files(tmp_path)
    assert new in segments
    _, rows = over("SELECT span_id, outcome FROM exchanges ORDER BY ALL", segments)
    assert rows == [("0000000000000002", "ok"), ("aa", None), ("aa", None)]
    assert over("SELECT sum(accepted), sum(stored), sum(events) FROM ledger", segments)[1] == [(3, 1, 8)]
    assert over("SELECT count(*) FROM exchanges", segments[:1])[1] == [(1,)]


@pytest.mark.parametrize(
    "name",
    ["with space", "it's", 'a "b"', "ünïcode ☃", "a[1]", "a*b", "span_id=1", "env=prod", "a;b", "$HOME", "two\nlines"],
)
def test_the_folder_may_have_any_name(tmp_path, name):
    """The store works in a folder of whatever name: what looks like a pattern or a partition there is none."""
    data = small(tmp_path / name / "data")
    assert ask(data, "SELECT count(*), count(DISTINCT span_id), count(name) FROM spans") == [(6, 6, 3)]
    assert ask(data, "SELECT sum(accepted), sum(stored) FROM ledger") == [(3, 3)]
    assert run_sql(data, "SELECT count(DISTINCT span_id) FROM spans").rows == [[6]]
    with duckdb.connect(str(data / "spans.duckdb"), read_only=True) as con:
        assert len(con.execute("FROM recorded_spans").description) == len(COLUMNS) + 1


def test_an_exchange_without_an_end_is_stored_as_interrupted(tmp_path):
    """It has what was known when it began, no duration, and an error that says why; its attempts are kept."""
    lines = [header(), *exchange(1), *exchange(2, ended=False), span("span", "CLIENT", "f2", parent_span_id="2")]
    segment = sealed(tmp_path, lines)
    _, rows = over("SELECT span_id, outcome, duration_ms, path, error FROM exchanges ORDER BY 1", [segment])
    assert rows[0][:3] == (f"{1:016x}", "ok", 5.0)
    error = "the gateway stopped before this exchange ended"
    assert rows[1] == (f"{2:016x}", "interrupted", None, "/v1/chat/completions", error)
    assert over("SELECT count(*) FROM attempts", [segment])[1] == [(2,)]
    assert over("SELECT accepted, stored, interrupted FROM ledger", [segment])[1] == [(2, 1, 1)]


@pytest.mark.parametrize(("size", "count"), [(100_000, 400), (1_000_000, 60), (30_000_000, 2)])
def test_long_contexts_can_be_sealed(tmp_path, size, count):
    """What agents send, a hundred kilobytes and more at a time, takes no more memory than sealing may have."""
    words = [{"role": "user", "parts": [{"type": "text", "content": "lorem ipsum " * (size // 12)}]}]
    lines = b"".join(encoded(exchange(number, input_messages=words)) for number in range(count))
    segment = sealed(tmp_path, lines)
    _, [(rows, least)] = over("SELECT count(*), min(length(input_messages::VARCHAR)) FROM attempts", [segment])
    assert rows == count
    assert least > size


_infos = st.lists(
    st.builds(lambda number, size, newest: (number, size, newest), st.uuids(), st.integers(0, 100), st.integers(0, 100))
)


@given(_infos, st.none() | st.integers(0, 100), st.none() | st.integers(0, 300))
def test_retention_takes_the_oldest_and_no_more_than_it_must(infos, max_age, max_bytes):
    """What stays is within its bounds, is younger than what goes, and would not be with one segment more."""
    segments = [SegmentInfo(path=number, bytes=size, newest=newest) for number, size, newest in infos]
    gone = expired(segments, 100.0, max_age, max_bytes)
    stays = [info for info in segments if info not in gone]
    assert max_age is None or all(100 - info.newest <= max_age for info in stays)
    assert max_bytes is None or sum(info.bytes for info in stays) <= max_bytes
    assert max((info.newest for info in gone), default=0) <= min((info.newest for info in stays), default=100)
    if gone:
        last = gone[-1]
        too_old = max_age is not None and 100 - last.newest > max_age
        too_much = max_bytes is not None and sum(info.bytes for info in (*stays, last)) > max_bytes
        assert too_old or too_much


def test_reading_a_ledger_leaves_the_journal_as_it_is(tmp_path):
    """It is a function of the file."""
    path = journal(tmp_path, [header("w7"), *exchange(1), *exchange(2, ended=False)])
    before = path.read_bytes()
    ledger, starts = read_ledger(path)
    assert (ledger.worker, ledger.accepted, ledger.stored, ledger.interrupted) == ("w7", 2, 1, 1)
    assert [start["span_id"] for start in starts] == [f"{2:016x}"]
    assert path.read_bytes() == before


def test_publishing_replaces_the_view_file_as_a_whole(tmp_path):
    """Nothing but the finished file is left, and a reader of the old one goes on with it."""
    data = small(tmp_path / "data")
    with duckdb.connect(str(data / "spans.duckdb"), read_only=True) as reader:
        sealed(data, exchange(9), "w9-9")
        publish(data, *store_files(data))
        assert reader.execute("SELECT count(*) FROM exchanges").fetchall() == [(3,)]
    assert ask(data, "SELECT count(*) FROM exchanges") == [(4,)]
    assert sorted(path.name for path in data.iterdir()) == ["live", "segments", "spans.duckdb"]


def log_line(id_: str, received_ns: int, **columns: object) -> dict:
    """Return a line with a log record of an application."""
    return {"t": "log", "log_id": id_, "body": id_, "session_id": "s", "received_ns": received_ns} | columns


def test_log_records_are_read_once_wherever_they_are(tmp_path):
    """Live, sealed, merged, or sent again in between; segments of an older version have none."""
    old = sealed(tmp_path, [header(), *exchange(1)], "w0-1")
    with duckdb.connect(str(old)) as con:
        con.execute("DROP TABLE received_logs")
    assert modernize(old)
    severities = {"a": {"severity_number": 17}, "b": {"severity_text": "notice", "severity_number": 10}, "c": {}}
    a, b, c = (log_line(id_, number * 1000, **severities[id_]) for number, id_ in enumerate("abc", 1))
    lines = [header(), *exchange(2), a, b, {"t": "metric", "metric": ""}, {"t": "logs_dropped", "count": 3}]
    sources = [old, sealed(tmp_path, lines, "w0-2"), sealed(tmp_path, [header(), a | {"received_ns": 9000}], "w0-3")]
    live = journal(tmp_path, [header(), b | {"received_ns": 8000}, c], "w0-4")
    merged = tmp_path / "segments" / "merged-1.duckdb"
    merge(sources, merged)
    expected = [("a", "ERROR", "1970-01-01 00:00:00.000001"), ("b", "notice", "1970-01-01 00:00:00.000002"),
                ("c", None, "1970-01-01 00:00:00.000003")]  # fmt: skip
    for segments in (sources, [merged]):
        assert over("SELECT body, severity, time::VARCHAR FROM logs ORDER BY time", segments, [live])[1] == expected
        counts = "SELECT sum(logs), sum(logs_dropped), sum(damaged_lines), count(*) FILTER (logs IS NULL) FROM ledger"
        assert over(counts, segments, [live])[1] == [(5, 3, 0, 0)]
