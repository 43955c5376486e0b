"""Runs and steps as rows and spans: whatever the order in which their events came, how often, and by which worker."""

import json
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gateway.ids import run_span_id, step_span_id, trace_id
from gateway.semconv import COLUMNS
from gateway.store.compaction import merge
from gateway.store.segments import store_files
from gateway.store.views import EVENTS
from tests.support.examples import examples
from tests.support.run_events import BEGAN, INNER, RUN, STEP, at, lines_of, step, table, whole_run
from tests.support.store import Ask, exchange, header, journal, over, sealed, span, views

GOES_ON = {"running", "paused"}

_few = examples(25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_runs = st.sampled_from([RUN, "short name", "0190A1B2C3D47E5F8A6B0123456789AC"])
_steps = st.sampled_from([STEP, INNER, "fetch"])
_values = st.sampled_from([None, 1, "text", {"a": [1, None]}])
_infos = st.none() | st.dictionaries(
    st.sampled_from("ab"), st.sampled_from([None, 1, {"x": 1}, {"x": None, "y": 2}]), max_size=2
)
_names = st.sampled_from([None, "one", "two"])
_tags = st.sampled_from([None, ["a"], ["b", "a"]])
_times = st.integers(0, 6).map(at)  # few, so that many things happen at one moment


def _one_of(kind: str, fields: dict[str, Any], of_data: dict[str, Any] | None = None) -> st.SearchStrategy[dict]:
    more = {} if of_data is None else {"data": st.fixed_dictionaries(of_data)}
    return st.fixed_dictionaries({"type": st.just(kind), "time": _times, **fields, **more})


_of_step = {"run_id": _runs, "step_id": _steps}
_events = st.one_of(
    _one_of(
        "run:start",
        {
            "id": _runs, "name": st.sampled_from(["one", "two", ""]), "application": _names, "tags": _tags,
            "info": _infos, "input": _values, "trace_id": st.sampled_from([None, "ab" * 16, "trace-1"]),
            "status": st.sampled_from([None, "paused"]),
        },
    ),
    _one_of(
        "run:update",
        {"id": _runs, "status": st.sampled_from([None, "running", "error"]), "info": _infos, "output": _values},
    ),
    _one_of(
        "step:start",
        _of_step,
        {
            "type": st.just("t"), "name": _names, "parent_step": st.none() | _steps, "tags": _tags, "info": _infos,
            "input": _values, "span_id": st.sampled_from([None, "cd" * 8]),
        },
    ),
    _one_of("step:end", _of_step, {"output": _values, "info": _infos}),
    _one_of("step:error", _of_step, {"error": _values}),
    _one_of("step:state", _of_step, {"state": st.sampled_from(["running", "paused"])}),
    _one_of("note", _of_step | {"data": _values}),
)  # fmt: skip


def _id(given: str) -> str:
    return "0190a1b2-c3d4-7e5f-8a6b-0123456789ac" if given.startswith("0190A") else given


def _patched(old: Any, new: Any) -> Any:
    """Merge as RFC 7386 has it."""
    if not isinstance(new, dict):
        return new
    merged = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _patched(merged.get(key), value)
    return merged


class Model:
    """What must come of events, told in Python: they are put in order, and gone through one after the other."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.steps: dict[tuple[str, str], dict[str, Any]] = {}
        once = {line["event_id"]: event for event, line in zip(events, lines_of(events), strict=True)}
        self.count = len(once)
        for _, event in sorted(once.items(), key=lambda pair: (pair[1]["time"], _phase(pair[1]), pair[0])):
            match event["type"].split(":"):
                case ["run", _]:
                    self._run(event)
                case ["step", what]:
                    self._step(what, event, event["data"])
        for (run_id, _), row in self.steps.items():
            row["trace_id"] = self.runs.get(run_id, {}).get("given") or trace_id(run_id)

    def _run(self, event: dict[str, Any]) -> None:
        run_id = _id(event["id"])
        new = {"run_id": run_id, "name": None, "status": None, "trace_id": trace_id(run_id), "began": None}
        row = self.runs.setdefault(run_id, new)
        if event["type"] == "run:start":
            row["began"] = row["began"] or event["time"]
            _keep(row, name=event["name"], application=event["application"], tags=event["tags"], input=event["input"])
            if row.get("given") is None:
                given = event["trace_id"]
                row["given"] = row["trace_id"] = given if given == "ab" * 16 else trace_id(run_id)
        elif event["output"] is not None:
            row["output"] = event["output"]
        row["status"] = event["status"] or {"run:start": "started", "run:update": "finished"}[event["type"]]
        row["ended"] = event["time"] if _phase(event) == 2 else None
        if event["info"]:
            row["info"] = _patched(row.get("info"), event["info"])

    def _step(self, what: str, event: dict[str, Any], data: dict[str, Any]) -> None:
        run_id, step_id = _id(event["run_id"]), event["step_id"]
        new = {"run_id": run_id, "step_id": step_id, "span_id": step_span_id(step_id, run_id), "began": None}
        row = self.steps.setdefault((run_id, step_id), new)
        if what == "start":
            row["span_id"] = data["span_id"] or row["span_id"] if row["began"] is None else row["span_id"]
            row["began"] = row["began"] or event["time"]
            _keep(row, name=data["name"], parent_step_id=data["parent_step"], tags=data["tags"], input=data["input"])
        elif what in {"end", "error"}:
            row["ended"] = event["time"]
            for name in ("output", "error"):
                if data.get(name) is not None:
                    row[name] = data[name]
        row["status"] = {"start": "started", "end": "finished", "error": "error", "state": data.get("state")}[what]
        if data.get("info"):
            row["info"] = _patched(row.get("info"), data["info"])


def _phase(event: dict[str, Any]) -> int:
    match event["type"]:
        case "run:update":
            return 1 if event["status"] in GOES_ON else 2
        case "step:end" | "step:error":
            return 2
        case "step:state":
            return 1
    return 0


def _keep(row: dict[str, Any], **values: Any) -> None:
    """Take what was not said before."""
    for name, value in values.items():
        if row.get(name) is None and value not in (None, ""):
            row[name] = value


def _moment(time: str | None) -> datetime | None:
    return None if time is None else datetime.fromisoformat(time).astimezone(UTC).replace(tzinfo=None)


RUN_COLUMNS = ("run_id", "name", "status", "application", "trace_id", "tags", "info", "input", "output")
STEP_COLUMNS = (
    "run_id", "step_id", "parent_step_id", "name", "status", "trace_id", "span_id", "tags", "info", "input", "output",
    "error",
)  # fmt: skip


@pytest.mark.integration
@pytest.mark.timeout(300)
@_few
@given(data=st.data())
def test_the_order_of_events_does_not_matter(tmp_path_factory, data):
    """Repeated, in any order, in several journals, live, sealed and merged: the rows are those of the model."""
    events = data.draw(st.lists(_events, max_size=12))
    repeated = data.draw(
        st.permutations(events + data.draw(st.lists(st.sampled_from(events)) if events else st.just([])))
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(repeated)), min_size=3, max_size=3)))
    folder = tmp_path_factory.mktemp("data")
    parts = [lines_of(repeated[a:b]) for a, b in pairwise([0, *cuts, len(repeated)])]
    for index, part in enumerate(parts):
        (sealed if index < 2 else journal)(folder, [header(), *part], f"w{index}-{index}")
    if data.draw(st.booleans()):
        segments, _ = store_files(folder)
        merge(segments, folder / "segments" / "merged-1.duckdb")
    model = Model(events)

    def found(ask: Ask, view: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        rows = table(*ask(f"FROM {view}"))
        return [{name: row[name] for name in (*columns, "started_at", "ended_at", "duration_ms")} for row in rows]

    with views(*store_files(folder)) as ask:
        for view, columns, rows in (
            ("runs", RUN_COLUMNS, model.runs),
            ("steps", STEP_COLUMNS, model.steps),
        ):
            expected = [{name: row.get(name) for name in columns} for row in rows.values()]
            for shown, row in zip(expected, rows.values(), strict=True):
                began, ended = _moment(row["began"]), _moment(row.get("ended"))
                shown |= {"started_at": began, "ended_at": ended, "duration_ms": None}
                if began and ended:
                    shown["duration_ms"] = max(0.0, (ended - began).total_seconds() * 1000)
            assert _sorted(found(ask, view, columns)) == _sorted(expected)
        assert ask("SELECT count(*) FROM events")[1] == [(model.count,)]
        assert ask("SELECT sum(events) FROM ledger")[1] == [(len(repeated),)]


def _sorted(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: (row["run_id"], row.get("step_id") or ""))


def _spans(*lines: dict[str, Any], tmp_path: Any, where: str = "true") -> list[dict[str, Any]]:
    path = journal(tmp_path, [header(), *lines])
    return table(*over(f"FROM spans WHERE {where} ORDER BY start_ns", journals=[path]))


def test_a_run_and_its_steps_are_a_tree_of_spans(tmp_path):
    """Each is a span below its parent, with its times, its status, and what it was given and gave."""
    rows = _spans(*lines_of(whole_run()), tmp_path=tmp_path)
    run, outer, inner = run_span_id(RUN), step_span_id(STEP), step_span_id(INNER)
    shown = [(row["span_id"], row["parent_span_id"], row["name"], row["duration_ns"], row["status"]) for row in rows]
    assert shown == [
        (run, None, "answer a ticket", 50_000_000, None),
        (outer, run, "retrieve", 30_000_000, None),
        (inner, outer, "tool", 10_000_000, "ERROR"),
    ]
    assert {(row["trace_id"], row["kind"], row["service_name"], row["run_id"]) for row in rows} == {
        (trace_id(RUN), "INTERNAL", "gateway", RUN)
    }
    assert [row["status_message"] for row in rows] == [None, None, "no such index"]
    assert rows[0]["started_at"] == BEGAN.replace(tzinfo=None)
    assert rows[0]["start_ns"] == int(BEGAN.timestamp()) * 10**9
    assert {row["application"] for row in rows} == {"shop"}
    assert json.loads(rows[1]["attributes"]) == {
        "gateway.step.type": "chain",
        "gateway.status": "finished",
        "gateway.tags": ["x"],
        "input.value": '["query"]',
        "output.value": '{"docs":[]}',
    }
    columns, traces = over("FROM otel_traces ORDER BY Timestamp", journals=[tmp_path / "live" / "w0-1.jsonl"])
    first = dict(zip(columns, traces[1], strict=True))
    assert (first["SpanKind"], first["ParentSpanId"], first["StatusCode"]) == ("Internal", run, "Unset")
    assert json.loads(first["SpanAttributes"])["gateway.step.id"] == STEP


def test_the_ids_that_a_client_gives_go_before_ours(tmp_path):
    """A run in a trace of the client's own, and a step that is a span there, are found under these ids."""
    start = {"type": "run:start", "id": RUN, "name": "n", "trace_id": "AB" * 16, "span_id": "cd" * 8, "time": at(0)}
    events = [
        step("start", INNER, 2, type="t", parent_step=STEP),
        step("start", STEP, 1, type="t", span_id="ef" * 8),
        start,
    ]
    rows = _spans(*lines_of(events), tmp_path=tmp_path)
    assert [(row["trace_id"], row["span_id"], row["parent_span_id"]) for row in rows] == [
        ("ab" * 16, "cd" * 8, None),
        ("ab" * 16, "ef" * 8, "cd" * 8),
        ("ab" * 16, step_span_id(INNER), "ef" * 8),
    ]


def test_what_is_not_known_of_a_step_is_null_and_its_span_is_there(tmp_path):
    """A step that goes on has no duration; one that only ended is a moment; all hang together."""
    events = [step("start", STEP, 5, type="t"), step("end", INNER, 9), step("state", "x", 3, state="s")]
    rows = _spans(*lines_of(events), tmp_path=tmp_path)
    assert [(row["step_id"], row["duration_ns"], row["name"]) for row in rows] == [
        ("x", None, "step"),
        (STEP, None, "t"),
        (INNER, 0, "step"),
    ]
    assert {(row["trace_id"], row["parent_span_id"]) for row in rows} == {(trace_id(RUN), run_span_id(RUN))}
    _, steps = over(
        "SELECT started_at, ended_at IS NULL, duration_ms FROM steps ORDER BY updated_at",
        journals=list((tmp_path / "live").iterdir()),
    )
    assert [(began is None, going, took) for began, going, took in steps] == [
        (True, True, None),
        (False, True, None),
        (True, False, None),
    ]


@pytest.mark.parametrize("order", [1, -1])
def test_at_one_moment_an_end_comes_after_its_beginning(tmp_path, order):
    """JavaScript's clock has milliseconds, within which a short run begins and ends."""
    for number in range(8):
        run_id = f"r{number}"
        events = [
            {"type": "run:start", "id": run_id, "name": "n", "time": at(1)},
            {"type": "run:update", "id": run_id, "time": at(1)},
            step("start", STEP, 1, run_id, type="t"),
            step("state", STEP, 1, run_id, state="s"),
            step("end", STEP, 1, run_id),
        ]
        journal(tmp_path, lines_of(events[::order]), f"w0-{number}")
    files = store_files(tmp_path)
    for view in ("runs", "steps"):
        _, rows = over(f"SELECT DISTINCT status, duration_ms FROM {view}", *files)  # noqa: S608
        assert rows == [("finished", 0.0)]


def test_a_clock_that_runs_behind_gives_no_negative_time(tmp_path):
    """Two machines tell of one step: it took no less than nothing."""
    rows = _spans(*lines_of([step("start", STEP, 9, type="t"), step("end", STEP, 2)]), tmp_path=tmp_path)
    assert [row["duration_ns"] for row in rows] == [0]


@pytest.mark.parametrize("status", ["started", "Running", "paused"])
def test_a_run_that_goes_on_has_not_ended(tmp_path, status):
    """One that is begun again, or updated to go on, is open until it is said to have ended."""
    ended = [
        {"type": "run:start", "id": RUN, "name": "n", "time": at(0)},
        {"type": "run:update", "id": RUN, "time": at(5)},
    ]
    again = (
        {"type": "run:start", "id": RUN, "name": "n", "time": at(7)}
        if status == "started"
        else {"type": "run:update", "id": RUN, "status": status, "time": at(7)}
    )
    path = journal(tmp_path, lines_of([*ended, again]))
    _, rows = over("SELECT status, ended_at, duration_ms, epoch_ms(updated_at) FROM runs", journals=[path])
    assert rows == [(status, None, None, int(BEGAN.timestamp()) * 1000 + 7)]
    done = {"type": "run:update", "id": RUN, "status": "completed", "time": at(9)}
    path = journal(tmp_path, lines_of([*ended, again, done]))
    assert over("SELECT status, duration_ms FROM runs", journals=[path])[1] == [("completed", 9.0)]


def test_a_span_that_the_application_exported_itself_stands_for_the_derived_one(tmp_path):
    """There is one span for a step, also where the client's own tracing sent it under the id that it told us."""
    own = span("received", "INTERNAL", step_span_id(STEP), trace_id=trace_id(RUN), name="its own", duration_ns=1)
    other = span(
        "received", "INTERNAL", step_span_id(INNER), trace_id="0b" * 16, name="in another trace", duration_ns=1
    )
    rows = _spans(own, other, *lines_of(whole_run()), tmp_path=tmp_path, where="step_id IS NULL OR true")
    names = sorted(row["name"] for row in rows)
    assert names == ["answer a ticket", "in another trace", "its own", "tool"]


def test_requests_of_a_step_are_summed(tmp_path):
    """`run_usage` has what the exchanges of each step came to; those of no run are none of its business."""
    lines = [line | {"run_id": RUN, "step_id": STEP} for number in (1, 2) for line in exchange(number)]
    lines = [line | {"input_tokens": 3, "total_tokens": 7} if line["kind"] == "SERVER" else line for line in lines]
    path = journal(tmp_path, [header(), *lines, *exchange(3), *exchange(4, ended=False)])
    _, rows = over("FROM run_usage", journals=[path])
    assert rows == [(RUN, STEP, 2, 2, 6, None, 14)]


@pytest.mark.parametrize("kind", ["SERVER", "CLIENT"])
def test_who_asks_for_requests_does_not_pay_for_runs(tmp_path, kind):
    """Events are not looked at for `exchanges`, `attempts` and `messages`, nor for spans of their kinds.

    Of those an application may have sent some.
    """
    segment = sealed(tmp_path, [header(), *exchange(1), *lines_of(whole_run())])
    for sql in (f"FROM spans WHERE kind = '{kind}'", "FROM exchanges", "FROM attempts", "FROM messages"):
        scans = _scans(sql, segment)
        ours = {"FROM exchanges": 1, "FROM attempts": 1, "FROM messages": 2}
        assert len(scans) == ours.get(sql, 3), scans
        assert all("span_id" in scan and "event_id" not in scan for scan in scans)


@pytest.mark.parametrize(("view", "others"), [("runs", 0), ("steps", 0), ("spans", 4)])
def test_events_are_read_once(tmp_path, view, others):
    """Runs and steps come out of one reading of all events; `spans` adds its own, and what applications sent."""
    segment = sealed(tmp_path, [header(), *exchange(1), *lines_of(whole_run())])
    scans = _scans(f"FROM {view}", segment)
    assert (sum("event_id" in scan for scan in scans), len(scans)) == (1, 1 + others)


def _scans(sql: str, segment: Path) -> list[str]:
    """Return what a query reads: the plan of each reading of the segment."""
    _, [(_, plan)] = over(f"EXPLAIN (FORMAT json) {sql}", [segment])
    return [part for part in plan.split('"name": ') if part.startswith('"READ_DUCKDB')]


def test_columns_of_events_are_those_of_the_lines():
    """What a line says of an event has a column, and no column of spans would read it as something else."""
    said = set().union(*lines_of([*whole_run(), {"type": "run:start", "id": RUN, "name": "n", "environment": "e"}]))
    assert said - {"t"} == set(EVENTS)
    shared = {column.name: column.type for column in COLUMNS if column.name in EVENTS}
    assert {name for name, kind in shared.items() if EVENTS[name] != kind} == {"error"}
