"""What every dialect's reader promises, whatever it is fed."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import Dialect
from gateway.dialects.conversation import Answered, Message
from gateway.dialects.registry import DIALECTS

FIXTURES = Path(__file__).parent / "fixtures"
STREAMS = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("*.sse"))}
BODIES = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("*.json"))}
SPOKEN = {"chat": "openai-chat", "completion": "openai-completions", "embeddings": "openai-embeddings"}
SPOKEN |= {"messages": "anthropic-messages", "responses": "openai-responses"}


def spoken_in(name: str) -> Dialect:
    """Return the dialect of a fixture."""
    return DIALECTS[SPOKEN[name.partition(".")[0].partition("_")[0]]]


def read(dialect: Dialect, pieces: list[bytes]) -> Answered:
    """Read a stream in pieces."""
    reader = dialect.stream_reader()
    for piece in pieces:
        reader.feed(piece)
    assert isinstance(reader.unread, int)
    return reader.answered()


def assert_storable(answered: Answered) -> None:
    """Check that what was read can be written as JSON, and read back as what it was."""
    encoded = msgspec.json.encode(answered.output_messages)
    msgspec.json.decode(encoded, type=list[Message])
    json.loads(encoded.decode())


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
    """At every moment what was read can be told and stored."""
    data = STREAMS[name]
    assert_storable(read(spoken_in(name), [data[: end % (len(data) + 1)]]))


@st.composite
def damaged(draw: st.DrawFn, originals: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Draw a fixture with some bytes flipped, cut out or put in."""
    name, original = draw(st.sampled_from(originals))
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 12))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flip", "cut", "put"]))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        else:
            data[at:at] = draw(
                st.sampled_from([b'"', b"{", b"}", b"null", b"\n\n", b"\r", b"\xff", b"1e999", b"\\ud83d"])
            )
    return name, bytes(data)


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


LEAVES = st.sampled_from([None, True, 0, -1, 2**63, 2**70, 1.5, 1e300, "", "text", "7", [], {}, [[]], "\ud83d"])


def odd(value: Any, draw: st.DrawFn) -> Any:
    """Put values of other types into a document, here and there."""
    if draw(st.integers(0, 14)) == 0:
        return draw(LEAVES)
    if isinstance(value, dict):
        return {k: odd(v, draw) for k, v in value.items() if draw(st.integers(0, 30))}
    if isinstance(value, list):
        return [odd(v, draw) for v in value]
    return value


@given(st.data())
def test_values_of_other_types_cost_only_themselves(data: st.DataObject) -> None:
    """Nulls, numbers as strings, lists for objects: nothing raises, in a body or in an event."""
    name = data.draw(st.sampled_from(list(BODIES)))
    body = json.dumps(odd(json.loads(BODIES[name]), data.draw)).encode()
    for dialect in DIALECTS.values():
        assert_storable(dialect.read_response(body))
        msgspec.json.decode(msgspec.json.encode(dialect.read_request(body)))


@given(st.data())
def test_events_with_values_of_other_types_cost_only_themselves(data: st.DataObject) -> None:
    """The same of every event of a stream."""
    name = data.draw(st.sampled_from(list(STREAMS)))
    lines = STREAMS[name].split(b"\n")
    stream = b"\n".join(
        b"data: " + json.dumps(odd(json.loads(line[6:]), data.draw)).encode() if line.startswith(b"data: {") else line
        for line in lines
    )
    for dialect in DIALECTS.values():
        assert_storable(read(dialect, [stream]))


@given(st.lists(st.binary(max_size=200)))
def test_garbage_is_read_as_nothing(pieces: list[bytes]) -> None:
    """Random bytes raise nothing."""
    for dialect in DIALECTS.values():
        read(dialect, [b"data: ", *pieces, b"\n\n"])
        dialect.read_response(b"".join(pieces))
        dialect.read_request(b"".join(pieces))
