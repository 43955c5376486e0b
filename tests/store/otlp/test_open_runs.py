"""Runs and steps at a collector: the spans that SQL shows, once they have ended, whatever happens on the way."""

import json
import random
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gateway.config.model import Capture
from gateway.ids import run_span_id, step_span_id, trace_id
from gateway.store.otlp import backlog as module
from gateway.store.otlp import open_runs
from gateway.store.otlp.backlog import Backlog
from gateway.store.otlp.exporter import Exporter
from gateway.store.otlp.request import Later, Reply, Taken
from gateway.store.segments import store_files
from tests.support.examples import examples
from tests.support.run_events import INNER, RUN, STEP, at, lines_of, step, whole_run
from tests.support.store import header, journal, over

NOW = 1_800_000_000_000_000_000  # when the lines of `lines_of` were received
LATER = NOW + 2 * open_runs.PATIENCE_NS

_few = examples(25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Shown(dict):
    """A span by the names of the relation `spans`."""

    def __init__(self, span: Any) -> None:
        super().__init__(
            trace_id=format(span.context.trace_id, "032x"),
            span_id=format(span.context.span_id, "016x"),
            parent_span_id=format(span.parent.span_id, "016x") if span.parent else None,
            name=span.name,
            kind=span.kind.name,
            start_ns=span.start_time,
            duration_ns=span.end_time - span.start_time,
            status=None if span.status.is_unset else span.status.status_code.name,
            status_message=span.status.description,
            attributes=dict(span.attributes),
        )


def drained(backlog: Backlog, now_ns: int = LATER, capture: Capture | None = None, spans: int = 512) -> list[Shown]:
    """Take all that a backlog has."""
    sent: list[Shown] = []
    for _ in range(200):
        batch = backlog.batch(spans, 1 << 20, capture or Capture(), now_ns)
        backlog.settle(batch.position)
        sent += map(Shown, batch.spans)
        if not (batch.full or batch.spans or batch.position.changed):
            return sent
    raise AssertionError("it does not end")


def by_sql(data: Path) -> dict[str, dict[str, Any]]:
    """Return the spans of what has ended, as SQL has them."""
    columns, rows = over("FROM spans WHERE kind = 'INTERNAL' AND duration_ns IS NOT NULL", *store_files(data))
    found = {}
    for row in rows:
        span = dict(zip(columns, row, strict=True))
        attributes = json.loads(span["attributes"])
        named = {"gateway.run.id": "run_id", "gateway.step.id": "step_id", "gateway.application": "application"}
        attributes |= {name: span[column] for name, column in named.items() if span[column] is not None}
        found[span["span_id"]] = span | {"attributes": attributes}
    return found


NAMES = ("trace_id", "span_id", "parent_span_id", "name", "kind", "start_ns", "duration_ns", "status", "status_message")


def same(sent: Iterable[Shown], data: Path) -> bool:
    """Whether these are the spans that SQL has, all of them; one that was sent again is the same."""
    expected = by_sql(data)
    for span in sent:
        of_sql = expected[span["span_id"]]
        assert {name: span[name] for name in NAMES} == {name: of_sql[name] for name in NAMES}
        assert {**span["attributes"], "gateway.tags": list(span["attributes"].get("gateway.tags", []))} == {
            "gateway.tags": [],
            **of_sql["attributes"],
        }
    assert {span["span_id"] for span in sent} == set(expected)
    return True


def runs() -> list[dict[str, Any]]:
    """Return what is told of three runs: one in a trace of the client's own, one with short ids, one that goes on."""
    own = {"trace_id": "ab" * 16, "span_id": "cd" * 8}
    other = "0190a1b2-c3d4-7e5f-8a6b-00000000beef"
    return [
        *whole_run(),
        {"type": "run:start", "id": "nightly", "name": "n", "time": at(1), **own},
        step("start", "a", 2, "nightly", type="t", span_id="ef" * 8),
        step("start", "b", 3, "nightly", type="t", name="inner", parent_step="a"),
        step("end", "b", 4, "nightly", output={"x": "é"}),
        step("error", "a", 5, "nightly", error="broke"),
        {"type": "run:update", "id": "nightly", "status": "error", "time": at(6)},
        {"type": "run:start", "id": other, "name": "open", "time": at(1)},
        step("start", "c", 2, other, type="t"),
        step("end", "c", 3, other),
        step("start", "d", 2, other, type="t"),
    ]


@pytest.mark.integration
@_few
@given(data=st.data())
def test_a_collector_gets_what_sql_shows(tmp_path_factory, data):
    """In whatever order events come, by whichever worker; whatever is not taken, or killed; the same tree comes out."""
    told = runs()
    events = data.draw(st.permutations(told + data.draw(st.lists(st.sampled_from(told), max_size=5))))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), min_size=2, max_size=2)))
    folder = tmp_path_factory.mktemp("data")
    for index, (a, b) in enumerate(pairwise([0, *cuts, len(events)])):
        journal(folder, [header(), *lines_of(events[a:b])], f"w{index}-{index}")
    sent: list[Shown] = []
    backlog = Backlog(folder)
    for what in data.draw(
        st.lists(st.sampled_from(["take", "refuse", "kill", "killed before the cursor"]), max_size=8)
    ):
        batch = backlog.batch(data.draw(st.integers(1, 4)), 1 << 20, Capture(), NOW)
        if what in {"take", "killed before the cursor"}:
            sent += map(Shown, batch.spans)
            reached = batch.position
            backlog.settle(reached._replace(cursors={}) if what == "killed before the cursor" else reached)
        if what.startswith("kill"):
            backlog = Backlog(folder)
    sent += drained(backlog)
    assert same(sent, folder)
    assert drained(Backlog(folder)) == []


def test_an_end_waits_for_its_start_and_a_step_for_its_run(tmp_path):
    """They may have gone to other workers. After a while a step goes out as it is."""
    first = [step("end", STEP, 9, output=1), step("start", INNER, 5, type="t"), step("end", INNER, 8)]
    journal(tmp_path, [header(), *lines_of(first)], "w0-0")
    backlog = Backlog(tmp_path)
    assert drained(backlog, NOW) == []
    assert backlog.open == 2
    journal(tmp_path, [header(), *lines_of([step("start", STEP, 2, type="t", name="late")])], "w1-1")
    assert drained(backlog, NOW) == []
    start = {"type": "run:start", "id": RUN, "name": "n", "time": at(0), "trace_id": "ab" * 16}
    journal(tmp_path, [header(), *lines_of([start])], "w2-2")
    assert sorted((span["trace_id"], span["name"], span["duration_ns"]) for span in drained(backlog, NOW)) == [
        ("ab" * 16, "late", 7_000_000),
        ("ab" * 16, "t", 3_000_000),
    ]
    journal(tmp_path, [header(), *lines_of([step("end", "x", 9, "elsewhere")])], "w3-3")
    assert drained(backlog, NOW) == []
    (alone,) = drained(backlog, LATER)
    assert (alone["name"], alone["duration_ns"], alone["trace_id"]) == ("step", 0, trace_id("elsewhere"))


def test_what_was_sent_is_not_sent_again(tmp_path):
    """An event that is repeated later, or comes late, begins no second span; not after a restart either."""
    journal(tmp_path, [header(), *lines_of(whole_run())], "w0-0")
    assert len(drained(Backlog(tmp_path))) == 3
    journal(tmp_path, lines_of([*whole_run()[6:], step("end", INNER, 31), step("start", STEP, 1, type="t")]), "w0-1")
    backlog = Backlog(tmp_path)
    assert drained(backlog) == []
    assert backlog.open == 0


def test_what_came_last_by_its_own_time_counts(tmp_path):
    """Two ends of one step, read in the wrong order, and a start that is read before an earlier one."""
    events = [
        step("end", STEP, 9, output="later"),
        step("end", STEP, 8, output="earlier"),
        step("start", STEP, 3, type="t", name="second"),
        step("start", STEP, 2, type="t", name="first"),
        {"type": "run:start", "id": RUN, "name": "n", "time": at(0)},
    ]
    journal(tmp_path, [header(), *lines_of(events)])
    (span,) = drained(Backlog(tmp_path), NOW)
    assert (span["name"], span["attributes"]["output.value"]) == ("first", '"later"')
    assert (span["start_ns"] % 10**9, span["duration_ns"]) == (2_000_000, 7_000_000)


def test_a_step_that_ends_after_its_run_was_sent_finds_it(tmp_path):
    """Its trace, and its parent's span, are those that the client gave, also after a restart."""
    start = {"type": "run:start", "id": RUN, "name": "n", "time": at(0), "trace_id": "ab" * 16, "span_id": "cd" * 8}
    lines = lines_of([start | {"application": "shop"}, {"type": "run:update", "id": RUN, "time": at(5)}])
    journal(tmp_path, [header(), *lines], "w0-0")
    assert [span["name"] for span in drained(Backlog(tmp_path), LATER)] == ["n"]
    journal(tmp_path, lines_of([step("start", STEP, 1, type="t"), step("end", STEP, 6)]), "w0-1")
    (late,) = drained(Backlog(tmp_path), NOW)
    assert (late["trace_id"], late["parent_span_id"]) == ("ab" * 16, "cd" * 8)
    assert late["attributes"]["gateway.application"] == "shop"


@pytest.mark.parametrize("sent_by_itself", [True, False])
def test_a_span_that_the_application_sends_itself_stands_for_the_derived_one(tmp_path, sent_by_itself):
    """Where a run has the id of a span of the application's own, a while is waited for that: it says more."""
    own = {"trace_id": "ab" * 16, "span_id": "cd" * 8}
    told = [{"type": "run:start", "id": RUN, "name": "n", "time": at(0), **own}, {"type": "run:update", "id": RUN}]
    journal(tmp_path, [header(), *lines_of(told)])
    backlog = Backlog(tmp_path)
    assert drained(backlog, NOW) == []
    if sent_by_itself:
        journal(
            tmp_path, [header(), {"t": "received", **own, "name": "its own", "kind": "INTERNAL", "start_ns": 1}], "w1"
        )
        batch = backlog.batch(512, 1 << 20, Capture(), NOW)
        backlog.settle(batch.position)
        assert [passed.item.name for passed in batch.spans] == ["its own"]
    assert [span["name"] for span in drained(backlog, LATER)] == ([] if sent_by_itself else ["n"])
    assert backlog.open == 0


@pytest.mark.parametrize(
    ("capture", "given", "truncated"),
    [
        (Capture(otlp="full"), json.dumps({"q": "x" * 5000}, separators=(",", ":")), None),
        (Capture(otlp="truncated", otlp_bytes=100), "cut", True),
        (Capture(otlp="metadata"), None, None),
    ],
    ids=["full", "truncated", "metadata"],
)
def test_content_is_sent_as_the_setting_says(tmp_path, capture, given, truncated):
    """What a step was given and gave is content: whole, cut to valid JSON with a pointer to all of it, or not there."""
    events = [
        step("start", STEP, 1, type="t", input={"q": "x" * 5000}, tags=["a"]),
        step("error", STEP, 2, error={"message": "secret"}),
    ]
    journal(tmp_path, [header(), *lines_of(events)])
    (span,) = drained(Backlog(tmp_path), LATER, capture)
    attributes = span["attributes"]
    if given == "cut":
        assert json.loads(attributes["input.value"])["q"].startswith("xxx")
        assert len(attributes["input.value"]) <= 100
        assert step_span_id(STEP) in attributes["gateway.content.full"]
    else:
        assert attributes.get("input.value") == given
    assert attributes.get("gateway.content.truncated") == truncated
    assert span["status_message"] == (None if given is None else "secret")
    assert (span["status"], attributes["gateway.step.type"], attributes["gateway.tags"]) == ("ERROR", "t", ["a"])


def test_what_is_open_is_bounded_and_what_is_given_up_is_counted(tmp_path, monkeypatch):
    """The oldest go first; its end is then all that is known of one."""
    monkeypatch.setattr(open_runs, "OPEN_MAX", 3)
    starts = [step("start", f"s{number}", number, type="t") for number in range(5)]
    journal(tmp_path, [header(), *lines_of(starts)])
    backlog = Backlog(tmp_path)
    assert drained(backlog, NOW) == []
    assert (backlog.open, backlog.given_up(), backlog.given_up()) == (3, 2, 0)
    assert Backlog(tmp_path).open == 3
    ends = [step("end", f"s{number}", 10, output=None) for number in range(5)]
    journal(tmp_path, lines_of(ends[:2]), "w0-2")
    spans = drained(backlog)
    journal(tmp_path, lines_of(ends[2:]), "w0-3")
    spans += drained(backlog)
    took = {span["attributes"]["gateway.step.id"]: span["duration_ns"] for span in spans}
    assert took == {"s0": 0, "s1": 0, "s2": 8_000_000, "s3": 7_000_000, "s4": 6_000_000}


def test_many_events_are_read_in_parts(tmp_path, monkeypatch):
    """What a batch holds until it was taken is bounded, though none of it is a span yet."""
    monkeypatch.setattr(module, "_EVENTS_MAX", 10)
    starts = [step("start", f"s{number}", number, type="t") for number in range(25)]
    journal(tmp_path, [header(), *lines_of(starts)])
    batch = Backlog(tmp_path).batch(512, 1 << 20, Capture(), NOW)
    assert (len(batch.position.changed), batch.full) == (10, True)
    backlog = Backlog(tmp_path)
    drained(backlog, NOW)
    assert backlog.open == 25


def test_the_file_of_what_is_open_stays_small(tmp_path, monkeypatch):
    """It is written anew when most of it is out of date, and says the same after."""
    monkeypatch.setattr("gateway.store.otlp.open_runs_file._SLACK", 20)
    monkeypatch.setattr(open_runs, "SENT_MAX", 5)
    backlog = Backlog(tmp_path)
    for number in range(60):
        events = [step("start", f"s{number}", 1, type="t"), step("start", f"o{number % 3}", 1, type="t")]
        journal(tmp_path, lines_of([*events, step("end", f"s{number}", 2)]), f"w0-{number}")
        drained(backlog)
    assert (tmp_path / "otlp" / "open.jsonl").read_bytes().count(b"\n") < 80
    assert Backlog(tmp_path).open == backlog.open == 3


@pytest.mark.parametrize("damage", [b'\n{"run_id":"torn', b"\n\xff\n", b"\nnull\n[]\n"])
def test_damage_costs_no_more_than_its_line(tmp_path, damage):
    """In the file of what is open, and in a journal: what is damaged there is counted, and the rest is sent."""
    lines = lines_of([step("start", STEP, 1, type="t")])
    bad = b'{"t":"event","event_id":5}\n'
    path = journal(tmp_path, [header(), *lines])
    path.write_bytes(path.read_bytes() + bad)
    backlog = Backlog(tmp_path)
    batch = backlog.batch(512, 1 << 20, Capture(), NOW)
    assert batch.damaged == 1
    backlog.settle(batch.position)
    with (tmp_path / "otlp" / "open.jsonl").open("ab") as file:
        file.write(damage)
    journal(tmp_path, lines_of([step("start", INNER, 2, type="t"), step("end", STEP, 3)]), "w0-2")
    again = Backlog(tmp_path)
    assert [span["duration_ns"] for span in drained(again)] == [2_000_000]
    assert [told.step_id for told in Backlog(tmp_path)._runs] == [STEP, INNER]


class Unreliable:
    """A collector that takes what it is sent, now and then."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.spans: list[Any] = []

    def send(self, spans: Any) -> Reply:
        if spans and self._rng.random() < 0.5:
            return Later("no")
        self.spans += spans
        return Taken()

    def close(self) -> None:
        """Nothing is to be closed."""


def test_the_exporter_sends_runs_and_says_what_is_open(tmp_path):
    """Its own turns: spans and runs together, and again where the collector had no time."""
    journal(tmp_path, [header(), *(line | {"received_ns": 1} for line in lines_of(runs()))])
    collector = Unreliable(random.Random(3))
    exporter = Exporter(tmp_path, collector, Capture(), batch_spans=2, delay=0.01)
    for _ in range(40):
        exporter._turn()
    assert same([Shown(span) for span in collector.spans], tmp_path)
    assert exporter.counters()["exported"] == len(collector.spans) == len(by_sql(tmp_path))
    assert exporter.counters()["open_steps"] == 2
    assert exporter.counters()["dropped"] == {}


def test_a_backlog_that_is_given_up_keeps_its_runs(tmp_path):
    """They are small; what is lost is counted, and they are not."""
    span = {"t": "span", "kind": "SERVER", "span_id": "a" * 16, "trace_id": "b" * 32, "name": "x", "start_ns": 1}
    journal(tmp_path, [header(), *lines_of(whole_run()), span | {"pad": "x" * 1000}])
    backlog = Backlog(tmp_path)
    backlog.scan()
    assert backlog.drop_oldest(10, Capture()) == 1
    assert sorted(span["name"] for span in drained(backlog)) == ["answer a ticket", "retrieve", "tool"]


def test_a_worker_that_has_a_name_has_it_on_its_runs_too(tmp_path):
    """The resource is the journal's: OTEL_RESOURCE_ATTRIBUTES included."""
    source = {"service.name": "mine", "deployment.environment.name": "test"}
    journal(tmp_path, [header() | {"resource": source}, *lines_of(whole_run()[:2])])
    drained(Backlog(tmp_path))
    journal(tmp_path, [header(), *lines_of([step("end", STEP, 9)])], "w0-2")
    backlog = Backlog(tmp_path)
    drained_batch = backlog.batch(512, 1 << 20, Capture(), LATER)
    backlog.settle(drained_batch.position)
    (span,) = backlog.batch(512, 1 << 20, Capture(), LATER).spans
    assert dict(span.resource.attributes) == source
    assert run_span_id(RUN) == format(span.parent.span_id, "016x")
