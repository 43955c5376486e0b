import struct
from collections.abc import Iterable
from itertools import pairwise
from uuid import UUID
from zlib import crc32

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.wire.eventstream import EventStreamDecoder, event, exception, frame
from gateway.dialects.wire.sse import Event

NAMES = st.text("abcdefghijklmnopqrstuvwxyz:-", min_size=1, max_size=20)
HEADERS = st.dictionaries(NAMES, st.text(max_size=40).filter(lambda value: len(value.encode()) < 1000), max_size=6)
PAYLOADS = st.binary(max_size=300)


def signed(body: bytes, headers_length: int) -> bytes:
    """Put a prelude before headers and payload, and a checksum after."""
    lengths = struct.pack(">II", 16 + len(body), headers_length)
    head = lengths + struct.pack(">I", crc32(lengths)) + body
    return head + struct.pack(">I", crc32(head))


def header(name: str, kind: int, value: bytes) -> bytes:
    """Write one header of any type."""
    return bytes([len(name)]) + name.encode() + bytes([kind]) + value


def sized(value: bytes) -> bytes:
    """Put a length before a value."""
    return len(value).to_bytes(2, "big") + value


def decoded(pieces: Iterable[bytes]) -> list[Event]:
    """Feed pieces to a new decoder that must not drop anything."""
    decoder = EventStreamDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    assert decoder.dropped == 0
    return events


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut bytes at places."""
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


@given(HEADERS, PAYLOADS)
def test_a_frame_is_what_botocore_reads(headers: dict[str, str], payload: bytes) -> None:
    """Botocore takes each frame, with both checksums, and finds in it what was put there."""
    buffer = EventStreamBuffer()
    buffer.add_data(frame(headers.items(), payload))
    (message,) = list(buffer)
    assert message.headers == headers
    assert message.payload == payload


@given(st.lists(st.tuples(st.sampled_from(["messageStart", "x"]), PAYLOADS), max_size=8), st.lists(st.integers(0)))
def test_events_are_read_wherever_they_are_cut(events: list[tuple[str, bytes]], cuts: list[int]) -> None:
    """However the bytes are split, the events are the same, and botocore's."""
    data = b"".join(event(*each) for each in events)
    assert decoded(cut(data, cuts)) == [Event(*each) for each in events]
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    assert [(m.headers[":event-type"], m.payload) for m in buffer] == events


def test_byte_by_byte_is_the_same() -> None:
    """The worst of all cuts changes nothing, and each event comes with its last byte."""
    frames = [event("a", b"{}"), event("b", b""), exception("c", b'{"message":"m"}')]
    decoder = EventStreamDecoder()
    came = [(i, e.name) for i, b in enumerate(b"".join(frames)) for e in decoder.feed(bytes([b]))]
    ends = [len(b"".join(frames[: n + 1])) - 1 for n in range(3)]
    assert came == list(zip(ends, ["a", "b", "exception c"], strict=True))


def test_headers_of_every_type_are_passed_over() -> None:
    """A frame may have headers of all ten types; botocore and we read the same frame."""
    identity = UUID("12345678-1234-5678-1234-567812345678").bytes
    headers = b"".join(
        [
            header("true", 0, b""),
            header("false", 1, b""),
            header("byte", 2, b"\x07"),
            header("short", 3, b"\0\x07"),
            header("integer", 4, b"\0\0\0\x07"),
            header("long", 5, b"\0\0\0\0\0\0\0\x07"),
            header("bytes", 6, sized(b"\xff\0")),
            header("string", 7, sized("wörd".encode())),
            header("timestamp", 8, b"\0\0\0\0\0\0\0\x07"),
            header("uuid", 9, identity),
            header(":event-type", 7, sized(b"messageStop")),
            header(":message-type", 7, sized(b"event")),
        ]
    )
    data = signed(headers + b"payload", len(headers))
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    (message,) = list(buffer)
    assert message.headers["uuid"] == identity
    assert decoded([data]) == [Event("messageStop", b"payload")]


@pytest.mark.parametrize(
    ("headers", "payload", "read"),
    [
        ({":message-type": "event", ":event-type": "e"}, b"x", Event("e", b"x")),
        ({":event-type": "e"}, b"x", Event("e", b"x")),
        ({}, b"x", Event("", b"x")),
        ({":message-type": "exception", ":exception-type": "busy"}, b"{}", Event("exception busy", b"{}")),
        (
            {":message-type": "error", ":error-code": "Internal", ":error-message": "sorry"},
            b"",
            Event("error Internal", b'{"message":"sorry"}'),
        ),
        ({":message-type": "error"}, b"", Event("error ", b'{"message":""}')),
    ],
)
def test_a_frames_kind_is_in_its_name(headers: dict[str, str], payload: bytes, read: Event) -> None:
    """Events, exceptions and errors are distinguished; an error's message is its data."""
    assert decoded([frame(headers.items(), payload)]) == [read]


def test_a_message_type_nobody_knows_is_counted() -> None:
    """A message that is neither event, exception nor error is dropped, and the next is read."""
    decoder = EventStreamDecoder()
    assert decoder.feed(frame([(":message-type", "novel")], b"x") + event("e", b"")) == [Event("e", b"")]
    assert decoder.dropped == 1


@pytest.mark.parametrize("at", [12, 20, -5, -1])
def test_a_damaged_frame_is_dropped_alone(at: int) -> None:
    """A flipped bit in headers, payload or checksum costs the frame, not the next."""
    damaged = bytearray(event("first", b'{"a":1}'))
    damaged[at] ^= 4
    decoder = EventStreamDecoder()
    assert decoder.feed(bytes(damaged) + event("second", b"")) == [Event("second", b"")]
    assert decoder.dropped == 1


@pytest.mark.parametrize("at", [0, 3, 7, 8, 11])
def test_a_damaged_prelude_ends_the_reading(at: int) -> None:
    """Without a length the next frame cannot be found: all of it is passed over, nothing is collected."""
    damaged = bytearray(event("first", b"{}"))
    damaged[at] ^= 4
    decoder = EventStreamDecoder()
    assert decoder.feed(event("zeroth", b"") + bytes(damaged) + event("second", b"")) == [Event("zeroth", b"")]
    assert decoder.feed(event("third", b"")) == []
    assert decoder.dropped == 1
    assert "pending=0" in repr(decoder)


@pytest.mark.parametrize("lengths", [(15, 0), (16, 1), (40, 25), (2**20, 2**18)])
def test_lengths_that_cannot_be_are_a_damaged_prelude(lengths: tuple[int, int]) -> None:
    """A frame shorter than its parts is none, even where the prelude's checksum is right."""
    prelude = struct.pack(">II", *lengths)
    decoder = EventStreamDecoder()
    assert decoder.feed(prelude + struct.pack(">I", crc32(prelude)) + bytes(100)) == []
    assert decoder.dropped == 1


@pytest.mark.parametrize("size", [1, 7, 60, 5000])
def test_a_frame_over_the_limit_is_passed_over(size: int) -> None:
    """It is counted and never collected, and what follows it is read."""
    data = event("small", b"1") + event("large", bytes(5000)) + event("small", b"2")
    decoder = EventStreamDecoder(limit=1000)
    events = []
    for at in range(0, len(data), size):
        events += decoder.feed(data[at : at + size])
        assert len(decoder._pending) <= 1000
    assert events == [Event("small", b"1"), Event("small", b"2")]
    assert decoder.dropped == 1


def test_a_frame_of_the_limit_is_read() -> None:
    """The limit itself is allowed."""
    data = event("e", bytes(500))
    assert len(EventStreamDecoder(limit=len(data)).feed(data)) == 1
    assert EventStreamDecoder(limit=len(data) - 1).feed(data) == []


@pytest.mark.parametrize(
    "headers",
    [
        b"\x05ab",  # a name longer than what is there
        b"\x01a",  # no type
        b"\x01a\x0a",  # a type that is none
        b"\x01a\x07\x00\x09b",  # a value longer than what is there
        b"\x01a\x07\x00",  # half a length
        b"\x01a\x04\x00\x00",  # half an integer
    ],
)
def test_headers_that_are_none_cost_their_frame(headers: bytes) -> None:
    """A frame whose checksums are right and whose headers are not is dropped."""
    decoder = EventStreamDecoder()
    assert decoder.feed(signed(headers, len(headers)) + event("e", b"")) == [Event("e", b"")]
    assert decoder.dropped == 1


@given(st.lists(st.binary(max_size=100)))
def test_garbage_raises_nothing(pieces: list[bytes]) -> None:
    """Random bytes are counted at most."""
    decoder = EventStreamDecoder()
    for piece in pieces:
        decoder.feed(piece)
    assert decoder.dropped <= 1


@given(HEADERS, PAYLOADS, st.integers(0), st.integers(0, 7))
def test_a_flipped_bit_is_seen(headers: dict[str, str], payload: bytes, at: int, bit: int) -> None:
    """No damaged frame passes for a whole one."""
    data = bytearray(frame(headers.items(), payload))
    data[at % len(data)] ^= 1 << bit
    decoder = EventStreamDecoder()
    assert decoder.feed(bytes(data)) == []
    assert decoder.dropped == 1
