"""Events of a streamed response in the conversation form, which readers emit and writers encode.

Parts are numbered within their choice in the order in which they begin, and may overlap (parallel tool calls do in some
dialects). Each begins once, grows by text, and is done once; a reader whose dialect has no marks for the beginning or
the end of a part emits them as soon as they are known.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from gateway.dialects.conversation import ChatResponse, Extra, Part, Reasoning, Refusal, Text, ToolCall, Usage


class Begun(Struct, frozen=True, kw_only=True):
    """The response has begun. Usage is as known by then."""

    id: str | None = None
    model: str | None = None
    usage: Usage | None = None
    created: int | None = None
    extra: Extra = {}


class PartBegun(Struct, frozen=True, kw_only=True):
    """A part begins, as far as it is known: texts are empty, a tool call has its id and name, but no arguments."""

    index: int
    part: Part
    choice: int = 0


class PartGrown(Struct, frozen=True, kw_only=True):
    """More of a text, of reasoning or a refusal, or of the JSON text of a tool call's arguments."""

    index: int
    text: str
    choice: int = 0


class PartDone(Struct, frozen=True, kw_only=True):
    """A part is whole, with all that came late (citations, a signature)."""

    index: int
    part: Part
    choice: int = 0


class ChoiceDone(Struct, frozen=True, kw_only=True):
    """A choice has ended; the words are those of `Message`."""

    finish_reason: str | None
    finish_word: str | None = None
    choice: int = 0
    extra: Extra = {}


class UsageUpdated(Struct, frozen=True, kw_only=True):
    """All that is known of the usage by now; a later one replaces it."""

    usage: Usage


class Broken(Struct, frozen=True, kw_only=True):
    """The provider reported an error in the middle; nothing follows."""

    type: str | None = None
    message: str | None = None


class Ended(Struct, frozen=True):
    """The stream's own end; nothing follows."""


Event = Begun | PartBegun | PartGrown | PartDone | ChoiceDone | UsageUpdated | Broken | Ended


def synthesize(response: ChatResponse) -> Iterator[Event]:
    """Yield the events of a whole response, for a client that asked for a stream and a provider that sent none."""
    yield Begun(
        id=response.id, model=response.model, usage=response.usage, created=response.created, extra=response.extra
    )
    if response.error_type or response.error_message:
        yield Broken(type=response.error_type, message=response.error_message)
        return
    for choice, message in enumerate(response.output_messages):
        for index, part in enumerate(message.parts):
            begun, text = _begun_part(part)
            yield PartBegun(choice=choice, index=index, part=begun)
            if text:
                yield PartGrown(choice=choice, index=index, text=text)
            yield PartDone(choice=choice, index=index, part=part)
        yield ChoiceDone(
            choice=choice, finish_reason=message.finish_reason, finish_word=message.finish_word, extra=message.extra
        )
    if response.usage is not None:
        yield UsageUpdated(usage=response.usage)
    yield Ended()


def _begun_part(part: Part) -> tuple[Part, str]:
    """Return the part of a `PartBegun`, and the text of the `PartGrown` after it."""
    match part:
        case Text(content=content):
            return Text(content="", extra=part.extra), content
        case Reasoning(content=content):
            return Reasoning(content="", extra=part.extra), content
        case Refusal(content=content):
            return Refusal(content="", extra=part.extra), content
        case ToolCall(arguments=arguments):
            text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
            begun = ToolCall(id=part.id, name=part.name, custom=part.custom, extra=part.extra)
            return begun, "" if arguments is None else text
    return part, ""
