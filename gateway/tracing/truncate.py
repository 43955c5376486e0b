"""Content made to fit: JSON that is too long for a sink is cut inside its texts, so that it stays valid JSON. Pure."""

from typing import Any

import msgspec

_SHORTEST = 16
# What a cut text has more than its characters, at least: the word on what is missing.
_WORD = 23


def bounded(encoded: bytes, limit: int) -> str:
    """Return a JSON list of messages (or parts, or tools) in at most `limit` bytes, valid and of the same schema.

    Texts are cut first, each saying how much is missing; where that is not enough, items from the middle go, since the
    first and the last say most.
    """
    if len(encoded) <= limit:
        return encoded.decode()
    items = msgspec.json.decode(encoded)
    sizes: list[int] = []
    bare = len(msgspec.json.encode(_emptied(items, sizes)))
    length = limit // 2
    # By arithmetic first, with as little as each text may take: a pass over everything for each length costs seconds.
    while length >= _SHORTEST and bare + sum(size if size <= length else length + _WORD for size in sizes) > limit:
        length //= 2
    while length >= _SHORTEST:
        cut = msgspec.json.encode(_cut(items, length))
        if len(cut) <= limit:
            return cut.decode()
        length //= 2
    if not isinstance(items, list):
        return "[]"
    half = limit // 2 + 1  # an item and its comma have two bytes at least: no more than this can stay at either end
    kept = _cut(items if len(items) <= 2 * half else items[:half] + items[-half:], _SHORTEST)
    while kept:
        middle = len(kept) // 2
        kept = kept[: middle // 2] + kept[len(kept) - middle // 2 :] if middle > 1 else kept[1:]
        encoded = msgspec.json.encode(kept)
        if len(encoded) <= limit:
            return encoded.decode()
    return "[]"


def fitted(encoded: bytes, limit: int) -> bytes:
    """Return any JSON value in about `limit` bytes: its texts are cut, and where that is not enough it becomes one."""
    if len(encoded) <= limit:
        return encoded
    cut = bounded(encoded, limit).encode()
    return cut if cut != b"[]" else text_of(encoded, limit // 2)


def text_of(encoded: bytes, kept: int) -> bytes:
    """Return the first `kept` bytes of a JSON value as a string of JSON, which says how much is missing."""
    return msgspec.json.encode(f"{encoded[:kept].decode(errors='ignore')}… [{len(encoded) - kept} more bytes]")


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
    """Return a JSON value whose strings have at most `length` characters, and a word on what is missing."""
    if isinstance(value, str):
        return value if len(value) <= length else f"{value[:length]}… [{len(value) - length} more characters]"
    if isinstance(value, list):
        return [_cut(item, length) for item in value]
    if isinstance(value, dict):
        return {key: _cut(item, length) for key, item in value.items()}
    return value
