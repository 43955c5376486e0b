"""Streamed responses, which end once in every dialect."""

import json
import re
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import events
from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    Text,
    Tool,
    ToolCall,
    Usage,
)
from gateway.dialects.gemini import GEMINI_ARRAY_WRITER
from gateway.dialects.registry import WRITERS
from gateway.dialects.shared.writer import Dropped, StreamWriter, Writer, part_kind, write_whole
from gateway.dialects.wire.eventstream import EventStreamDecoder
from gateway.dialects.wire.sse import SseDecoder
from tests.dialects.pairs import SPOKEN

REQUEST = ChatRequest(operation="chat", model="m", stream=True, include_usage=True)
ALL = {**WRITERS, "gemini, an array": GEMINI_ARRAY_WRITER}


def _sse(data: bytes) -> list[str]:
    return [event.data.decode() for event in SseDecoder().feed(data)]


def _types(data: bytes, *terminal: str) -> list[bool]:
    return [json.loads(event)["type"] in terminal for event in _sse(data)]


# For each dialect, whether each event of a stream is one that ends it.
TERMINAL: dict[str, Callable[[bytes], list[bool]]] = {
    "openai-chat": lambda data: [event == "[DONE]" or "error" in json.loads(event) for event in _sse(data)],
    "openai-responses": lambda data: _types(data, "response.completed", "response.failed", "response.incomplete"),
    "anthropic-messages": lambda data: _types(data, "message_stop", "error"),
    "gemini": lambda data: ["error" in json.loads(event) for event in _sse(data)],
    "gemini, an array": lambda data: ["error" in chunk for chunk in json.loads(data or b"[]")],
    "ollama": lambda data: [json.loads(line).get("done", True) for line in data.splitlines()],
    "bedrock-converse": lambda data: [
        str(event.name).startswith(("metadata", "exception")) for event in EventStreamDecoder().feed(data)
    ],
}
# A stream of Gemini's has no last event of its own, only an error's.
NO_MARK = {"gemini", "gemini, an array"}

PARTS: list[Part] = [
    Text(content=""),
    Reasoning(content=""),
    Refusal(content=""),
    ToolCall(id="call-1", name="look"),
    ToolCall(id="call-2", name="write", custom=True),
    ServerToolCall(id="s", name="search", server_tool_call={"type": "web_search_call", "input": {}}),
    Blob(modality="image", mime_type="image/png", content="AAAA"),
    Other(kind="else", dialect="else"),
]
_PLACES = {"index": st.integers(0, len(PARTS) - 1), "choice": st.integers(0, 1)}


def _part(event: type[events.PartBegun | events.PartDone]) -> st.SearchStrategy[events.Event]:
    return st.fixed_dictionaries(_PLACES).map(lambda drawn: event(part=PARTS[drawn["index"]], **drawn))


EVENTS: st.SearchStrategy[events.Event] = st.one_of(
    st.builds(events.Begun, id=st.sampled_from(["r", None]), model=st.just("m")),
    _part(events.PartBegun),
    _part(events.PartDone),
    st.builds(events.PartGrown, text=st.sampled_from(["{", "}", "words"]), **_PLACES),
    st.builds(
        events.ChoiceDone,
        finish_reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter", "error", "odd", None]),
        choice=st.integers(0, 1),
    ),
    st.builds(events.UsageUpdated, usage=st.just(Usage(input_tokens=1, output_tokens=2, total_tokens=3))),
    st.builds(events.Broken, type=st.sampled_from(["overloaded_error", None]), message=st.sampled_from(["gone", None])),
    st.just(events.Ended()),
)
ENDS = [events.Ended(), events.Broken(message="gone")]


def write_all(writer: Writer, sequence: Iterable[events.Event]) -> bytes:
    """Return the bytes of a stream of these events."""
    stream = writer.stream(REQUEST, 1.0)
    return b"".join([stream.write(event) for event in sequence])


@pytest.mark.parametrize("name", ALL)
@given(before=st.lists(EVENTS, max_size=12), end=st.sampled_from(ENDS), after=st.lists(EVENTS, max_size=6))
def test_a_stream_has_one_terminal_event_and_it_is_last(
    name: str, before: list[events.Event], end: events.Event, after: list[events.Event]
) -> None:
    """Whatever the order of events: exactly one of them ends the stream, and no byte follows it."""
    written = write_all(ALL[name], [*before, end, *after])
    terminal = TERMINAL[name](written)
    first = next(event for event in [*before, end] if isinstance(event, events.Ended | events.Broken))
    marked = isinstance(first, events.Broken) or name not in NO_MARK
    assert terminal.count(True) == marked
    assert terminal[-1] or not marked


@pytest.mark.parametrize("name", ALL)
def test_a_failure_is_not_followed_by_a_completion(name: str) -> None:
    """Some providers end their streams in good order after an error; the client is sent the error alone."""
    text = [
        events.Begun(id="r", model="m"),
        events.PartBegun(index=0, part=Text(content="")),
        events.PartGrown(index=0, text="half"),
    ]
    broken = events.Broken(type="overloaded_error", message="gone")
    finished = [events.ChoiceDone(finish_reason="stop"), events.Ended()]
    assert write_all(ALL[name], [*text, broken, *finished, broken]) == write_all(ALL[name], [*text, broken])
    assert write_all(ALL[name], [*text, *finished, broken]) == write_all(ALL[name], [*text, *finished])


class Echo(StreamWriter):
    """A writer that would write every event."""

    content_type = "text/plain"

    def _write(self, event: events.Event) -> bytes:
        self._dropped.add(type(event).__name__)
        return b"."


def test_a_writer_cannot_write_past_the_end() -> None:
    """The one place that ends a stream is not the dialect's; what is dropped after it is not named either."""
    writer = Echo()
    assert repr(writer) == "<Echo open dropped=[]>"
    usage = events.UsageUpdated(usage=Usage())
    assert [writer.write(event) for event in (usage, events.Ended(), usage, events.Broken())] == [b".", b".", b"", b""]
    assert writer.ended
    assert repr(writer) == "<Echo ended dropped=['UsageUpdated', 'Ended']>"


def test_what_other_dialects_say_is_named():
    """Each field is named once, by its place; settings of their own one by one."""
    dropped = Dropped()
    extra = {"gemini": {"a": 1}, "openai-chat": {"b": 2, "text": {"c": 3}}, "ollama": {"a": 4}}
    dropped.foreign(extra, "gemini", "messages[0]")
    assert dropped.names == ["messages[0].b", "messages[0].text.c", "messages[0].a"]


def test_what_is_said_in_two_dialects_is_not_lost():
    """A field that the writer's own dialect has too, by whatever name, is written with it."""
    dropped = Dropped()
    dropped.foreign({"ours": {"data": "x"}, "theirs": {"hidden": "x", "signature": "y"}}, "ours")
    assert dropped.names == ["signature"]


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (Text(content=""), "text"),
        (Blob(modality="image", mime_type="image/png", content="AA=="), "image blob"),
        (File(modality="document", file_id="f"), "document file"),
        (ServerToolCall(name="w", server_tool_call={}), "server tool call"),
        (Other(kind="novel"), "novel"),
    ],
)
def test_a_part_is_named_by_its_kind(part: Part, word: str) -> None:
    """With its modality, if it has one, after its path."""
    assert part_kind(part) == word
    dropped = Dropped()
    dropped.add_part(part, "messages[0].parts[1]")
    assert dropped.names == [f"messages[0].parts[1]: {word}"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_whole_response_takes_the_form_of_its_request(stream: bool):
    """A stream if the request asked for one, a JSON document otherwise, and custom tools called by their text."""
    request = ChatRequest(operation="chat", stream=stream, tools=[Tool(name="run", kind="custom")])
    call = ToolCall(id="c", name="run", arguments={"input": "ls"})
    response = ChatResponse(id="r", output_messages=[Message(role="assistant", parts=[call])])
    content_type, body = write_whole(WRITERS["openai-chat"], request, response, 1.0)
    assert content_type.partition(";")[0] == ("text/event-stream" if stream else "application/json")
    reader = SPOKEN["chat"].dialect
    if stream:
        reading = reader.stream_reader()
        reading.feed(body)
        read = reading.response()
    else:
        read = reader.read_response(body)
    [message] = read.output_messages
    assert message.parts == [ToolCall(id="c", name="run", arguments="ls", custom=True)]


@pytest.mark.parametrize("word", ["pause_turn", "eos", "A_NEW_WORD"])
@pytest.mark.parametrize("dialect", WRITERS)
def test_an_unknown_finish_word_is_never_a_good_end(dialect: str, word: str):
    """A word that a dialect lacks stays the provider's, or becomes its word for other ends; it is no `stop`."""
    message = Message(role="assistant", parts=[Text(content="a")], finish_reason=word)
    request = ChatRequest(operation="chat", model="m", stream=True)
    response = ChatResponse(output_messages=[message], finish_reasons=[word])
    body, _ = WRITERS[dialect].response(response, request, 0.0)
    stream = WRITERS[dialect].stream(request, 0.0)
    streamed = b"".join([stream.write(event) for event in events.synthesize(response)])
    for data in (body, streamed):
        assert word.encode() in data or b'"OTHER"' in data
        assert not re.search(rb'"(stop|end_turn|STOP|response\.completed)"', data)
