"""A request body examined and edited without decoding it whole: a peek for routing, and another model's name.

Changing the model changes that one string's bytes and no other; a body that cannot be changed so is left as it is.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.wire.json import decode


class Peek(Struct, frozen=True, gc=False):
    """The facts of a body that routing needs: its model, whether it asks for a stream, and its shape.

    `fields` are the members of `_SHAPE` in the body, which differ from dialect to dialect.
    """

    model: str | None = None
    stream: bool = False
    fields: frozenset[str] = frozenset()


_SHAPE = ("messages", "input", "contents", "system", "max_completion_tokens", "response_format")


_ABSENT = Raw()


class _Body(Struct, gc=False):
    model: Any = None
    stream: Any = None
    messages: Raw = _ABSENT
    input: Raw = _ABSENT
    contents: Raw = _ABSENT
    system: Raw = _ABSENT
    max_completion_tokens: Raw = _ABSENT
    response_format: Raw = _ABSENT


_BODY = msgspec.json.Decoder(_Body)
_TEXT = msgspec.json.Decoder(str)
_SHAPES: dict[tuple[bool, ...], frozenset[str]] = {}


def peek(body: bytes) -> Peek:
    """Return the facts of a body; none for one that is no JSON object, or has values of other types."""
    read = decode(body, _BODY)
    if read is None:
        return Peek()
    there = tuple([getattr(read, field) is not _ABSENT for field in _SHAPE])
    fields = _SHAPES.get(there)
    if fields is None:  # a handful of shapes, seen again and again
        fields = _SHAPES[there] = frozenset(field for field, is_there in zip(_SHAPE, there, strict=True) if is_there)
    return Peek(read.model if isinstance(read.model, str) else None, read.stream is True, fields)


# In valid JSON this finds only keys that are, or end in, `model`: the quote after the word can only close a
# string, and a string before a colon is a key. So the group is always a whole value, if not always the right one.
_KEY = b'"model"'
_VALUE = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.)*")')


def rename_model(body: bytes, new: str) -> bytes | None:
    """Return the body with `new` as its top-level model, every other byte as it was; None if that is impossible.

    To find which of several is the top-level one, each is given a name of its own in a copy, and a decoder shows
    which it sees: two decodes, however many decoys there are.
    """
    places: dict[str, re.Match[bytes]] = {}
    marked: list[bytes] = []
    start = 0
    for place in _values(body):
        mark = f"{new}#{len(places)}"
        places[mark] = place
        marked += (body[start : place.start(1)], _string(mark))
        start = place.end(1)
    marked.append(body[start:])
    effective = places.get(peek(b"".join(marked)).model or "")
    if effective is None:
        return None
    renamed = b"%b%b%b" % (body[: effective.start(1)], _string(new), body[effective.end(1) :])
    return renamed if peek(renamed).model == new else None


def replace_models(body: bytes, old: str, new: str) -> bytes | None:
    """Return the body with `new` for each `model` that is `old`, at any depth; None if there is none.

    >>> replace_models(b'{"requests":[{"model":"models/a"},{"model" : "models/b"}]}', "models/a", "models/c")
    b'{"requests":[{"model":"models/c"},{"model" : "models/b"}]}'
    """
    pieces: list[bytes] = []
    start = 0
    for place in _values(body):
        if decode(place[1], _TEXT) == old:
            pieces += (body[start : place.start(1)], _string(new))
            start = place.end(1)
    return b"".join([*pieces, body[start:]]) if pieces else None


def _values(body: bytes) -> Iterator[re.Match[bytes]]:
    at = body.find(_KEY)
    while at >= 0:
        if value := _VALUE.match(body, at + len(_KEY)):
            yield value
        at = body.find(_KEY, at + len(_KEY))


def _string(value: str) -> bytes:
    return msgspec.json.encode(value)
