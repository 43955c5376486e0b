"""Ollama's messages as parts of the conversation.

A message has one text, one thought, images in base64 and tool calls whose arguments are objects. Older servers give
calls no ids.
"""

from base64 import b64decode
from typing import Any

import msgspec

from gateway.dialects.conversation import (
    Blob,
    Message,
    Other,
    Part,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
    ToolCallResponse,
    tool_answer,
)
from gateway.dialects.shared.extra import own
from gateway.dialects.wire.json import UNREADABLE, fields, json_value, objects, text

NAME = "ollama"


# First bytes of images, decoded: the API has no media types, and other dialects need them. Sound is in the same field.
_BEGINNINGS = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)


_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}


Json = dict[str, Any]  # fields of the wire's objects


_MESSAGE = frozenset({"role", "content", "thinking", "images", "tool_calls", "tool_name", "tool_call_id", "name"})


def image(content: str) -> Blob:
    """Read an image, or a sound, in base64."""
    try:
        head = b64decode(content[:16])
    except ValueError:
        head = b""
    mime_type = _RIFF.get(head[8:12]) if head.startswith(b"RIFF") else None
    mime_type = mime_type or next((mime for start, mime in _BEGINNINGS if head.startswith(start)), None)
    modality = "audio" if mime_type is not None and mime_type.startswith("audio") else "image"
    return Blob(modality=modality, mime_type=mime_type, content=content)


def images(values: Any) -> list[Part]:
    """Read a list of images."""
    return [image(value) for value in values if text(value)] if isinstance(values, list) else []


def tool_call(call: dict[str, Any], call_id: str | None = None) -> ToolCall:
    """Read a tool call; `call_id` is the id of a call without one."""
    function = fields(call.get("function"))
    arguments = json_value(function.get("arguments"))
    rest = {k: v for k, v in call.items() if k not in {"id", "type", "function"}}
    if named := {k: v for k, v in function.items() if k not in {"index", "name", "arguments"}}:
        rest["function"] = named
    return ToolCall(
        id=text(call.get("id")) or call_id,
        name=text(function.get("name")) or "",
        arguments={} if arguments is None else arguments,
        extra=own(NAME, rest),
    )


def arguments_text(call: ToolCall) -> str:
    """Return a call's arguments as JSON text."""
    return call.arguments if isinstance(call.arguments, str) else _json(call.arguments)


def message(turn: dict[str, Any]) -> Message:
    """Read one message of a request."""
    role = (text(turn.get("role")) or "user").lower()
    parts: list[Part] = []
    if thought := text(turn.get("thinking")):
        parts.append(Reasoning(content=thought))
    content = turn.get("content")
    if isinstance(content, str):
        parts += [Text(content=content)] if content else []
    elif content is not None:
        parts.append(Other(kind="content", value=content, dialect=NAME))
    parts += images(turn.get("images"))
    extra = own(NAME, {k: v for k, v in turn.items() if k not in _MESSAGE and v is not None})
    if role == "tool":
        result = ToolCallResponse(
            id=text(turn.get("tool_call_id")),
            name=text(turn.get("tool_name")) or text(turn.get("name")),
            response=tool_answer(parts),
        )
        return Message(role=role, parts=[result], extra=extra)
    parts += [tool_call(call) for call in objects(turn.get("tool_calls"))]
    return Message(role=role, parts=parts, name=text(turn.get("name")), extra=extra)


def logprobs(values: Any) -> list[TokenLogprob]:
    """Read the log probabilities of some tokens."""
    return [
        TokenLogprob(token=value["token"], logprob=float(value["logprob"]), top=logprobs(value.get("top_logprobs")))
        for value in objects(values)
        if isinstance(value.get("token"), str) and type(value.get("logprob")) in {int, float}
    ]


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except UNREADABLE:
        return str(value)
