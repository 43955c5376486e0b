"""A whole response as a stream, for a client that asked for one and a provider that sent none. Pure."""

from collections.abc import Iterator

import msgspec

from gateway.dialects import events
from gateway.dialects.conversation import ChatRequest, ChatResponse, Part, Reasoning, Refusal, Text, ToolCall
from gateway.dialects.shared.custom_tools import custom_tool_names, restore_custom_calls
from gateway.dialects.shared.writer import Writer


def synthesize(response: ChatResponse) -> Iterator[events.Event]:
    """Give the events of a stream that would have made this response."""
    yield events.Begun(
        id=response.id, model=response.model, usage=response.usage, created=response.created, extra=response.extra
    )
    if response.error_type or response.error_message:
        yield events.Broken(type=response.error_type, message=response.error_message)
        return
    for choice, message in enumerate(response.output_messages):
        for index, part in enumerate(message.parts):
            begun, text = _begun(part)
            yield events.PartBegun(choice=choice, index=index, part=begun)
            if text:
                yield events.PartGrown(choice=choice, index=index, text=text)
            yield events.PartDone(choice=choice, index=index, part=part)
        yield events.ChoiceDone(
            choice=choice, finish_reason=message.finish_reason, finish_word=message.finish_word, extra=message.extra
        )
    if response.usage is not None:
        yield events.UsageUpdated(usage=response.usage)
    yield events.Ended()


def write_whole(writer: Writer, request: ChatRequest, response: ChatResponse, now: float) -> tuple[str, bytes]:
    """Return a whole response in the form that the client asked for, a stream or not: its media type and its body."""
    response = restore_custom_calls(response, custom_tool_names(request))
    if not request.stream:
        return "application/json", writer.response(response, request, now)[0]
    stream = writer.stream(request, now)
    return stream.content_type, b"".join([stream.write(event) for event in synthesize(response)])


def _begun(part: Part) -> tuple[Part, str]:
    """Return a part as it begins, and the text that it grows by."""
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
