"""JSON of any shape read without raising, and objects merged.

Containers are typed, leaves are `Any` and are checked at their use, so that one odd value costs no
other. Bytes that are no valid JSON to a strict decoder, but are to many providers' own (invalid UTF-8, half a
surrogate pair, NaN), are read a second time on a slow path.
"""

import json
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from gateway.redaction import without_tool_secrets

T = TypeVar("T")

# Errors of decoding bytes from outside: ValueError is the root of msgspec's, json's and the codecs' errors.
UNREADABLE = (ValueError, RecursionError)


# The slow path takes some 10 ms a MiB, on the loop that relays for everybody.
_REPAIRED_MAX = 1024 * 1024


def decode(data: bytes, decoder: msgspec.json.Decoder[T]) -> T | None:
    """Decode, on the slow path if need be and the data is not large; None if it cannot be read."""
    try:
        return decoder.decode(data)
    except UNREADABLE:
        if len(data) > _REPAIRED_MAX:
            return None
        try:
            return decoder.decode(_repaired(data))
        except UNREADABLE:
            return None


def _repaired(data: bytes) -> bytes:
    value = json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _: None)
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def definitions(*candidates: msgspec.Raw) -> msgspec.Raw | None:
    """Return the first list of tools that is there and not null, on one line and without the keys in it."""
    for candidate in candidates:
        data = bytes(candidate)
        if data and data != b"null":
            return _sound(candidate, data)
    return None


def _sound(candidate: msgspec.Raw, data: bytes) -> msgspec.Raw:
    """Make JSON that a decoder passed over fit to be written as it is: UTF-8, no line ends, no secrets."""
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("utf-8", "replace").encode()
        candidate = msgspec.Raw(data)
    if b'"mcp"' in data or b"_token" in data:
        return msgspec.Raw(msgspec.json.encode(without_tool_secrets(msgspec.json.decode(data))))
    # A line end between two values would end the journal's line.
    return msgspec.Raw(msgspec.json.format(data, indent=-1)) if b"\n" in data or b"\r" in data else candidate


def text(value: Any) -> str | None:
    """Return a string that is not empty, else None."""
    return value if isinstance(value, str) and value else None


def count(value: Any) -> int | None:
    """Return a whole number that a span and a BIGINT column can hold, else None."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    return value if whole else None


def flag(value: Any) -> bool | None:
    """Return a boolean, None for anything else."""
    return value if isinstance(value, bool) else None


def fields(value: Any) -> dict[str, Any]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list; nothing for anything else."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict):
                yield item


def objects_or_one(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects of a list, or a lone object, which JSON parsers of protobuf accept in the place of a list."""
    return objects([value] if isinstance(value, dict) else value)


def json_value(source: Any) -> Any:
    """Return the value of a string of JSON, the string itself if it is invalid; None for an empty one."""
    if not isinstance(source, str):
        return source
    if not source:
        return None
    try:
        return msgspec.json.decode(source)
    except UNREADABLE:
        return source


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return both objects as one: members that are objects in both are merged, of any other `changes` wins."""
    both = dict(base)
    for key, value in changes.items():
        before = both.get(key)
        both[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return both


def without(whole: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that `merged` has to make to `base` for it to be `whole`."""
    rest: dict[str, Any] = {}
    for key, value in whole.items():
        known = base.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            if inner := without(value, known):
                rest[key] = inner
        elif key not in base or known != value:
            rest[key] = value
    return rest
