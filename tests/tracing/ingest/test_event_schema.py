"""Events of runs and steps are split, parsed and validated, and errors have the path of the invalid field."""

import json
from datetime import UTC, datetime

import pytest
from msgspec import Raw

from gateway.dialects.wire.content_coding import READ_MAX_OF_FEW
from gateway.tracing.ingest.event_schema import (
    MAX_EVENTS,
    EventError,
    Plain,
    RunStart,
    RunUpdate,
    StepEnd,
    StepError,
    StepStart,
    StepState,
    nanoseconds,
    parse_event,
    split_events,
)

OF_STEP = {"run_id": "r", "step_id": "s"}


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b'{"type": "x"}', ["$"]),
        (b'[{"type": "x"}, {"type": "y"}]', ["$[0]", "$[1]"]),
        (b' {"events": [{"type": "x"}]}', ["$.events[0]"]),
        (b'{"events": []}', []),
        (b'{"type": "x", "events": [1, 2]}', ["$"]),
    ],
)
def test_a_body_is_an_event_or_a_list_of_events(body, paths):
    """An event with a field `events` is an event all the same."""
    assert [path for path, _ in split_events(body)] == paths


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body is no JSON"),
        (b"[" * 10_000, 400, "the body is no JSON"),
        (b'"\xff"', 400, "the body is no JSON"),
        (b"7", 422, "Expected `object`"),
        (b'{"events": 7}', 422, "Expected `array"),
        (b"[" + b"1," * MAX_EVENTS + b"1]", 413, f"send at most {MAX_EVENTS}"),
    ],
)
def test_an_invalid_body_is_refused(body, status, message):
    """The HTTP status tells whether the JSON, its schema or its size is at fault."""
    with pytest.raises(EventError, match=message) as raised:
        split_events(body)
    assert raised.value.status == status


@pytest.mark.parametrize(
    ("event", "form"),
    [
        ({"type": "run:start", "id": "r", "name": "n"}, RunStart),
        ({"type": "run:update", "id": "r"}, RunUpdate),
        ({"type": "step:start", **OF_STEP, "data": {"type": "llm"}}, StepStart),
        ({"type": "step:end", **OF_STEP, "data": {}}, StepEnd),
        ({"type": "step:error", **OF_STEP, "data": {"error": "e"}}, StepError),
        ({"type": "step:state", **OF_STEP, "data": {"state": "paused"}}, StepState),
        ({"type": "note", "unknown": 1}, Plain),
    ],
)
def test_every_type_has_its_form(event, form):
    """An event of any other type is plain, and unknown fields are ignored."""
    kind, parsed = parse_event(Raw(json.dumps(event).encode()), "$", 0)
    assert kind == event["type"]
    assert isinstance(parsed, form)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, "$.events[3].type: this field is missing"),
        ({"type": ""}, "$.events[3].type: Expected `str` of length >= 1"),
        ({"type": "run:start", "id": "r"}, "$.events[3].name: this field is missing"),
        ({"type": "run:update", "id": "x" * 257}, "$.events[3].id: Expected `str` of length <= 256"),
        ({"type": "step:start", **OF_STEP, "data": {}}, "$.events[3].data.type: this field is missing"),
        ({"type": "step:state", **OF_STEP, "data": {"state": 1}}, "$.events[3].data.state: Expected `str`, got `int`"),
        ([], "$.events[3]: Expected `object`, got `array`"),
    ],
)
def test_an_error_has_the_path_of_the_field(event, message):
    """The path is that in the whole body, and the position that in the batch."""
    with pytest.raises(EventError) as raised:
        parse_event(Raw(json.dumps(event).encode()), "$.events[3]", 3)
    assert str(raised.value) == message
    assert (raised.value.index, raised.value.status) == (3, 422)


def test_values_that_are_too_large_are_texts():
    """To parse them would block the event loop; `info` must be an object, and is marked as truncated."""
    large = "x" * READ_MAX_OF_FEW
    event = {"type": "run:start", "id": "r", "name": "n", "input": [large], "info": {"a": large}}
    _, parsed = parse_event(Raw(json.dumps(event).encode()), "$", 0)
    assert isinstance(parsed, RunStart)
    assert isinstance(parsed.input, str)
    assert parsed.input.startswith('["xxx')
    assert parsed.input.endswith("more bytes]")
    assert parsed.info == {"gateway.content.truncated": True}
    step = {"type": "step:start", **OF_STEP, "data": {"type": "llm", "input": large}}
    _, parsed = parse_event(Raw(json.dumps(step).encode()), "$", 0)
    assert isinstance(parsed, StepStart)
    assert (parsed.data.type, parsed.data.input[:3]) == ("llm", '"xx')


def test_times_are_unix_nanoseconds():
    """A time without a zone, or beyond a BIGINT, is an error."""
    assert nanoseconds(datetime(2026, 1, 31, 12, 0, 0, 1, UTC), "$.time", 0) == 1_769_860_800_000_001_000
    for time in (datetime(2026, 1, 31), datetime(1969, 12, 31, tzinfo=UTC), datetime(2263, 1, 1, tzinfo=UTC)):  # noqa: DTZ001
        with pytest.raises(EventError, match=r"\$\.time: expected a time"):
            nanoseconds(time, "$.time", 0)
