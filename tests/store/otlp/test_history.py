"""The store as the exporter sees it: all spans of a time, once, oldest first, a bounded part of them at a time."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource

from gateway.config.model import Capture
from gateway.store.otlp import history
from gateway.store.otlp.backlog import Backlog
from gateway.store.otlp.history import History, Selection, Span, SpanPosition, Window, horizon, portions, windows
from gateway.store.query import QueryError
from tests.store.otlp.test_open_runs import Shown, drained
from tests.support.exported import journal_in, line
from tests.support.run_events import lines_of, step, whole_run
from tests.support.store import START_NS, exchange, header, journal, sealed, span

FULL = Capture(otlp="full")
FIRST = SpanPosition(0)
MINUTE = 60_000_000_000


def at(number: int, ns: int, **columns: Any) -> dict[str, Any]:
    """Return the line of a span that started so long after the others."""
    return span("span", "CLIENT", f"{number:016x}", name=f"n{number}") | {"start_ns": START_NS + ns} | columns


def read(
    data: Path, *, begin: SpanPosition = FIRST, until: int = 2**62, where: str = "true", spans: int = 512
) -> tuple[list[str], list[int]]:
    """Return the names of all spans, in the order they come, and how many each batch had."""
    asked = Selection(data=data, until_ns=until, where=where)
    source = History(asked, begin, Resource({"a": "b"}))
    names, sizes = [], []
    try:
        source.count()
        while not source.finished:
            batch = source.batch(spans, 1 << 20, FULL)
            names += [each.name for each in batch.spans]
            sizes.append(len(batch.spans))
            source.settle(batch.position)
    finally:
        source.close()
    return names, sizes


@pytest.mark.integration
def test_sealed_and_live_spans_come_by_their_start(tmp_path):
    """Whatever file a span is in, the oldest comes first; of the same moment, by id."""
    sealed(tmp_path, [header(), at(5, 500), at(1, 100), at(3, 100)], "w0-0")
    sealed(tmp_path, [header(), at(2, 100), at(7, 9 * MINUTE)], "w1-0")
    journal(tmp_path, [header(), at(4, 300), at(6, 2 * MINUTE)])
    assert read(tmp_path)[0] == ["n1", "n2", "n3", "n4", "n5", "n6", "n7"]


@pytest.mark.integration
def test_a_place_a_time_and_a_condition_bound_it(tmp_path):
    """It begins behind a place, ends before a moment, and has only what is asked for; a comment does no harm."""
    sealed(tmp_path, [header(), *(at(n, n // 2, operation="chat" if n % 2 else "embeddings") for n in range(10))])
    assert read(tmp_path, begin=SpanPosition(START_NS + 2, f"{4:016x}"))[0] == ["n5", "n6", "n7", "n8", "n9"]
    assert read(tmp_path, begin=SpanPosition(START_NS + 1), until=START_NS + 3)[0] == ["n2", "n3", "n4", "n5"]
    assert read(tmp_path, where="operation = 'chat' -- only")[0] == ["n1", "n3", "n5", "n7", "n9"]
    assert read(tmp_path, where="trace_id IN (SELECT trace_id FROM attempts) AND span_id < 'f'", spans=3)[1][0] == 3


@pytest.mark.integration
def test_a_condition_that_changes_its_mind_is_asked_once_a_span(tmp_path):
    """A sample is a sample: the spans that a condition chose are read by their ids."""
    sealed(tmp_path, [header(), *(at(n, n) for n in range(400))])
    taken = len(read(tmp_path, where="random() < 0.5")[0])
    assert 120 < taken < 280


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("nonsense = 1", "nonsense"),
        ("1 = 1); SELECT (1", "one statement"),
        ("name IN (SELECT content FROM read_text('/etc/hosts'))", "other file"),
    ],
)
def test_a_wrong_condition_is_an_error(tmp_path, where, said):
    """What is no condition, or reaches for files, is refused with the sandbox's message."""
    sealed(tmp_path, [header(), at(1, 1)])
    with pytest.raises(QueryError, match=said):
        read(tmp_path, where=where)


def test_nothing_to_send_ends_at_once(tmp_path):
    """An empty store, and one of other times, give no span and an end."""
    assert read(tmp_path)[0] == []
    sealed(tmp_path, [header(), at(1, 1)])
    assert read(tmp_path, until=START_NS)[0] == []


@pytest.fixture(name="small_steps")
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_LISTED": 7, "_READ_SPANS": 3, "_MOST_ROWS": 5}.items():
        monkeypatch.setattr(history, name, value)


@pytest.mark.integration
@pytest.mark.usefixtures("small_steps")
def test_many_small_steps_give_the_same(tmp_path):
    """Windows, lists that are cut short and portions follow each other without a gap or an overlap."""
    numbers = range(16)
    sealed(tmp_path, [header(), *(at(n, (n // 6) * MINUTE + n % 4) for n in numbers)])
    names = read(tmp_path, spans=2)[0]
    order = sorted(numbers, key=lambda n: ((n // 6) * MINUTE + n % 4, n))
    assert names == [f"n{n}" for n in order]


@pytest.mark.integration
def test_a_batch_is_given_again_until_it_is_settled(tmp_path):
    """What was not taken comes again, in whatever smaller piece."""
    sealed(tmp_path, [header(), *(at(n, n) for n in range(5))])
    source = History(Selection(data=tmp_path, until_ns=2**62), SpanPosition(0), Resource({}))
    source.count()
    names = [[each.name for each in source.batch(size, 1 << 20, FULL).spans] for size in (4, 2, 1)]
    assert names == [["n0", "n1", "n2", "n3"], ["n0", "n1"], ["n0"]]
    source.settle(source.batch(1, 1 << 20, FULL).position)
    assert [each.name for each in source.batch(2, 1, FULL).spans] == ["n1"]  # by bytes, one at least
    source.close()


def test_content_and_types_come_back_from_the_store(tmp_path):
    """JSON columns are text in the store's answer: attributes keep their types, content is the JSON that it was."""
    said = {"input_messages": [{"role": "user", "parts": [{"type": "text", "content": 'é "quoted" \n 🙂'}]}]}
    attributes = {"gen_ai.request.temperature": 1.0, "n": 1, "yes": True, "list": ["a", "b"], "big": 2**53 + 1}
    events = [{"name": "said", "time_ns": START_NS + 5, "attributes": {"k": 2}}]
    sealed(
        tmp_path,
        [
            header(),
            at(1, 1, **said, attributes=attributes, events=events, chunk_times_ms=[1.5], status="ERROR"),
        ],
    )
    source = History(Selection(data=tmp_path, until_ns=2**62), SpanPosition(0), Resource({"k": "v"}))
    source.count()
    (one,) = source.batch(9, 1 << 20, FULL).spans
    source.close()
    assert one.attributes["gen_ai.input.messages"] == (
        '[{"role":"user","parts":[{"type":"text","content":"é \\"quoted\\" \\n 🙂"}]}]'
    )
    given_back = {name: one.attributes[name] for name in attributes}
    assert given_back == attributes
    assert type(given_back["gen_ai.request.temperature"]) is float
    assert one.attributes["gateway.attempt.chunk_times_ms"] == [1.5]
    assert (one.events[0].name, one.events[0].timestamp) == ("said", START_NS + 5)
    assert one.status.status_code.name == "ERROR"
    assert dict(one.resource.attributes) == {"k": "v", "service.name": "gateway"}


@pytest.mark.integration
def test_a_row_that_is_no_span_is_counted_and_passed(tmp_path):
    """One without a usable id does not hold up the ones behind it."""
    sealed(tmp_path, [header(), at(1, 1), at(2, 2, trace_id="no hex"), at(3, 3)])
    source = History(Selection(data=tmp_path, until_ns=2**62), SpanPosition(0), Resource({}))
    source.count()
    batch = source.batch(9, 1 << 20, FULL)
    source.close()
    assert ([each.name for each in batch.spans], batch.damaged) == (["n1", "n3"], 1)


@pytest.mark.integration
def test_the_longest_goes_without_content(tmp_path, monkeypatch):
    """A span that is larger than a result may be is read without its messages, not left out."""
    monkeypatch.setattr(history, "_LONGEST", 1000)
    asked = [{"role": "user", "parts": [{"type": "text", "content": "x" * 2000}]}]
    sealed(tmp_path, [header(), at(1, 1, input_messages=asked, input_tokens=5)])
    source = History(Selection(data=tmp_path, until_ns=2**62), SpanPosition(0), Resource({}))
    source.count()
    (one,) = source.batch(9, 1 << 20, FULL).spans
    source.close()
    assert dict(one.attributes) == {"gen_ai.usage.input_tokens": 5}


def test_the_horizon_is_what_is_still_in_flight(tmp_path):
    """The store is complete up to now, or a moment ago while somebody writes, or where a request in flight began."""
    now = START_NS + 10**12
    sealed(tmp_path, [header(), *exchange(1)])
    journal(tmp_path, [header(), *exchange(2, ended=False)])  # nobody holds it: its exchange will not end
    assert horizon(tmp_path, now) == now
    held = journal_in(tmp_path)
    assert horizon(tmp_path, now) == now - 10**9
    held.start(7, line(7, "SERVER", "root", duration_ns=None))
    assert horizon(tmp_path, now) == START_NS + 7
    held.end(7, line(7, "SERVER", "root"))
    assert horizon(tmp_path, now) == now - 10**9
    held.close()


@pytest.mark.integration
@pytest.mark.parametrize("capture", [FULL, Capture(otlp_bytes=60), Capture(otlp="metadata")])
def test_runs_and_steps_come_as_they_are_sent_live(tmp_path, capture):
    """What clients told of their runs is the same from the store as from the journals, content as the setting says."""
    events = [*whole_run(), step("start", "long", 45, type="t", input={"q": "x" * 100}), step("end", "long", 46)]
    journal(tmp_path, [header(), *lines_of(events)])
    live = {span["span_id"]: span for span in drained(Backlog(tmp_path), capture=capture)}
    source = History(Selection(data=tmp_path, until_ns=2**62), SpanPosition(0), Resource({}))
    source.count()
    stored = {shown["span_id"]: shown for shown in map(Shown, source.batch(99, 1 << 20, capture).spans)}
    source.close()
    assert stored == live
    assert len(live) == 4
    assert any("input.value" in span["attributes"] for span in stored.values()) == (capture.otlp != "metadata")


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30_000)), max_size=20, unique_by=lambda each: each[0]))
def test_windows_follow_each_other_and_have_all(minutes):
    """Each window ends where the next begins, the last at the end; none is larger than need be."""
    minutes = sorted(minutes)
    until = 51 * MINUTE
    made = list(windows(minutes, until))
    assert made[-1].end == until
    assert [window.end for window in made] == sorted({window.end for window in made})
    assert sum(window.spans for window in made) == sum(spans for _, spans in minutes)
    begin = 0
    for window in made:
        inside = [spans for minute, spans in minutes if begin <= minute * MINUTE < window.end]
        assert sum(inside) == window.spans
        assert window.spans <= 20_000 or len(inside) == 1
        begin = window.end


def test_no_window_is_made_of_nothing_but_the_last():
    """Nothing to send is one window without spans."""
    assert list(windows([], 5)) == [Window(5, 0)]


@given(st.lists(st.integers(0, 9 * 1024 * 1024), max_size=30))
def test_portions_are_bounded_and_whole(sizes):
    """All spans are in one portion each, in order; none but a single large one is over the bound."""
    spans = [Span(number, f"{number:016x}", size) for number, size in enumerate(sizes)]
    made = list(portions(spans))
    assert [span for portion in made for span in portion] == spans
    assert all(len(portion) == 1 or sum(span.bytes for span in portion) <= 20 * 1024 * 1024 for portion in made)
