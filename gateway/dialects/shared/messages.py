"""Messages as several writers need them: names in the text, cache marks, one prompt. Pure."""

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
    """Return the text if the parts are one plain text; None otherwise."""
    only = parts[0] if len(parts) == 1 else None
    return only.content if isinstance(only, Text) and only == Text(content=only.content) else None


def one_prompt(request: ChatRequest, dropped: Dropped) -> ChatRequest:
    """Return a completion request with its first prompt alone, since a chat has one response."""
    if request.operation != TEXT_COMPLETION:
        return request
    messages = []
    for number, message in enumerate(request.input_messages):
        for index in range(1, len(message.parts)):
            dropped.add(f"messages[{number}].parts[{index}]: prompt")
        messages.append(msgspec.structs.replace(message, parts=message.parts[:1]))
    return msgspec.structs.replace(request, input_messages=messages)


def cache_mark(value: dict[str, Any]) -> str | None:
    """Return the lifetime of a `cache_control` mark, "default" if it has none; None without a mark.

    Anthropic's form, which OpenRouter takes in OpenAI's dialect.
    """
    mark = value.get("cache_control")
    return (text(mark.get("ttl")) or "default") if isinstance(mark, dict) else None


def cache_control(lifetime: str) -> dict[str, str]:
    """Return the mark to cache the prompt up to here."""
    return {"type": "ephemeral"} if lifetime == "default" else {"type": "ephemeral", "ttl": lifetime}
