"""What all vocabularies need: the facts of a span that are no attributes, new names for old, and content as values."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

Attributes = dict[str, Any]


class Facts(NamedTuple):
    """What a span says outside its attributes: SERVER is an exchange, CLIENT an attempt; Unix nanoseconds."""

    kind: str
    start_ns: int
    duration_ns: int | None = None


def renamed(attributes: Mapping[str, Any], names: Mapping[str, str]) -> Attributes:
    """Return attributes under other names, in order; where the other name is taken, the one they have."""
    said: Attributes = {}
    for name, value in attributes.items():
        other = names.get(name, name)
        said[name if other in attributes or other in said else other] = value
    return said


def listed(value: Any) -> list[dict[str, Any]] | None:
    """Return content (a JSON list of objects as text) as a value; None for what is none."""
    if not isinstance(value, str | bytes):
        return None
    try:
        items = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
    return items if isinstance(items, list) and all(isinstance(item, dict) for item in items) else None


def parts_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a message that are such."""
    parts = message.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def texts_of(parts: list[dict[str, Any]]) -> Iterator[str]:
    """Give the plain texts among parts."""
    for part in parts:
        if part.get("type") == "text" and isinstance(part.get("content"), str):
            yield part["content"]


def text_of(value: Any) -> str:
    """Return a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
