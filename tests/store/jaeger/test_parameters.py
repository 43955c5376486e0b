"""What Jaeger's UI and Grafana ask for, read out of a query string."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.jaeger.parameters import (
    DEFAULT_LIMIT,
    MOST_TRACES,
    ParameterError,
    Search,
    check_hints,
    dependencies,
    operations,
    search,
    search_v3,
    trace_id,
    trace_ids,
)

NOW_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
V3 = {"query.startTimeMin": ["2026-11-25T12:00:00Z"], "query.startTimeMax": ["2026-11-25T13:00:00.5Z"]}


def asked(**parameters: str) -> Search:
    """Read a search for a service."""
    return search({"service": ["a"]} | {name: [value] for name, value in parameters.items()}, NOW_US)


def test_a_search_for_a_service_is_of_two_days():
    """What is not said is what Jaeger's query service takes."""
    assert asked() == Search(service="a", start_us=NOW_US - 48 * HOUR_US, end_us=NOW_US, limit=DEFAULT_LIMIT)


def test_a_search_has_all_that_was_said():
    """Times are in microseconds, durations as Go writes them; what is empty was not said."""
    said = asked(operation="op", start="5", end="9", minDuration="1.5ms", maxDuration="1m2s", limit="7", tags="")
    assert said == Search(
        service="a", operation="op", start_us=5, end_us=9, min_ns=1_500_000, max_ns=62 * 10**9, limit=7
    )
    assert asked(operation="", limit="", minDuration="") == asked()


def test_a_lookback_stands_for_a_start_that_is_missing():
    """Where both are said, the start holds; a UI's `custom` says nothing."""
    assert asked(lookback="2h").start_us == NOW_US - 2 * HOUR_US
    assert asked(lookback="1d", end=str(30 * HOUR_US)).start_us == 6 * HOUR_US
    assert asked(lookback="1h", start="5").start_us == 5
    assert asked(lookback="custom") == asked()


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1ns", 1), ("2us", 2000), ("2µs", 2000), ("2μs", 2000), ("3ms", 3 * 10**6), ("4s", 4 * 10**9),
        ("5m", 300 * 10**9), ("1h", 3600 * 10**9), ("1h30m", 5400 * 10**9), ("1.5s", 1_500_000_000), (".5s", 5 * 10**8),
        ("1.s", 10**9), ("+1s", 10**9), ("-1s", -(10**9)), ("0", None), ("0s", None), ("9" * 60 + "h", 2**62),
    ],
)  # fmt: skip
def test_durations_are_as_go_writes_them(text, nanoseconds):
    """0 is no bound; what is longer than anything is as long as can be."""
    assert asked(minDuration=text).min_ns == nanoseconds


@pytest.mark.parametrize(
    ("given_", "tags"),
    [
        ({"tags": ['{"error":"true","a b":"x:y"}']}, {"error": "true", "a b": "x:y"}),
        ({"tags": ["http.method:GET"]}, {"http.method": "GET"}),
        ({"tag": ["a:b:c", "d:"]}, {"a": "b:c", "d": ""}),
        ({"tags": ['{"a":"1"}', '{"b":"2"}'], "tag": ["b:3"]}, {"a": "1", "b": "3"}),
        ({"tags": ["{}"]}, {}),
    ],
)
def test_tags_are_json_or_pairs(given_, tags):
    """As the UIs send them, and as a person may."""
    assert search({"service": ["a"]} | given_, NOW_US).tags == tags


WRONG = {
    "no service": ({}, "'service'"),
    "an empty service": ({"service": [""]}, "'service'"),
    "a start that is no number": ({"start": ["x"]}, "'start'"),
    "an end with a fraction": ({"end": ["1.5"]}, "'end'"),
    "a limit that is no number": ({"limit": ["many"]}, "'limit'"),
    "a duration without a unit": ({"minDuration": ["5"]}, "'minDuration'"),
    "a duration that is none": ({"maxDuration": ["1s2"]}, "'maxDuration'"),
    "durations the wrong way round": ({"minDuration": ["2s"], "maxDuration": ["1s"]}, "'maxDuration'"),
    "tags that are no JSON": ({"tags": ["x"]}, "'tags'"),
    "tags that are no object": ({"tags": ["[1]"]}, "'tags'"),
    "tags that are no strings": ({"tags": ['{"a":1}']}, "'tags'"),
    "a tag without a value": ({"tag": ["x"]}, "'tag'"),
}


@pytest.mark.parametrize(("given_", "said"), WRONG.values(), ids=WRONG.keys())
def test_what_cannot_be_read_is_named(given_: dict[str, list[str]], said: str):
    """The message has the parameter's name."""
    service = {} if "service" in said else {"service": ["a"]}
    with pytest.raises(ParameterError, match=said):
        search(service | given_, NOW_US)


@pytest.mark.parametrize(("text", "limit"), [("0", 1), ("-5", 1), ("1500", 1500), ("999999999999", MOST_TRACES)])
def test_a_limit_is_kept_in_bounds(text, limit):
    """One trace at least, no more than Jaeger's own UI would ask for."""
    assert asked(limit=text).limit == limit


def test_times_are_kept_in_bounds():
    """Whatever number is sent, a TIMESTAMP can hold it."""
    said = asked(start="-9" * 1 + "9" * 30, end="9" * 40)
    assert (said.start_us, said.end_us) == (0, 2**60)


def test_a_trace_id_may_lack_its_leading_zeros():
    """It is stored in 32 digits, in small letters."""
    assert trace_id("ABC") == "0" * 29 + "abc"
    assert trace_id("a448eb211c80319c") == "0" * 16 + "a448eb211c80319c"
    assert trace_id("f" * 32) == "f" * 32


@pytest.mark.parametrize("text", ["", "zz", "0x12", "a" * 33, "١٢", "a b", "a\n", "'; --"])
def test_what_is_no_trace_id_is_refused(text):
    """Hex digits, 32 of them at most."""
    with pytest.raises(ParameterError, match="hex digits"):
        trace_id(text)


def test_traces_may_be_asked_for_by_many_ids():
    """Each once, in order; and no more than a search may find."""
    assert trace_ids({"traceID": ["b", "A", "000b"]}) == ["0" * 31 + "b", "0" * 31 + "a"]
    assert trace_ids({}) == []
    with pytest.raises(ParameterError, match="1500"):
        trace_ids({"traceID": [f"{number:x}" for number in range(MOST_TRACES + 1)]})


def test_operations_are_of_a_service_and_a_kind():
    """Under either of the parameter's names."""
    assert operations({"service": ["a"]}) == ("a", None)
    assert operations({"service": ["a"], "spanKind": ["server"]}) == ("a", "server")
    assert operations({"service": ["a"], "span_kind": ["client"]}) == ("a", "client")
    with pytest.raises(ParameterError, match="'service'"):
        operations({})


def test_dependencies_are_of_a_day_before_an_end():
    """Milliseconds come in, microseconds go out."""
    assert dependencies({}, 10**12) == ((10**12 - 86_400_000) * 1000, 10**15, None)
    assert dependencies({"endTs": ["9"], "lookback": ["4"], "service": ["a"]}, 10**12) == (5000, 9000, "a")
    with pytest.raises(ParameterError, match="'lookback'"):
        dependencies({"lookback": ["1h"]}, 10**12)


def test_times_beside_a_trace_id_are_hints_but_numbers():
    """What they say is not used; what is no number is refused, as Jaeger does."""
    check_hints({"start": ["1700000000000"], "end": ["1"]})
    with pytest.raises(ParameterError, match="'end'"):
        check_hints({"end": ["now"]})


def test_the_third_api_says_times_as_text():
    """Names in camel case or with underscores; no service is any service; an unescaped plus sign is a space."""
    assert search_v3(V3) == Search(start_us=1_795_608_000_000_000, end_us=1_795_611_600_500_000)
    older = {
        "query.service_name": ["a"], "query.operation_name": ["op"], "query.attributes": ['{"k":"v"}'],
        "query.duration_min": ["1s"], "query.duration_max": ["2s"], "query.num_traces": ["3"],
        "query.start_time_min": ["2026-11-25T13:00:00.123456789 01:00"],
        "query.start_time_max": ["2026-11-25T13:00:00Z"],
    }  # fmt: skip
    newer = V3 | {
        "query.serviceName": ["a"], "query.operationName": ["op"], "query.attributes": ['{"k":"v"}'],
        "query.durationMin": ["1s"], "query.durationMax": ["2s"], "query.searchDepth": ["3"],
        "query.startTimeMin": ["2026-11-25T12:00:00.123456Z"], "query.startTimeMax": ["2026-11-25T13:00:00Z"],
    }  # fmt: skip
    assert search_v3(older) == search_v3(newer)
    assert search_v3(newer) == Search(
        service="a", operation="op", tags={"k": "v"}, start_us=1_795_608_000_123_456, end_us=1_795_611_600_000_000,
        min_ns=10**9, max_ns=2 * 10**9, limit=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"query.startTimeMin": []}, "query.startTimeMin is required"),
        ({"query.startTimeMax": ["yesterday"]}, "'query.startTimeMax'"),
        ({"query.startTimeMax": ["2026-11-25T13:00:00"]}, "'query.startTimeMax'"),
        ({"query.startTimeMax": ["2026-11-25T12:00:00Z"]}, "must be before"),
        ({"query.attributes": ["x"]}, "'query.attributes'"),
        ({"query.duration_min": ["5"]}, "'query.duration_min'"),
        ({"query.searchDepth": ["x"]}, "'query.searchDepth'"),
    ],
)
def test_what_the_third_api_cannot_read_is_named(changed: dict[str, list[str]], said: str):
    """By the name under which it came."""
    with pytest.raises(ParameterError, match=said):
        search_v3(V3 | changed)


_NAMES = ("service", "operation", "tag", "tags", "start", "end", "lookback", "minDuration", "maxDuration", "limit")
_NAMES_V3 = ("query.startTimeMin", "query.start_time_max", "query.durationMin", "query.attributes", "query.num_traces")
_values = st.lists(st.one_of(st.text(max_size=12), st.from_regex(r"[-+]?[0-9.]{0,30}(ns|ms|s|h)?", fullmatch=True)))


@given(st.dictionaries(st.sampled_from(_NAMES + _NAMES_V3), _values))
def test_whatever_is_sent_is_read_or_refused(parameters: dict[str, Any]):
    """Nothing but ParameterError comes of it, and what is read is in bounds."""
    for read in (lambda given_: search(given_, NOW_US), search_v3):
        try:
            said = read(parameters | {"query.startTimeMax": ["2026-11-25T13:00:00Z"]})
        except ParameterError:
            continue
        assert 1 <= said.limit <= MOST_TRACES
        assert 0 <= said.start_us <= 2**60
        assert 0 <= said.end_us <= 2**60
