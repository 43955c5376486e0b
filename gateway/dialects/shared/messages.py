"""What several writers do with turns, since their dialects have no place for it. Pure."""

from typing import Any

import msgspec

from gateway.dialects.conversation import ChatRequest, Message, Part, Text
from gateway.dialects.shared.unsupported import Dropped
from gateway.dialects.wire.json import text
from gateway.semconv import TEXT_COMPLETION


def named(message: Message) -> list[Part]:
    """Return a turn's parts with its speaker's name in the text, for a dialect that has no place for one."""
    if not message.name or message.role == "assistant":
        return message.parts
    first = message.parts[0] if message.parts else None
    if isinstance(first, Text):
        return [msgspec.structs.replace(first, content=f"{message.name}: {first.content}"), *message.parts[1:]]
    return [Text(content=f"{message.name}:"), *message.parts]


def plain_text(parts: list[Part]) -> str | None:
    """Return the text where the parts are one plain text and nothing else."""
    only = parts[0] if len(parts) == 1 else None
    return only.content if isinstance(only, Text) and only == Text(content=only.content) else None


def one_prompt(asked: ChatRequest, dropped: Dropped) -> ChatRequest:
    """Return a request to complete prompts with the first of them alone: a chat has one answer for all it is told."""
    if asked.operation != TEXT_COMPLETION:
        return asked
    messages = []
    for number, message in enumerate(asked.input_messages):
        for index in range(1, len(message.parts)):
            dropped.add(f"messages[{number}].parts[{index}]: prompt")
        messages.append(msgspec.structs.replace(message, parts=message.parts[:1]))
    return msgspec.structs.replace(asked, input_messages=messages)


def cache_mark(value: dict[str, Any]) -> str | None:
    """Return the lifetime of a `cache_control` mark, "default" if it has none; None without a mark.

    Anthropic's form, which OpenRouter takes in OpenAI's dialect.
    """
    mark = value.get("cache_control")
    return (text(mark.get("ttl")) or "default") if isinstance(mark, dict) else None


def cache_control(lifetime: str) -> dict[str, str]:
    """Return the mark to cache the prompt up to here."""
    return {"type": "ephemeral"} if lifetime == "default" else {"type": "ephemeral", "ttl": lifetime}
