"""Gemini's contents, the turns of a conversation, as messages."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from gateway.dialects.conversation import Message, Other, Part, Reasoning, Text, ToolCallResponse
from gateway.dialects.gemini.read_parts import NAME, read_part, rest
from gateway.dialects.shared.tool_ids import identified
from gateway.dialects.wire.json import fields, objects_or_one, text


def read_contents(contents: Any, *, full: bool) -> list[Message]:
    """Read the turns. For a translation (`full`) nothing is left out, and each call has an id."""
    if isinstance(contents, str):
        return [Message(role="user", parts=[Text(content=contents)])]
    messages = _joined([message for content in objects_or_one(contents) for message in _messages(content, full=full)])
    return identified(messages) if full else messages


def read_system(content: Any, *, full: bool) -> list[Part]:
    """Read a system instruction."""
    if isinstance(content, str):
        return [Text(content=content)] if content else []
    return read_parts(fields(content), full=full)


def read_parts(content: dict[str, Any], *, full: bool = True) -> list[Part]:
    """Read the parts of one content; empty ones are skipped."""
    return [part for each in objects_or_one(content.get("parts")) if (part := read_part(each, full=full)) is not None]


def _messages(content: dict[str, Any], *, full: bool) -> list[Message]:
    """Read one turn; tool results, which stand in the user's, become turns of the role tool."""
    word = text(content.get("role")) or "user"
    role = {"model": "assistant", "function": "user"}.get(word, word)
    own = rest(content, frozenset({"role", "parts"})) if full else {}
    messages: list[Message] = []
    for part in read_parts(content, full=full):
        part_role = "tool" if isinstance(part, ToolCallResponse) else role
        if not messages or messages[-1].role != part_role:
            messages.append(Message(role=part_role, parts=[], extra={NAME: own} if own else {}))
        messages[-1].parts.append(part)
    return messages or [Message(role=role, parts=[], extra={NAME: own} if own else {})]


def _joined(messages: list[Message]) -> list[Message]:
    """Join consecutive contents of the model: google-genai's chats send back each event of a stream as one."""
    joined: list[Message] = []
    for message in messages:
        last = joined[-1] if joined else None
        if last is not None and last.role == message.role == "assistant" and last.extra == message.extra:
            last.parts.append(_SEAM)
            last.parts.extend(message.parts)
        else:
            joined.append(message)
    for message in joined:
        if any(part is _SEAM for part in message.parts):
            message.parts[:] = _without_seams(message.parts)
    return joined


# Between the parts of two contents.
_SEAM = Other(kind="seam", dialect=NAME)


def _without_seams(parts: list[Part]) -> Iterator[Part]:
    """Give the parts; texts of one kind at a seam are one, up to a signature."""
    growing: Text | Reasoning | None = None
    pieces: list[str] = []
    at_seam = False
    for part in parts:
        if part is _SEAM:
            at_seam = True
            continue
        if at_seam and isinstance(part, Text | Reasoning) and type(part) is type(growing) and not growing.extra:
            pieces.append(part.content)
            growing = part
        else:
            if growing is not None:
                yield replace(growing, content="".join(pieces))
            growing, pieces = (part, [part.content]) if isinstance(part, Text | Reasoning) else (None, [])
            if growing is None:
                yield part
        at_seam = False
    if growing is not None:
        yield replace(growing, content="".join(pieces))
