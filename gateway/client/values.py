"""What an application hands over, as JSON: whatever it is, and never an exception. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

# Bytes of one input, output, or the like.
LARGEST = 1 << 20
# Characters of what has no JSON of its own.
_REPR = 4096
_DEPTH = 16
_ITEMS = 10_000


def encoded(value: object, largest: int = LARGEST) -> msgspec.Raw:
    """Return JSON of any value; as a string, cut off, where it takes more than `largest` bytes."""
    data = _json(value)
    return msgspec.Raw(data if len(data) <= largest else _encoder.encode(_cut(data, largest)))


def encoded_object(value: Mapping[str, Any], largest: int = LARGEST) -> msgspec.Raw:
    """Return a JSON object of a mapping; `{"truncated": "..."}` where it takes more than `largest` bytes."""
    data = _json(dict(value) if isinstance(value, Mapping) else {"value": value})
    return msgspec.Raw(data if len(data) <= largest else _encoder.encode({"truncated": _cut(data, largest)}))


def text(value: object) -> str:
    """Return what can be written as UTF-8."""
    said = value if isinstance(value, str) else _shown(value)
    return said.encode("utf-8", "replace").decode()


def texts(values: Iterable[object]) -> list[str]:
    """Return a list of texts; a text by itself is the only one."""
    return [text(values)] if isinstance(values, str) else [text(value) for value in values]


def _json(value: object) -> bytes:
    try:
        return _encoder.encode(value)
    except Exception:  # a circle, keys that are no text, half a surrogate pair
        return _encoder.encode(_plain(value, _DEPTH, [_ITEMS]))


def _other(value: object) -> object:
    """Return what stands for a value that msgspec does not know."""
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(type(value), "model_dump", None)
    if callable(dump):  # pydantic's
        return dump(value, mode="json")
    return _shown(value)


_encoder = msgspec.json.Encoder(enc_hook=_other)


def _plain(value: object, depth: int, left: list[int]) -> object:
    """Return a copy that certainly can be encoded; `left` counts down how many items it may still have."""
    left[0] -= 1
    if value is None or isinstance(value, bool | float):
        return value
    if depth and isinstance(value, Mapping):
        return {text(key): _plain(each, depth - 1, left) for key, each in value.items() if left[0] > 0}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_plain(each, depth - 1, left) for each in value if left[0] > 0]
    try:
        _encoder.encode(value)
    except Exception:
        return text(value)
    return value


def _shown(value: object) -> str:
    try:
        said = repr(value)
    except Exception:
        return f"<{type(value).__name__}>"
    return said if len(said) <= _REPR else said[:_REPR] + "…"


def _cut(data: bytes, largest: int) -> str:
    return data[:largest].decode("utf-8", "ignore") + "…"
