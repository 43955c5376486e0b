"""What several writers do with turns, since their dialects have no place for it. Pure."""

import re
from collections.abc import Iterator
from itertools import count
from zlib import crc32

import msgspec

from gateway.dialects.conversation import ChatRequest, Message, Other, Part, Text, ToolCall, ToolCallResponse
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


def identified(messages: list[Message]) -> list[Message]:
    """Return turns in which every tool call has an id, and every result that of its call.

    Where one is missing it is `call_1`, `call_2`, ..; a result without one is of the first call of its tool's name that
    has none yet, else of the first call that has none.
    """
    parts = [part for message in messages for part in message.parts]
    if all(part.id for part in parts if isinstance(part, ToolCall | ToolCallResponse)):
        return messages
    taken = {part.id for part in parts if isinstance(part, ToolCall | ToolCallResponse)}
    fresh = (made for n in count(1) if (made := f"call_{n}") not in taken)
    waiting: list[ToolCall] = []
    return [
        msgspec.structs.replace(message, parts=[_identified(part, waiting, fresh) for part in message.parts])
        for message in messages
    ]


def _identified(part: Part, waiting: list[ToolCall], fresh: Iterator[str]) -> Part:
    if isinstance(part, ToolCall):
        call = part if part.id else msgspec.structs.replace(part, id=next(fresh))
        waiting.append(call)
        return call
    if not isinstance(part, ToolCallResponse):
        return part
    fitting = [call for call in waiting if (call.id == part.id if part.id else call.name == part.name)]
    if not fitting and not part.id:
        fitting = waiting
    answers = fitting[0] if fitting else None
    if answers is not None:
        waiting.remove(answers)
    return part if part.id else msgspec.structs.replace(part, id=answers.id if answers else next(fresh))


def made_id(call: ToolCall, response_id: str, index: int) -> str:
    """Return the id of a call in a response; one without any gets the same one for the same place in the same response.

    The ids of a whole conversation must differ.
    """
    return call.id or f"call_{crc32(response_id.encode('utf-8', 'replace')):08x}_{index}"


_NO_ID = re.compile(r"[^a-zA-Z0-9_-]")


def plain_id(call_id: str | None) -> str | None:
    """Return an id of the letters, digits, `_` and `-` that Anthropic and Bedrock allow."""
    return call_id and _NO_ID.sub("_", call_id)


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
