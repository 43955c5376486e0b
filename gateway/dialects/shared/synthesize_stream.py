"""A whole response told as a stream, for a client that asked for one where the provider sent none. Pure."""

from collections.abc import Iterator

import msgspec

from gateway.dialects import events
from gateway.dialects.conversation import ChatRequest, ChatResponse, Part, Reasoning, Refusal, Text, ToolCall
from gateway.dialects.shared.custom_tools import names_of, restored
from gateway.dialects.shared.writer import Writer


def replay(answered: ChatResponse) -> Iterator[events.Event]:
    """Give the events of a stream that would have made this response."""
    yield events.Begun(
        id=answered.id, model=answered.model, usage=answered.usage, created=answered.created, extra=answered.extra
    )
    if answered.error_type or answered.error_message:
        yield events.Broken(type=answered.error_type, message=answered.error_message)
        return
    for choice, message in enumerate(answered.output_messages):
        for index, part in enumerate(message.parts):
            begun, text = _begun(part)
            yield events.PartBegun(choice=choice, index=index, part=begun)
            if text:
                yield events.PartGrown(choice=choice, index=index, text=text)
            yield events.PartDone(choice=choice, index=index, part=part)
        yield events.ChoiceDone(
            choice=choice, finish_reason=message.finish_reason, finish_word=message.finish_word, extra=message.extra
        )
    if answered.usage is not None:
        yield events.UsageTold(usage=answered.usage)
    yield events.Ended()


def write_whole(writer: Writer, asked: ChatRequest, answered: ChatResponse, now: float) -> tuple[str, bytes]:
    """Return a whole response in the form that the client asked for, a stream or not: its media type and its body."""
    answered = restored(answered, names_of(asked))
    if not asked.stream:
        return "application/json", writer.response(answered, asked, now)[0]
    stream = writer.stream(asked, now)
    return stream.content_type, b"".join([stream.write(event) for event in replay(answered)])


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
