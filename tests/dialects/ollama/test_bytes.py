import json
from collections.abc import Callable
from itertools import pairwise

import msgspec
import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from gateway.dialects import events
from gateway.dialects.conversation import ChatResponse
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_GENERATE
from tests.dialects.damage import assert_storable, damaged, variants
from tests.dialects.strategies_ollama import folded
from tests.support.paths import FIXTURES

Read = Callable[[str], bytes]

LINES = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("ollama_*.ndjson"))}
BODIES = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("ollama_*.json"))}
ALL = (OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_EMBED)


def once(data: bytes) -> ChatResponse:
    """Read a stream that comes in one piece."""
    reader = OLLAMA_CHAT.stream_reader()
    reader.feed(data)
    return reader.response()


def lines_of(stream: bytes) -> list[bytes]:
    """Cut a stream into its lines."""
    return stream.splitlines(keepends=True)


TYPES: dict[str, type[BaseModel]] = {
    "ollama_chat_text.ndjson": ollama.ChatResponse,
    "ollama_chat_tools.ndjson": ollama.ChatResponse,
    "ollama_chat_logprobs.ndjson": ollama.ChatResponse,
    "ollama_chat_error.ndjson": ollama.ChatResponse,
    "ollama_generate.ndjson": ollama.GenerateResponse,
    "ollama_chat_whole.json": ollama.ChatResponse,
    "ollama_embed.json": ollama.EmbedResponse,
}
REQUESTS = {
    "ollama_chat_request.json": ollama._types.ChatRequest,
    "ollama_generate_request.json": ollama._types.GenerateRequest,
    "ollama_embed_request.json": ollama._types.EmbedRequest,
}


@pytest.mark.parametrize("name", TYPES)
def test_every_line_is_one_that_the_sdk_knows(read: Read, name: str) -> None:
    """Ollama's own package takes each line and body of a fixture; an error's line it raises."""
    lines = [line for line in lines_of(read(name)) if not line.startswith(b'{"error"')]
    assert lines
    for line in lines:
        TYPES[name].model_validate_json(line)


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_is_one_that_the_sdk_sends(read: Read, name: str) -> None:
    """Ollama's own package makes such requests: what it knows of one, it gives back unchanged."""
    sent = json.loads(read(name))
    images = [{"value": image} for image in sent.get("images", [])]  # as its calls wrap them
    made = REQUESTS[name].model_validate({**sent, "images": images} if images else sent)
    known = made.model_dump(exclude_none=True)
    assert known == {key: sent[key] for key in known}
    assert {"model", "options"} <= known.keys()


@given(name=st.sampled_from(list(LINES)), cuts=st.lists(st.integers(0, 5000), max_size=40))
def test_cuts_change_nothing(name: str, cuts: list[int]) -> None:
    """However a stream is cut, the record is the same, and its events fold to it."""
    data = LINES[name]
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    reader = OLLAMA_CHAT.stream_reader()
    reader.events = []
    for start, end in pairwise(bounds):
        reader.feed(data[start:end])
    assert reader.response() == once(data)
    assert isinstance(reader.events[-1], events.Broken) or folded(reader.events) == once(data).output_messages


@given(name=st.sampled_from(list(LINES)), end=st.integers(0, 5000))
def test_a_stream_that_breaks_anywhere_has_a_record(name: str, end: int) -> None:
    """At every moment the record so far can be written and stored."""
    reader = OLLAMA_CHAT.stream_reader()
    reader.feed(LINES[name][: end % (len(LINES[name]) + 1)])
    assert_storable(reader.response())


@given(damaged([*LINES.items(), *BODIES.items()]))
def test_damage_costs_only_itself(case: tuple[str, bytes]) -> None:
    """Flipped, lost and strange bytes raise nothing, what was read can be stored, and the events stay in order."""
    _, data = case
    for dialect in ALL:
        reader = dialect.stream_reader()
        reader.events = []
        reader.feed(data)
        assert_storable(reader.response())
        assert_storable(dialect.read_response(data))
        msgspec.json.encode(dialect.read_request(data))
        if reader.events and isinstance(reader.events[-1], events.Ended):
            assert folded(reader.events) == reader.response().output_messages
    msgspec.json.encode(OLLAMA_CHAT.read_conversation(data, "/api/chat"))
    msgspec.json.encode(OLLAMA_GENERATE.read_conversation(data, "/api/generate"))


@pytest.mark.parametrize("name", BODIES)
def test_values_of_other_types_in_a_body_cost_only_themselves(name: str) -> None:
    """Nulls, numbers as strings, lists for objects, anywhere: nothing raises, and all can be stored."""
    for document in variants(json.loads(BODIES[name])):
        body = json.dumps(document).encode()
        assert_storable(OLLAMA_CHAT.read_response(body))
        msgspec.json.encode(OLLAMA_CHAT.read_conversation(body, "/api/chat"))
        msgspec.json.encode(OLLAMA_GENERATE.read_conversation(body, "/api/generate"))
        msgspec.json.encode(OLLAMA_EMBED.read_request(body))


@pytest.mark.parametrize("name", LINES)
def test_values_of_other_types_in_a_line_cost_only_themselves(name: str) -> None:
    """The same of each line of a stream, with those around it as they should be."""
    lines = lines_of(LINES[name])
    for i, line in enumerate(lines):
        for document in variants(json.loads(line)):
            reader = OLLAMA_CHAT.stream_reader()
            reader.events = []
            reader.feed(b"".join([*lines[:i], json.dumps(document).encode() + b"\n", *lines[i + 1 :]]))
            assert_storable(reader.response())
            if isinstance(reader.events[-1], events.Ended):
                assert folded(reader.events) == reader.response().output_messages
