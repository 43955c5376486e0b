import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Citation,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_chat import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS

Read = Callable[[str], bytes]


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)


def streamed(data: bytes) -> ChatResponse:
    """Read a stream that has no event that cannot be read."""
    reader = CHAT_COMPLETIONS.stream_reader()
    reader.feed(data)
    assert reader.unread == 0
    return reader.response()


def chunk(**fields: Any) -> bytes:
    """Make an event."""
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def delta(**fields: Any) -> bytes:
    """Make an event that adds to the first choice."""
    return chunk(choices=[{"index": 0, "delta": fields}])


STREAMS = {
    "chat_text.sse": ChatResponse(
        id="chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        model="gpt-5.4-mini-2026-03-17",
        created=1790000000,
        finish_reasons=["stop"],
        output_messages=[answer(Text(content="Grüß dich 👋 東京"), finish_reason="stop")],
        usage=Usage(
            input_tokens=1219, output_tokens=74, total_tokens=1293, cache_read_tokens=1024, reasoning_tokens=64
        ),
    ),
    "chat_tools.sse": ChatResponse(
        id="chatcmpl-tools",
        model="gpt-5.4-2026-03-05",
        created=1790000001,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                ToolCall(id="call_paris", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="call_oslo", name="get_weather", arguments={"city": "Oslo"}),
                finish_reason="tool_calls",
            )
        ],
    ),
    "chat_two_choices.sse": ChatResponse(
        id="chatcmpl-two",
        model="gpt-5.4-2026-03-05",
        created=1790000002,
        finish_reasons=["stop", "length"],
        output_messages=[
            answer(Text(content="Heads"), finish_reason="stop"),
            answer(Text(content="Tails"), finish_reason="length"),
        ],
        usage=Usage(input_tokens=9, output_tokens=4, total_tokens=13),
    ),
    "chat_reasoning.sse": ChatResponse(
        id="gen-1",
        model="deepseek-reasoner",
        created=1790000003,
        finish_reasons=["stop"],
        output_messages=[
            answer(Reasoning(content="Two and two."), Text(content="4"), finish_reason="stop"),
        ],
        usage=Usage(input_tokens=12, output_tokens=9, total_tokens=21, cache_read_tokens=0, reasoning_tokens=7),
    ),
    "chat_refusal.sse": ChatResponse(
        id="chatcmpl-no",
        model="gpt-5.4-2026-03-05",
        created=1790000004,
        finish_reasons=["stop"],
        output_messages=[answer(Refusal(content="I can't help with that."), finish_reason="stop")],
    ),
    "chat_cited.sse": ChatResponse(
        id="chatcmpl-cited",
        model="gpt-5.4-search-preview",
        created=1790000011,
        finish_reasons=["stop"],
        output_messages=[
            answer(
                Text(
                    content="Twice a day.",
                    citations=[Citation(uri="https://example.com/tides", title="Tides", start=0, end=12)],
                    logprobs=[
                        TokenLogprob(
                            token="Twice",
                            logprob=-0.1,
                            top=[TokenLogprob(token="Twice", logprob=-0.1), TokenLogprob(token="Two", logprob=-2.5)],
                        ),
                        TokenLogprob(token=" a", logprob=-0.01, top=[TokenLogprob(token=" a", logprob=-0.01)]),
                        TokenLogprob(token=" day.", logprob=-0.2, top=[TokenLogprob(token=" day.", logprob=-0.2)]),
                    ],
                ),
                finish_reason="stop",
            )
        ],
        usage=Usage(input_tokens=11, output_tokens=3, total_tokens=14, cache_read_tokens=0, reasoning_tokens=0),
    ),
    "chat_calls.sse": ChatResponse(
        id="chatcmpl-calls",
        model="gpt-5.4-2026-03-05",
        created=1790000012,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                ToolCall(id="call_w", name="get_weather", arguments={"city": "Paris"}),
                ToolCall(id="call_t", name="get_time", arguments={}),
                ToolCall(id="call_o", name="get_weather", arguments={"city": "Oslo"}),
                finish_reason="tool_calls",
            )
        ],
    ),
    "chat_error.sse": ChatResponse(
        id="chatcmpl-bad",
        model="gpt-5.4-2026-03-05",
        created=1790000005,
        output_messages=[answer(Text(content="Once upon"), finish_reason=None)],
        error_type="server_error",
        error_message="The server had an error while processing your request.",
    ),
    "completion.sse": ChatResponse(
        id="cmpl-1",
        model="gpt-3.5-turbo-instruct",
        created=1790000006,
        finish_reasons=["length"],
        output_messages=[answer(Text(content="is blue"), finish_reason="length")],
        usage=Usage(input_tokens=3, output_tokens=2, total_tokens=5),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_read_whole(read: Read, name: str) -> None:
    """Everything a stream says is in the record."""
    assert STREAMS[name] == streamed(read(name))


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_ends_with_its_last_event_only(read: Read, name: str) -> None:
    """`ended` turns true with [DONE] or an error, not before."""
    reader = CHAT_COMPLETIONS.stream_reader()
    events = [event + b"\n\n" for event in read(name).split(b"\n\n")[:-1]]
    ended = []
    for event in events:
        reader.feed(event)
        ended.append(reader.ended)
    assert [*[False] * (len(events) - 1), True] == ended


def test_output_begins_with_content(read: Read) -> None:
    """`first_output` turns true with the first piece of content, not with the role or a comment."""
    first, second = read("chat_text.sse").split(b"\n\n")[:2]
    reader = CHAT_COMPLETIONS.stream_reader()
    reader.feed(b": waiting\n\n" + first + b"\n\n")
    assert not reader.first_output
    reader.feed(second + b"\n\n")
    assert reader.first_output


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"refusal": "no"},
        {"tool_calls": [{"index": 0, "function": {"name": "f"}}]},
        {"function_call": {"name": "f"}},
        {"audio": {"transcript": "hi"}},
    ],
)
def test_every_kind_of_content_is_output(fields: dict[str, Any]) -> None:
    """Reasoning, refusals, tool calls and speech count as a first output, too."""
    reader = CHAT_COMPLETIONS.stream_reader()
    reader.feed(delta(**fields))
    assert reader.first_output


def test_a_broken_stream_tells_what_came() -> None:
    """Without an end the parts are there, the finish reason is not, and a cut argument stays text."""
    call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": '{"a": '}}
    data = delta(role="assistant", content="So") + delta(tool_calls=[call])
    expected = answer(Text(content="So"), ToolCall(id="c", name="f", arguments='{"a": '), finish_reason=None)
    assert ChatResponse(output_messages=[expected]) == streamed(data + b'data: {"choices":[{"delta"')


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        (
            [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
                {"index": 0, "id": "b", "function": {"name": "g", "arguments": "[1]"}},
            ],
            [ToolCall(id="a", name="f", arguments={}), ToolCall(id="b", name="g", arguments=[1])],
        ),
        (
            [
                {"id": "a", "function": {"name": "f", "arguments": "{"}},
                {"function": {"arguments": "}"}},
                {"id": "b", "function": {"name": "g", "arguments": ""}},
            ],
            [ToolCall(id="a", name="f", arguments={}), ToolCall(id="b", name="g")],
        ),
        (
            [
                {"index": 3, "id": "a", "function": {"name": "f", "arguments": "{"}},
                {"index": 3, "id": "a", "function": {"name": "f", "arguments": "}"}},
            ],
            [ToolCall(id="a", name="f", arguments={})],
        ),
    ],
    ids=["every index 0", "no index", "the id repeated"],
)
def test_tool_calls_of_careless_providers_are_told_apart(deltas: list[dict[str, Any]], calls: list[ToolCall]) -> None:
    """A new id starts a new call, whatever the index says."""
    answered = streamed(b"".join(delta(tool_calls=[d]) for d in deltas))
    assert [answer(*calls, finish_reason=None)] == answered.output_messages


def test_the_older_function_call_is_a_tool_call() -> None:
    """`function_call` deltas and their finish reason are read in the one vocabulary."""
    data = delta(function_call={"name": "f", "arguments": '{"a"'}) + delta(function_call={"arguments": ":1}"})
    data += chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "function_call"}])
    expected = answer(ToolCall(name="f", arguments={"a": 1}), finish_reason="tool_calls", finish_word="function_call")
    assert [expected] == streamed(data).output_messages


def test_calls_that_end_with_stop_are_calls() -> None:
    """Who asked for a tool by its name is told `stop`; the one vocabulary's word is what happened."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    whole = {"index": 0, "message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "stop"}
    expected = answer(ToolCall(id="c", name="f", arguments={}), finish_reason="tool_calls", finish_word="stop")
    assert [expected] == streamed(delta(tool_calls=[call]) + chunk(choices=[end])).output_messages
    assert [expected] == CHAT_COMPLETIONS.read_response(json.dumps({"choices": [whole]}).encode()).output_messages


def test_log_probabilities_stay_with_their_text() -> None:
    """What a chunk tells of its tokens is of the text that it adds to, and of no other."""
    told = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1}]}
    data = chunk(choices=[{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [told]}}])
    data += delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f"}}])
    data += chunk(choices=[{"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [None, {"token": "b"}]}}])
    first = TokenLogprob(token="a", logprob=-0.5, top=[TokenLogprob(token="b", logprob=-1.0)])
    expected = answer(
        Text(content="a", logprobs=[first]), ToolCall(id="c", name="f"), Text(content="b"), finish_reason=None
    )
    assert [expected] == streamed(data).output_messages


def test_sources_of_a_streamed_text_are_kept() -> None:
    """Annotations, which come last, are of the text before them."""
    cited = {"url": "https://example.com/a", "title": "A", "start_index": 0, "end_index": 2}
    data = delta(content="So.") + delta(annotations=[{"type": "url_citation", "url_citation": cited}, {"type": "?"}])
    citation = Citation(uri="https://example.com/a", title="A", start=0, end=2)
    assert [answer(Text(content="So.", citations=[citation]), finish_reason=None)] == streamed(data).output_messages


def test_places_of_sources_are_in_their_own_text() -> None:
    """They are told in the whole text of the message, of which a later part is only the end."""
    cited = {"url": "https://example.com/a", "title": "A", "start_index": 3, "end_index": 5}
    data = delta(content="So.") + delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f"}}])
    data += delta(content="Yes.") + delta(annotations=[{"type": "url_citation", "url_citation": cited}])
    [message] = streamed(data).output_messages
    citation = Citation(uri="https://example.com/a", title="A", start=0, end=2)
    assert message.parts[2] == Text(content="Yes.", citations=[citation])


def test_what_proves_reasoning_is_kept_once() -> None:
    """OpenRouter's details tell the text again: the signature stays, the text is not kept twice."""
    details = [
        {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0},
        {"type": "reasoning.encrypted", "data": "ZW5j", "index": 1},
        {"type": "reasoning.summary", "summary": None, "index": 2},
    ]
    pieces = [{"type": "reasoning.text", "text": t, "format": "anthropic-claude-v1", "index": 0} for t in ("H", "m.")]
    data = b"".join(delta(reasoning=p["text"], reasoning_details=[p]) for p in pieces)
    data += delta(reasoning_details=[{"type": "reasoning.text", "signature": "c2ln", "index": 0}, *details[1:]])
    message = {"role": "assistant", "content": "Yes", "reasoning": "Hm.", "reasoning_details": details}
    proof = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0, "signature": "c2ln"}
    thought = Reasoning(content="Hm.", extra={"openai-chat": {"reasoning_details": [proof, details[1]]}})
    assert [answer(thought, finish_reason=None)] == streamed(data).output_messages
    read = CHAT_COMPLETIONS.read_response(json.dumps({"choices": [{"index": 0, "message": message}]}).encode())
    assert [answer(thought, Text(content="Yes"), finish_reason=None)] == read.output_messages


def test_content_may_come_as_parts() -> None:
    """Mistral's reasoning models stream lists of parts."""
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    data = delta(content=[thinking]) + delta(content=[{"type": "text", "text": "Yes"}]) + delta(content=".")
    expected = answer(Reasoning(content="Hm."), Text(content="Yes."), finish_reason=None)
    assert [expected] == streamed(data).output_messages


def test_later_usage_wins_field_by_field() -> None:
    """Usage told in several chunks is merged; what the later leaves out stays."""
    data = chunk(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 1})
    data += chunk(choices=[], usage={"completion_tokens": 5, "total_tokens": 12, "prompt_tokens_details": None})
    assert Usage(input_tokens=7, output_tokens=5, total_tokens=12) == streamed(data).usage


@pytest.mark.parametrize(("total", "output"), [(10 + 4 + 6, 10), (10 + 4, 4), (None, 4)])
def test_output_includes_reasoning(total: int | None, output: int) -> None:
    """Where a total shows that reasoning was counted beside the output, it is added."""
    details = {"reasoning_tokens": 6}
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": total, "completion_tokens_details": details}
    read = streamed(chunk(choices=[], usage=usage)).usage
    assert Usage(input_tokens=10, output_tokens=output, total_tokens=10 + output, reasoning_tokens=6) == read


def test_an_event_that_cannot_be_read_costs_only_itself() -> None:
    """Unreadable events are counted; those around them are in the record."""
    reader = CHAT_COMPLETIONS.stream_reader()
    for bad in (b"data: {\n\n", b"data: []\n\n", b'data: {"choices":{}}\n\n', b"data: " + b"[" * 9999 + b"\n\n"):
        reader.feed(delta(content="a") + bad)
    assert reader.unread == 4
    assert [answer(Text(content="aaaa"), finish_reason=None)] == reader.response().output_messages
    assert repr(reader) == "<ChatStreamReader reading unread=4>"


def test_an_endless_event_counts_as_unread() -> None:
    """What the decoder drops for its length is counted with what cannot be read."""
    reader = CHAT_COMPLETIONS.stream_reader()
    for _ in range(17):
        reader.feed(b"x" * 1024 * 1024)
    assert reader.unread == 1


@pytest.mark.parametrize(
    ("raw", "content"),
    [
        (b'{"choices":[{"delta":{"content":"a\xff"}}]}', "a\ufffd"),
        (rb'{"choices":[{"delta":{"content":"a\ud83d"}}]}', "a?"),
        (b'{"choices":[{"delta":{"content":"a"},"logprobs":{"x":NaN,"y":-Infinity}}]}', "a"),
        (b'{"choices":[{"index":"0","delta":{"content":"a"},"finish_reason":7}],"usage":"none","id":3}', "a"),
    ],
    ids=["bad UTF-8", "half a surrogate pair", "NaN", "wrong types"],
)
def test_what_is_almost_json_is_read(raw: bytes, content: str) -> None:
    """Bytes that other decoders take are read on a slow path, and one odd value costs no other."""
    expected = ChatResponse(output_messages=[answer(Text(content=content), finish_reason=None)])
    assert expected == streamed(b"data: " + raw + b"\n\n")


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (b'data: {"error":{"type":"a","code":"b","message":"c"}}\n\n', ("a", "c")),
        (b'data: {"error":{"type":null,"code":429,"message":"c"}}\n\n', ("429", "c")),
        (b'data: {"error":"c"}\n\n', (None, "c")),
        (b'event: error\ndata: {"message":"c"}\n\n', (None, "c")),
    ],
)
def test_errors_in_a_stream_are_told_in_many_shapes(event: bytes, error: tuple[str | None, str]) -> None:
    """Whatever shape an error event has, its type and message are kept and the stream has ended."""
    reader = CHAT_COMPLETIONS.stream_reader()
    reader.feed(event)
    assert reader.ended
    assert error == (reader.response().error_type, reader.response().error_message)


def test_a_whole_response_is_read(read: Read) -> None:
    """A response that was not streamed gives the same form."""
    expected = ChatResponse(
        id="chatcmpl-whole",
        model="gpt-5.4-2026-03-05",
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Text(content="Let me look."),
                ToolCall(id="call_1", name="search", arguments={"q": "tides", "limit": 3}),
                ToolCall(id="call_2", name="run", arguments="print(1)", custom=True),
                finish_reason="tool_calls",
            )
        ],
        usage=Usage(input_tokens=82, output_tokens=17, total_tokens=99, cache_read_tokens=0, reasoning_tokens=0),
        created=1790000007,
    )
    assert expected == CHAT_COMPLETIONS.read_response(read("chat_whole.json"))


def test_whole_choices_stand_in_order() -> None:
    """Several choices, of the older completions too, are told by their index."""
    choices = [
        {"index": 1, "text": "b", "finish_reason": "length"},
        {"index": 0, "text": "a", "finish_reason": "stop"},
    ]
    answered = COMPLETIONS.read_response(json.dumps({"choices": choices}).encode())
    assert answered.finish_reasons == ["stop", "length"]
    assert answered.output_messages == [
        answer(Text(content="a"), finish_reason="stop"),
        answer(Text(content="b"), finish_reason="length"),
    ]


def test_speech_is_read_with_its_words() -> None:
    """An audio answer is its transcript and its sound."""
    audio = {"id": "audio_1", "data": "UklGRg==", "transcript": "Hi.", "expires_at": 1}
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "audio": audio}, "finish_reason": "stop"}
    body = json.dumps({"choices": [choice]}).encode()
    expected = answer(Text(content="Hi."), Blob(modality="audio", content="UklGRg=="), finish_reason="stop")
    assert [expected] == CHAT_COMPLETIONS.read_response(body).output_messages


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"type":"a","code":"b","message":"c"}}', ("a", "c")),
        (b'{"error":{"code":"b","message":"c"}}', ("b", "c")),
        (b'{"error":{"status":"NOT_FOUND","code":404,"message":"c"}}', ("NOT_FOUND", "c")),
        (b'{"error":"c"}', (None, "c")),
        (b'{"object":"error","type":"a","message":"c","code":40}', ("a", "c")),
        (b'{"detail":"c"}', (None, "c")),
        (b"<html>502 Bad Gateway</html>", (None, None)),
        (b"", (None, None)),
    ],
)
def test_error_bodies_are_read_in_many_shapes(body: bytes, error: tuple[str | None, str | None]) -> None:
    """An error body gives the provider's own type and message, and nothing else."""
    expected = ChatResponse(error_type=error[0], error_message=error[1])
    assert expected == CHAT_COMPLETIONS.read_response(body)


@pytest.mark.parametrize("name", ["embeddings.json", "embeddings_base64.json"])
def test_embeddings_tell_model_and_usage(read: Read, name: str) -> None:
    """The vectors are not kept."""
    expected = ChatResponse(model="text-embedding-3-small", usage=Usage(input_tokens=8, total_tokens=8))
    assert expected == EMBEDDINGS.read_response(read(name))


def test_messages_are_the_schemas_json(read: Read) -> None:
    """Encoding what was read gives `gen_ai.input.messages` and `gen_ai.output.messages` as the conventions have it."""
    answered = streamed(read("chat_tools.sse"))
    assert msgspec.json.encode(ToolCall(name="f")) == b'{"type":"tool_call","name":"f"}'
    expected = [
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": "call_paris", "name": "get_weather", "arguments": {"city": "Paris"}},
                {"type": "tool_call", "id": "call_oslo", "name": "get_weather", "arguments": {"city": "Oslo"}},
            ],
            "finish_reason": "tool_calls",
        }
    ]
    assert expected == json.loads(msgspec.json.encode(answered.output_messages))
