"""A conversation's messages as Converse's turns: the system apart, user and assistant in turn. Pure."""

from typing import Any

import msgspec

from gateway.dialects.bedrock.read_parts import NAME
from gateway.dialects.bedrock.write_parts import ID_FORM
from gateway.dialects.conversation import ChatRequest, Message, Other, Part, Text, ToolCall
from gateway.dialects.shared.tool_ids import identified
from gateway.dialects.shared.writer import Dropped

Placed = tuple[Part, str]
"""A part, and its path in the conversation."""

_IN_PLACE = frozenset({"toolAddition", "toolRemoval"})  # a system's turn that has no meaning elsewhere


class Turn(msgspec.Struct):
    """One turn of Converse's: its role, its parts, and its other fields in this dialect."""

    role: str
    parts: list[Placed]
    extra: dict[str, Any]


def turns(request: ChatRequest, dropped: Dropped) -> tuple[list[Placed], list[Turn]]:
    """Return the system's parts and the turns; messages of one side that follow each other are one turn."""
    system: list[Placed] = [(part, f"system[{i}]") for i, part in enumerate(request.system_instructions)]
    merged_turns: list[Turn] = []
    for number, message in enumerate(identified(request.input_messages, ID_FORM)):
        path = f"messages[{number}]"
        parts = _named(message, path, dropped)
        dropped.foreign(message.extra, NAME, path)
        role = "user" if message.role == "tool" else message.role
        if role in {"system", "developer"} and not _stays(message):
            system += parts
            continue
        role = role if role in {"assistant", "system"} else "user"
        if not merged_turns or merged_turns[-1].role != role:
            merged_turns.append(Turn(role=role, parts=[], extra={}))
        merged_turns[-1].parts += parts
        merged_turns[-1].extra |= message.extra.get(NAME, {})
    return system, merged_turns


def _stays(message: Message) -> bool:
    return any(isinstance(part, Other) and part.kind in _IN_PLACE for part in message.parts)


def _named(message: Message, path: str, dropped: Dropped) -> list[Placed]:
    """Return the message's parts; a name, which Converse has no place for, is put before the first text."""
    parts: list[Placed] = [(part, f"{path}.parts[{i}]") for i, part in enumerate(message.parts)]
    if not message.name:
        return parts
    for i, (part, at) in enumerate(parts):
        if isinstance(part, Text):
            parts[i] = (msgspec.structs.replace(part, content=f"{message.name}: {part.content}"), at)
            return parts
    dropped.add(f"{path}.name")
    return parts


def tools_used(messages: list[Message]) -> list[str]:
    """Return the names of the tools that were called so far, each once."""
    called = [part.name for message in messages for part in message.parts if isinstance(part, ToolCall)]
    return list(dict.fromkeys(called))
