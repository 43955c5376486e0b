"""Whatever Bedrock's readers are fed, they raise nothing, and what they read can be stored."""

import json
from collections.abc import Callable
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.bedrock import CONVERSE
from gateway.dialects.conversation import ChatResponse, Usage
from gateway.dialects.events import ChoiceDone
from gateway.dialects.shared import stream_reader
from gateway.dialects.wire.eventstream import event
from tests.dialects.botocores import framed
from tests.dialects.damage import assert_storable, variants
from tests.dialects.strategies_bedrock import folded
from tests.support.paths import FIXTURES

Read = Callable[[str], bytes]
STREAMS = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("bedrock_*.events"))}
BODIES = {p.name: p.read_bytes() for p in sorted(FIXTURES.glob("bedrock_*.json"))}
LINES = [line.partition(b" ")[::2] for data in STREAMS.values() for line in data.splitlines() if line[:1] != b"!"]


def read(pieces: list[bytes]) -> ChatResponse:
    """Read a stream in pieces, and check that its events make the same message."""
    reader = CONVERSE.stream_reader()
    reader.events = []
    for piece in pieces:
        reader.feed(piece)
    answered = reader.response()
    if reader.events:
        made = folded(reader.events)
        # late fields of a part (a signature, citations) are emitted at its end
        whole = any(isinstance(each, ChoiceDone) for each in reader.events)
        assert made == answered.output_messages if whole else len(made) == len(answered.output_messages)
    silent = CONVERSE.stream_reader()
    silent.feed(b"".join(pieces))
    assert silent.response() == answered
    return answered


@pytest.mark.parametrize("name", BODIES)
def test_values_of_other_types_cost_only_themselves(name: str) -> None:
    """Nulls, numbers as strings, lists for objects, anywhere in a body: nothing raises, all can be stored."""
    for document in variants(json.loads(BODIES[name])):
        body = json.dumps(document).encode()
        assert_storable(CONVERSE.read_response(body))
        msgspec.json.encode(CONVERSE.read_conversation(body, "/model/anthropic.claude-x/converse"))


@pytest.mark.parametrize("name", STREAMS)
def test_events_with_values_of_other_types_cost_only_themselves(name: str) -> None:
    """The same of each event of a stream, with those around it as they should be."""
    frames = framed(STREAMS[name])
    for i, line in enumerate(STREAMS[name].splitlines()):
        kind, _, payload = line.partition(b" ")
        for document in variants(json.loads(payload)):
            changed = framed(kind + b" " + json.dumps(document).encode())
            assert_storable(read([*frames[:i], *changed, *frames[i + 1 :]]))


@given(st.lists(st.sampled_from(LINES), max_size=30))
def test_events_in_any_order_keep_the_order_of_what_is_told(lines: list[tuple[bytes, bytes]]) -> None:
    """Events of all the fixtures shuffled, lost and doubled: parts begin once, end once, and before their choice."""
    ends = [(b"messageStop", b'{"stopReason":"end_turn"}'), (b"metadata", b"{}")]
    assert_storable(read([event(name.decode(), payload) for name, payload in [*lines, *ends]]))


@given(st.sampled_from(list(STREAMS)), st.lists(st.integers(0, 20_000), max_size=40))
def test_cuts_change_nothing(name: str, cuts: list[int]) -> None:
    """However a stream is cut, the record is the same."""
    data = b"".join(framed(STREAMS[name]))
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    assert read([data[a:b] for a, b in pairwise(bounds)]) == read([data])


@given(
    st.sampled_from([*STREAMS.values(), *BODIES.values()]),
    st.lists(st.tuples(st.integers(0, 20_000), st.sampled_from([b'"', b"{", b"null", b"\xff", b"\\ud83d", b""]))),
)
def test_damaged_bytes_are_read_as_far_as_they_go(original: bytes, damages: list[tuple[int, bytes]]) -> None:
    """Lost and strange bytes, in frames, in payloads and in bodies, raise nothing."""
    data = bytearray(original)
    for at, put in damages:
        place = at % (len(data) + 1)
        data[place : place + 3] = put
    assert_storable(CONVERSE.read_response(bytes(data)))
    msgspec.json.encode(CONVERSE.read_conversation(bytes(data), "/model/m/converse"))
    assert_storable(read([bytes(data)]))
    lines = [line.partition(b" ") for line in bytes(data).splitlines()]
    names = [name.decode("ascii", "ignore")[:30] for name, _, _ in lines]
    assert_storable(read([event(name, payload) for name, (_, _, payload) in zip(names, lines, strict=True)]))


def test_an_endless_stream_is_kept_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Content beyond the limit is counted and left; the usage and the end are read all the same."""
    monkeypatch.setattr(stream_reader, "KEPT_MAX", 1_500_000)
    reader = CONVERSE.stream_reader()
    large = b'{"contentBlockIndex":0,"delta":{"text":"%s"}}' % (b"x" * 1_000_000)
    for name, payload in [
        ("contentBlockDelta", large),
        ("contentBlockDelta", large),
        ("contentBlockStart", b'{"contentBlockIndex":1,"start":{"toolUse":{"name":"late"}}}'),
        ("contentBlockDelta", b'{"contentBlockIndex":9,"delta":{"text":"late"}}'),
        ("metadata", b'{"usage":{"inputTokens":1,"outputTokens":2}}'),
    ]:
        reader.feed(event(name, payload))
    answered = reader.response()
    assert reader.ended
    assert reader.unread == 3
    assert answered.usage == Usage(input_tokens=1, output_tokens=2, total_tokens=3)
    assert 1_000_000 < len(msgspec.json.encode(answered)) < 1_001_000
