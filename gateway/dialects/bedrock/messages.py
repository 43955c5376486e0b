"""A conversation's messages as Converse's turns: the system apart, user and assistant in turn. Pure."""

from typing import Any

import msgspec

from gateway.dialects.bedrock.read_blocks import NAME
from gateway.dialects.conversation import ChatRequest, Message, Other, Part, Text, ToolCall, ToolCallResponse
from gateway.dialects.shared.unsupported import Dropped

Placed = tuple[Part, str]
"""A part, and the path where it stands in the conversation."""

_IN_PLACE = frozenset({"toolAddition", "toolRemoval"})  # a system's turn that has no meaning elsewhere


class Turn(msgspec.Struct):
    """One turn of Converse's: its role, its parts, and what else it had in this dialect."""

    role: str
    parts: list[Placed]
    extra: dict[str, Any]


def turns(asked: ChatRequest, dropped: Dropped) -> tuple[list[Placed], list[Turn]]:
    """Return the system's parts and the turns; messages of one side that follow each other are one turn."""
    system: list[Placed] = [(part, f"system[{i}]") for i, part in enumerate(asked.system_instructions)]
    made: list[Turn] = []
    for number, message in enumerate(with_ids(asked.input_messages)):
        path = f"messages[{number}]"
        parts = _named(message, path, dropped)
        dropped.foreign(message.extra, NAME, path)
        role = "user" if message.role == "tool" else message.role
        if role in {"system", "developer"} and not _stays(message):
            system += parts
            continue
        role = role if role in {"assistant", "system"} else "user"
        if not made or made[-1].role != role:
            made.append(Turn(role=role, parts=[], extra={}))
        made[-1].parts += parts
        made[-1].extra |= message.extra.get(NAME, {})
    return system, made


def _stays(message: Message) -> bool:
    return any(isinstance(part, Other) and part.kind in _IN_PLACE for part in message.parts)


def _named(message: Message, path: str, dropped: Dropped) -> list[Placed]:
    """Return the message's parts; a name, which Converse has no place for, stands before the first text."""
    parts: list[Placed] = [(part, f"{path}.parts[{i}]") for i, part in enumerate(message.parts)]
    if not message.name:
        return parts
    for i, (part, at) in enumerate(parts):
        if isinstance(part, Text):
            parts[i] = (msgspec.structs.replace(part, content=f"{message.name}: {part.content}"), at)
            return parts
    dropped.add(f"{path}.name")
    return parts


def with_ids(messages: list[Message]) -> list[Message]:
    """Return messages in which every tool call and result has an id: one without gets `call_<n>`.

    A result without an id is of the first call of its tool, else the first call at all, that still waits for one.
    """
    if all(getattr(part, "id", "") for message in messages for part in message.parts if isinstance(part, _CALLS)):
        return messages
    waiting: list[tuple[str, str]] = []
    count = 0

    def identified(part: Part) -> Part:
        nonlocal count
        if isinstance(part, ToolCall):
            number = part.id or f"call_{count}"
            count += 1
            waiting.append((part.name, number))
            return msgspec.structs.replace(part, id=number)
        if not isinstance(part, ToolCallResponse):
            return part
        fits = [call for call in waiting if (part.id == call[1] if part.id else call[0] == part.name)]
        call = next(iter(fits or ([] if part.id else waiting)), None)
        if call is not None:
            waiting.remove(call)
        return msgspec.structs.replace(part, id=part.id or (call[1] if call else f"call_{count}"))

    return [
        msgspec.structs.replace(message, parts=[identified(part) for part in message.parts]) for message in messages
    ]


_CALLS = ToolCall | ToolCallResponse


def tools_used(messages: list[Message]) -> list[str]:
    """Return the names of the tools that were called so far, each once."""
    called = [part.name for message in messages for part in message.parts if isinstance(part, ToolCall)]
    return list(dict.fromkeys(called))
