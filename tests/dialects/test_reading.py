"""Guarantees of every dialect's reader for any bytes."""

import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatResponse, Usage
from gateway.dialects.registry import DIALECTS
from gateway.dialects.shared import stream_reader
from tests.dialects.damage import assert_storable, damaged, variants
from tests.support.paths import FIXTURES

SPOKEN = {"chat": "openai-chat", "completion": "openai-completions", "embeddings": "openai-embeddings"}
SPOKEN |= {"messages": "anthropic-messages", "responses": "openai-responses", "ollama": "ollama", "gemini": "gemini"}


def spoken_in(name: str) -> Dialect:
    """Return the dialect of a fixture."""
    return DIALECTS[SPOKEN[family(name)]]


def family(name: str) -> str:
    """Return what the names of a dialect's fixtures begin with."""
    return name.partition(".")[0].partition("_")[0]


STREAMS = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("*.sse")) if SPOKEN.get(family(p.name)) in DIALECTS}
BODIES = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("*.json")) if SPOKEN.get(family(p.name)) in DIALECTS}


def read(dialect: Dialect, pieces: list[bytes]) -> ChatResponse:
    """Read a stream in pieces."""
    reader = dialect.stream_reader()
    for piece in pieces:
        reader.feed(piece)
    assert isinstance(reader.unread, int)
    return reader.response()


@given(name=st.sampled_from(list(STREAMS)), cuts=st.lists(st.integers(0, 20_000), max_size=60))
def test_cuts_change_nothing(name: str, cuts: list[int]) -> None:
    """However a stream is cut, the record is the same."""
    data = STREAMS[name]
    bounds = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(bounds)]
    assert read(spoken_in(name), pieces) == read(spoken_in(name), [data])


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_byte_by_byte_is_the_same(name: str) -> None:
    """The worst of all cuts changes nothing, and neither do CRLF line ends."""
    data = STREAMS[name]
    whole = read(spoken_in(name), [data])
    crlf = data.replace(b"\n", b"\r\n")
    assert read(spoken_in(name), [data[i : i + 1] for i in range(len(data))]) == whole
    assert read(spoken_in(name), [crlf[i : i + 1] for i in range(len(crlf))]) == whole


@given(name=st.sampled_from(list(STREAMS)), end=st.integers(0, 20_000))
def test_a_stream_that_breaks_anywhere_has_a_record(name: str, end: int) -> None:
    """At every moment the record so far can be written and stored."""
    data = STREAMS[name]
    assert_storable(read(spoken_in(name), [data[: end % (len(data) + 1)]]))


@given(damaged(list(STREAMS.items())))
def test_a_damaged_stream_is_read_as_far_as_it_goes(case: tuple[str, bytes]) -> None:
    """Flipped, lost and strange bytes raise nothing, and what was read can be stored."""
    name, data = case
    for dialect in DIALECTS.values():
        assert_storable(read(dialect, [data]))
    assert spoken_in(name)


@given(damaged(list(BODIES.items())))
def test_a_damaged_body_is_read_as_far_as_it_goes(case: tuple[str, bytes]) -> None:
    """The same of requests and of whole responses."""
    _, body = case
    for dialect in DIALECTS.values():
        assert_storable(dialect.read_response(body))
        msgspec.json.decode(msgspec.json.encode(dialect.read_request(body)))


@pytest.mark.parametrize("name", BODIES)
def test_values_of_other_types_cost_only_themselves(name: str) -> None:
    """Nulls, numbers as strings, lists for objects, anywhere in a body: nothing raises, all can be stored."""
    dialect = spoken_in(name)
    for document in variants(json.loads(BODIES[name])):
        body = json.dumps(document).encode()
        assert_storable(dialect.read_response(body))
        msgspec.json.encode(dialect.read_request(body))


@pytest.mark.parametrize("name", STREAMS)
def test_events_with_values_of_other_types_cost_only_themselves(name: str) -> None:
    """The same of each event of a stream, with those around it as they should be."""
    dialect = spoken_in(name)
    events = [event + b"\n\n" for event in STREAMS[name].split(b"\n\n")[:-1]]
    for i, event in enumerate(events):
        head, _, data = event.partition(b"data: ")
        for document in variants(json.loads(data)) if data.startswith(b"{") else ():
            changed = head + b"data: " + json.dumps(document).encode() + b"\n\n"
            assert_storable(read(dialect, [*events[:i], changed, *events[i + 1 :]]))


@given(st.lists(st.binary(max_size=200)))
def test_garbage_is_read_as_nothing(pieces: list[bytes]) -> None:
    """Random bytes raise nothing."""
    for dialect in DIALECTS.values():
        read(dialect, [b"data: ", *pieces, b"\n\n"])
        dialect.read_response(b"".join(pieces))
        dialect.read_request(b"".join(pieces))


ENDLESS = {
    "openai-chat": [
        b'{"choices":[{"delta":{"content":"%s"}}]}' % (b"x" * 1_000_000),
        b'{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"%s"}}]}}]}' % (b"x" * 1_000_000),
        b'{"choices":[{"index":9,"delta":{"refusal":"late"}}]}',
        b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}',
        b"[DONE]",
    ],
    "anthropic-messages": [
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}' % (b"x" * 1_000_000),
        b'{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"%s"}}' % (b"x" * 1_000_000),
        b'{"type":"content_block_delta","index":9,"delta":{"type":"text_delta","text":"late"}}',
        b'{"type":"message_delta","usage":{"input_tokens":1,"output_tokens":2}}',
        b'{"type":"message_stop"}',
    ],
    "openai-responses": [
        b'{"type":"response.output_text.delta","delta":"%s"}' % (b"x" * 1_000_000),
        b'{"type":"response.output_item.done","output_index":0,"item":{"x":"%s"}}' % (b"x" * 1_000_000),
        b'{"type":"response.output_text.delta","output_index":9,"delta":"late"}',
        b'{"type":"response.completed","response":{"usage":{"input_tokens":1,"output_tokens":2}}}',
    ],
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_endless_stream_is_kept_to_a_limit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content beyond the limit is counted and left; the usage and the end are read all the same."""
    monkeypatch.setattr(stream_reader, "KEPT_MAX", 1_500_000)
    reader = DIALECTS[name].stream_reader()
    first, *rest = ENDLESS[name]
    for data in (first, first, *rest):
        reader.feed(b"data: " + data + b"\n\n")
    answered = reader.response()
    assert reader.ended
    assert reader.unread == 3
    assert answered.usage == Usage(input_tokens=1, output_tokens=2, total_tokens=3)
    assert 1_000_000 < len(msgspec.json.encode(answered)) < 1_001_000
