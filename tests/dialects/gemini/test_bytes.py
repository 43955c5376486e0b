"""Gemini's reader and writer on bytes that are not what they should be."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.conversation import ChatRequest
from gateway.dialects.events import Broken
from gateway.dialects.gemini import GEMINI, GEMINI_WRITER
from tests.dialects.damage import assert_storable, damaged, variants
from tests.dialects.strategies_gemini import folded
from tests.support.paths import FIXTURES

PATH = "/v1beta/models/gemini-3-flash:generateContent"
ASKED = ChatRequest(operation="chat", model="gemini-3-flash")
STREAMS = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("gemini_*.sse"))}
REQUESTS = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("gemini_request*.json"))}
BODIES = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("gemini_*.json"))}


def ask(body: bytes) -> None:
    """Read a request, write it anew, and read that."""
    assert GEMINI.read_conversation is not None
    asked = GEMINI.read_conversation(body, PATH)
    msgspec.json.encode(asked)
    written = GEMINI_WRITER.request(asked)
    again = GEMINI.read_conversation(written.body, written.path)
    assert len(again.tools) == len(asked.tools)
    msgspec.json.encode(GEMINI.read_request(body))


def respond(body: bytes) -> None:
    """Read a whole response, and write it anew."""
    answered = GEMINI.read_response(body)
    assert_storable(answered)
    written, _ = GEMINI_WRITER.response(answered, ASKED, 0.0)
    assert_storable(GEMINI.read_response(written))


def relay(pieces: list[bytes]) -> None:
    """Read a stream, and write its events, which are read as the same response."""
    reader = GEMINI.stream_reader()
    reader.events = []
    writer = GEMINI_WRITER.stream(ASKED, 0.0)
    done = 0
    for piece in pieces:
        reader.feed(piece)
        for event in reader.events[done:]:
            writer.write(event)
        done = len(reader.events)
    answered = reader.response()
    assert_storable(answered)
    if reader.ended and not any(isinstance(event, Broken) for event in reader.events):
        assert folded(reader.events) == answered.output_messages


@pytest.mark.parametrize("name", REQUESTS)
def test_values_of_other_types_in_a_request_cost_only_themselves(name: str) -> None:
    """Nulls, numbers as strings, lists for objects, anywhere: nothing raises, and all can be written."""
    for document in variants(json.loads(REQUESTS[name])):
        ask(json.dumps(document).encode())


@pytest.mark.parametrize("name", BODIES)
def test_values_of_other_types_in_a_response_cost_only_themselves(name: str) -> None:
    """The same of responses."""
    for document in variants(json.loads(BODIES[name])):
        respond(json.dumps(document).encode())


@pytest.mark.parametrize("name", STREAMS)
def test_values_of_other_types_in_a_stream_cost_only_themselves(name: str) -> None:
    """The same of each event of a stream, with those around it as they should be."""
    events = [event + b"\n\n" for event in STREAMS[name].split(b"\n\n")[:-1]]
    for i, event in enumerate(events):
        for document in variants(json.loads(event.removeprefix(b"data: "))):
            relay([*events[:i], b"data: " + json.dumps(document).encode() + b"\n\n", *events[i + 1 :]])


@given(damaged(list(STREAMS.items())))
def test_a_damaged_stream_is_read_as_far_as_it_goes(case: tuple[str, bytes]) -> None:
    """Flipped, lost and strange bytes raise nothing."""
    relay([case[1]])


@given(damaged(list(BODIES.items())))
def test_a_damaged_body_is_read_as_far_as_it_goes(case: tuple[str, bytes]) -> None:
    """The same of requests, responses, and arrays."""
    ask(case[1])
    respond(case[1])
    relay([case[1]])


@given(st.lists(st.binary(max_size=200)), st.sampled_from([b"[", b"{", b"data: ", b""]))
def test_garbage_is_read_as_nothing(pieces: list[bytes], first: bytes) -> None:
    """Random bytes raise nothing."""
    ask(first + b"".join(pieces))
    respond(first + b"".join(pieces))
    relay([first, *pieces])
