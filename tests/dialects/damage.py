"""Fixtures of every dialect, damaged, and checks of the records read from them."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st

from gateway.dialects.conversation import ChatResponse, Message
from tests.support.examples import sampled


def assert_storable(answered: ChatResponse) -> None:
    """Check that what was read can be written as JSON, and read back as what it was."""
    encoded = msgspec.json.encode(answered.output_messages)
    msgspec.json.decode(encoded, type=list[Message])
    json.loads(encoded.decode())


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


ODD = [
    None,
    True,
    -1,
    2**70,
    1.5,
    "text",
    "7",
    "\ud83d",
    [],
    {},
    [[]],
    [{}],
    {"type": [], "text": {}},
    {"text": {}, "name": []},
]


def variants(value: Any) -> Iterator[Any]:
    """Yield a document with each of its values in turn left out, or replaced by one of another type (a sample)."""
    return sampled(_variants(value))


def _variants(value: Any) -> Iterator[Any]:
    yield from ODD
    if isinstance(value, dict):
        for key, member in value.items():
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: changed} for changed in _variants(member))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from ([*value[:i], changed, *value[i + 1 :]] for changed in _variants(item))
