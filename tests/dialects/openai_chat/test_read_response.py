import json

import msgspec
import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_chat import CHAT_COMPLETIONS, COMPLETIONS, EMBEDDINGS
from tests.dialects.openai_chat.reading import Read, answer, chunk, delta, streamed


def test_calls_that_end_with_stop_are_calls() -> None:
    """A client that asked for a tool by name gets `stop`; the common vocabulary has `tool_calls`."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    whole = {"index": 0, "message": {"role": "assistant", "tool_calls": [call]}, "finish_reason": "stop"}
    expected = answer(ToolCall(id="c", name="f", arguments={}), finish_reason="tool_calls", finish_word="stop")
    assert [expected] == streamed(delta(tool_calls=[call]) + chunk(choices=[end])).output_messages
    assert [expected] == CHAT_COMPLETIONS.read_response(json.dumps({"choices": [whole]}).encode()).output_messages


def test_log_probabilities_stay_with_their_text() -> None:
    """A chunk's token probabilities belong to the text that it adds to, and to no other."""
    entry = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1}]}
    data = chunk(choices=[{"index": 0, "delta": {"content": "a"}, "logprobs": {"content": [entry]}}])
    data += delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f"}}])
    data += chunk(choices=[{"index": 0, "delta": {"content": "b"}, "logprobs": {"content": [None, {"token": "b"}]}}])
    first = TokenLogprob(token="a", logprob=-0.5, top=[TokenLogprob(token="b", logprob=-1.0)])
    expected = answer(
        Text(content="a", logprobs=[first]), ToolCall(id="c", name="f"), Text(content="b"), finish_reason=None
    )
    assert [expected] == streamed(data).output_messages


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


@pytest.mark.parametrize(("total", "output"), [(10 + 4 + 6, 10), (10 + 4, 4), (None, 4)])
def test_output_includes_reasoning(total: int | None, output: int) -> None:
    """If a total shows that reasoning was counted beside the output, it is added."""
    details = {"reasoning_tokens": 6}
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": total, "completion_tokens_details": details}
    read = streamed(chunk(choices=[], usage=usage)).usage
    assert Usage(input_tokens=10, output_tokens=output, total_tokens=10 + output, reasoning_tokens=6) == read


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
    """Several choices, of the older completions too, are kept apart by their index."""
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
