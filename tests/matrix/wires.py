"""Framing that the scripted providers share."""

import json
from typing import Any, NamedTuple


class Piece(NamedTuple):
    """A part of a stream, and what a client can know once it has come: ("text", "Good "), ("call", '{"city":')."""

    data: bytes
    tells: tuple[str, str] | None = None


def nothing(left: dict[str, Any]) -> None:
    """Require that all fields were known."""
    assert not left, f"unknown fields: {left}"


def only(value: dict[str, Any], **fields: Any) -> None:
    """Require that a value is made of these fields."""
    assert value == fields


def sse(data: dict[str, Any], name: str | None = None) -> bytes:
    """Write a server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
