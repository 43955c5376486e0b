"""What several writers do with turns, since their dialects have no place for it. Pure."""

import msgspec

from gateway.dialects.conversation import ChatRequest, Message, Other, Part, Text
from gateway.dialects.shared.unsupported import Dropped
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


def word_of(part: Part) -> str:
    """Return a word for what kind of part it is: `text`, `image uri`, `tool call`."""
    modality = getattr(part, "modality", "")
    kind = part.kind if isinstance(part, Other) else str(part.__struct_config__.tag).replace("_", " ")
    return f"{modality} {kind}".strip()


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
