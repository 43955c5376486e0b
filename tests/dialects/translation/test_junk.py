import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dialects import events
from gateway.dialects.conversation import ChatRequest
from gateway.dialects.events import synthesize
from tests.dialects.damage import variants
from tests.dialects.pairs import FIXTURES, REQUESTS, SPOKEN, STREAMS, WHOLE, family, pieces_of
from tests.support.examples import examples

NOW = 1795162800.25
ASKED = ChatRequest(operation="chat", model="m", stream=True, include_usage=True)
LINES = [name for name in STREAMS if not name.endswith(".events")]
_JUNK = [b'"', b"{", b"}", b"null", b"\n\n", b"\r", b"\xff", b"1e999", b"\\ud83d", b'"index":9,', b'"type":"x",']


def write_in_all(emitted: list[events.Event]) -> None:
    """Write the events in every dialect, with each kind of event after them."""
    for spoken in SPOKEN.values():
        writer = spoken.writer.stream(ASKED, NOW)
        for event in [*emitted, events.Broken(message="gone")]:
            assert isinstance(writer.write(event), bytes)
        assert all(isinstance(name, str) for name in writer.dropped)


@examples(200)
@given(name=st.sampled_from(LINES), data=st.data())
def test_a_damaged_stream_is_written_as_far_as_it_goes(name: str, data: st.DataObject) -> None:
    """Whatever a provider sends, what was read of it can be written in every dialect, and nothing raises."""
    stream = bytearray(b"".join(pieces_of(name)))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(stream)))
        if data.draw(st.booleans()):
            del stream[at : at + data.draw(st.integers(1, 40))]
        else:
            stream[at:at] = data.draw(st.sampled_from(_JUNK))
    reader = SPOKEN[family(name)].dialect.stream_reader()
    reader.events = []
    reader.feed(bytes(stream))
    write_in_all(reader.events)


@pytest.mark.parametrize("name", STREAMS)
def test_events_lost_doubled_or_swapped_are_written_as_far_as_they_go(name: str) -> None:
    """Parts that never began, that began twice or that go on after their end stop nothing."""
    pieces = pieces_of(name)
    for number in range(len(pieces)):
        for changed in (
            pieces[:number] + pieces[number + 1 :],
            [*pieces[: number + 1], *pieces[number:]],
            [*pieces[:number], *pieces[number : number + 2][::-1], *pieces[number + 2 :]],
        ):
            reader = SPOKEN[family(name)].dialect.stream_reader()
            reader.events = []
            reader.feed(b"".join(changed))
            write_in_all(reader.events)


@pytest.mark.parametrize(
    "name", ["chat_tools.sse", "messages_thinking_tools.sse", "responses_text.sse", "chat_text.sse"]
)
def test_values_of_other_types_in_a_stream_are_written_as_far_as_they_go(name: str) -> None:
    """Nulls, numbers as strings and lists for objects, anywhere in an event."""
    pieces = pieces_of(name)
    for number, piece in enumerate(pieces):
        head, _, body = piece.partition(b"data: ")
        for document in variants(json.loads(body)) if body.startswith(b"{") else ():
            changed = head + b"data: " + json.dumps(document).encode() + b"\n\n"
            reader = SPOKEN[family(name)].dialect.stream_reader()
            reader.events = []
            reader.feed(b"".join([*pieces[:number], changed, *pieces[number + 1 :]]))
            write_in_all(reader.events)


@pytest.mark.parametrize("name", REQUESTS)
def test_values_of_other_types_in_a_request_are_written_as_far_as_they_go(name: str) -> None:
    """A request that its own provider would refuse is read, and written in every dialect, without raising."""
    spoken = SPOKEN[family(name)]
    for document in variants(json.loads((FIXTURES / name).read_bytes())):
        asked = replace(spoken.asked(json.dumps(document).encode()), model="m")
        for each in SPOKEN.values():
            written = each.writer.request(asked)
            assert isinstance(json.loads(written.body), dict)


@pytest.mark.parametrize(("name", "to"), list(product(WHOLE, SPOKEN)))
def test_values_of_other_types_in_a_response_are_written_as_far_as_they_go(name: str, to: str) -> None:
    """The same of whole responses, written whole and as a stream."""
    spoken = SPOKEN[to]
    for document in variants(json.loads((FIXTURES / name).read_bytes())):
        answered = SPOKEN[family(name)].dialect.read_response(json.dumps(document).encode())
        written, _ = spoken.writer.response(answered, replace(ASKED, stream=False), NOW)
        assert json.loads(written)
        writer = spoken.writer.stream(ASKED, NOW)
        assert b"".join([writer.write(event) for event in synthesize(answered)])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"7", b"[" * 9999])
@pytest.mark.parametrize("by", SPOKEN)
def test_a_body_that_is_no_request_is_an_empty_one(by: str, body: bytes) -> None:
    """An unreadable body gives an empty request."""
    asked = SPOKEN[by].asked(body)
    assert (asked.input_messages, asked.system_instructions, asked.tools) == ([], [], [])
