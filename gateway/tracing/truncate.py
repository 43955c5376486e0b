"""Truncation of content for a sink: JSON is truncated inside its texts, so that it stays valid. Pure."""

from typing import Any

import msgspec

_SHORTEST = 16
# Bytes of the note on missing characters at the end of a truncated text, at least.
_NOTE = 23


def truncate_messages(encoded: bytes, limit: int) -> str:
    """Return a JSON list of messages (or parts, or tools) in at most `limit` bytes, valid and of the same schema.

    Texts are truncated first, each with a note on how much is missing. If that is not enough, items are dropped from
    the middle, since the first and the last ones are the most informative.
    """
    if len(encoded) <= limit:
        return encoded.decode()
    items = msgspec.json.decode(encoded)
    sizes: list[int] = []
    bare = len(msgspec.json.encode(_emptied(items, sizes)))
    length = limit // 2
    # The length is estimated first, by lower bounds: encoding everything for each length would take seconds.
    while length >= _SHORTEST and bare + sum(size if size <= length else length + _NOTE for size in sizes) > limit:
        length //= 2
    while length >= _SHORTEST:
        cut = msgspec.json.encode(_cut(items, length))
        if len(cut) <= limit:
            return cut.decode()
        length //= 2
    if not isinstance(items, list):
        return "[]"
    half = limit // 2 + 1  # an item and its comma have at least two bytes: no more can stay at either end
    rest = _cut(items if len(items) <= 2 * half else items[:half] + items[-half:], _SHORTEST)
    while rest:
        middle = len(rest) // 2
        rest = rest[: middle // 2] + rest[len(rest) - middle // 2 :] if middle > 1 else rest[1:]
        encoded = msgspec.json.encode(rest)
        if len(encoded) <= limit:
            return encoded.decode()
    return "[]"


def truncate_json(encoded: bytes, limit: int) -> bytes:
    """Return any JSON value in about `limit` bytes: with truncated texts, or else as a text itself."""
    if len(encoded) <= limit:
        return encoded
    cut = truncate_messages(encoded, limit).encode()
    return cut if cut != b"[]" else truncated_text(encoded, limit // 2)


def truncated_text(encoded: bytes, size: int) -> bytes:
    """Return the first `size` bytes of a JSON value as a JSON string, with a note on how much is missing."""
    return msgspec.json.encode(f"{encoded[:size].decode(errors='ignore')}… [{len(encoded) - size} more bytes]")


def as_utf8(text: str) -> str:
    """Return a text that can be encoded as UTF-8: other bytes, which a header may have held, become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _emptied(value: Any, sizes: list[int]) -> Any:
    """Return a JSON value without its texts, and add their lengths to `sizes`."""
    if isinstance(value, str):
        sizes.append(len(value))
        return ""
    if isinstance(value, list):
        return [_emptied(item, sizes) for item in value]
    if isinstance(value, dict):
        return {key: _emptied(item, sizes) for key, item in value.items()}
    return value


def _cut(value: Any, length: int) -> Any:
    """Return a JSON value whose strings have at most `length` characters, and a note on how much is missing."""
    if isinstance(value, str):
        return value if len(value) <= length else f"{value[:length]}… [{len(value) - length} more characters]"
    if isinstance(value, list):
        return [_cut(item, length) for item in value]
    if isinstance(value, dict):
        return {key: _cut(item, length) for key, item in value.items()}
    return value
