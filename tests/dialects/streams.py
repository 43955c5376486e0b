"""Streams as events: made from a response, and folded into one again."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from msgspec.structs import replace

from gateway.dialects import Dialect, StreamReader, events
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Part, Reasoning, Refusal, Text, ToolCall
from gateway.dialects.events import synthesize
from gateway.dialects.shared.writer import StreamWriter, Writer
from gateway.dialects.wire.json import json_value


def stream_events(response: ChatResponse, piece: int = 3) -> Iterator[events.Event]:
    """Yield the events of a stream with this response, its texts cut into pieces of this size."""
    for event in synthesize(response):
        if isinstance(event, events.PartGrown):
            for at in range(0, len(event.text), piece):
                yield replace(event, text=event.text[at : at + piece])
        else:
            yield event


def written(
    writer: Writer, request: ChatRequest, emitted: Iterable[events.Event], now: float = 0.0
) -> tuple[bytes, StreamWriter]:
    """Write a stream; return it and its writer."""
    stream = writer.stream(request, now)
    return b"".join([stream.write(event) for event in emitted]), stream


def read(dialect: Dialect, data: bytes, cuts: Iterable[int] = ()) -> tuple[StreamReader, list[events.Event]]:
    """Read a stream that is cut at these places; return its reader and its events."""
    reader = dialect.stream_reader()
    reader.events = []
    emitted: list[events.Event] = []
    for start, end in pairwise([0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]):
        reader.feed(data[start:end])
        emitted += reader.events
        reader.events = []  # as the gateway takes it
    return reader, emitted


def folded(emitted: Iterable[events.Event]) -> list[Message]:
    """Fold events into messages, and check the guarantees of every reader."""
    emitted = list(emitted)
    parts: dict[int, dict[int, Part | None]] = {}
    grown: dict[tuple[int, int], str] = {}
    messages: dict[int, Message] = {}
    assert isinstance(emitted[0], events.Begun)
    assert sum(isinstance(e, events.Begun) for e in emitted) == 1
    assert [e for e in emitted if isinstance(e, events.Ended | events.Broken)] in ([], emitted[-1:])
    for event in emitted:
        match event:
            case events.PartBegun(index=index, choice=choice, part=part):
                assert choice not in messages
                assert index == len(parts.setdefault(choice, {}))
                parts[choice][index] = None
                grown[choice, index] = ""
                assert getattr(part, "arguments", None) is None
                assert isinstance(part, Text | Reasoning | Refusal) <= (getattr(part, "content", "") == "")
            case events.PartGrown(index=index, choice=choice, text=text):
                assert text
                assert parts[choice][index] is None
                grown[choice, index] += text
            case events.PartDone(index=index, choice=choice, part=part):
                assert choice not in messages
                assert parts[choice][index] is None
                parts[choice][index] = part
                if isinstance(part, Text | Reasoning | Refusal):
                    assert grown[choice, index] == part.content
                elif isinstance(part, ToolCall):
                    text = grown[choice, index]
                    assert (text == (part.arguments or "")) if part.custom else (json_value(text) == part.arguments)
            case events.ChoiceDone(choice=choice):
                done = [part for _, part in sorted(parts.get(choice, {}).items())]
                messages[choice] = Message(
                    role="assistant",
                    parts=[part for part in done if part is not None],
                    finish_reason=event.finish_reason,
                    finish_word=event.finish_word,
                    extra=event.extra,
                )
                assert len(messages[choice].parts) == len(done)
    return [message for _, message in sorted(messages.items())]
