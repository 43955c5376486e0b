"""InvokeModel's bodies as each maker documents them, whole and in chunks."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from gateway.dialects.bedrock import COUNT_TOKENS
from gateway.dialects.bedrock.invoke import INVOKE, read_headers, read_request, read_response
from gateway.dialects.conversation import ChatResponse, Message, Part, Text, ToolCall, Usage
from gateway.dialects.wire.eventstream import event, exception, frame

HI = [("user", "Hi")]
CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9}
TURN = {"role": "user", "content": "Hi"}
BLOCKS = {"role": "user", "content": [{"text": "Hi"}]}
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 4, "outputTokenCount": 2, "invocationLatency": 9}}


def said(messages: list[Message]) -> list[tuple[str, str]]:
    """Return the texts of messages, with their roles."""
    return [(m.role, "".join(p.content for p in m.parts if isinstance(p, Text))) for m in messages]


REQUESTS = {
    "claude": (CLAUDE | {"messages": [TURN]}, {"gen_ai.request.max_tokens": 9}),
    "claude completions": ({"prompt": "Hi", "max_tokens_to_sample": 9}, {"gen_ai.request.max_tokens": 9}),
    "nova": ({"messages": [BLOCKS], "inferenceConfig": {"maxTokens": 9}}, {"gen_ai.request.max_tokens": 9}),
    "openai": ({"messages": [TURN], "max_completion_tokens": 9}, {"gen_ai.request.max_tokens": 9}),
    "jamba": ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}, {}),
    "llama": ({"prompt": "Hi", "max_gen_len": 9, "top_p": 0.5}, None),
    "titan": (
        {"inputText": "Hi", "textGenerationConfig": {"maxTokenCount": 9, "stopSequences": ["END"]}},
        {"gen_ai.request.max_tokens": 9, "gen_ai.request.stop_sequences": ["END"]},
    ),
    "titan embeddings": ({"inputText": "Hi", "dimensions": 256}, {"gen_ai.embeddings.dimension.count": 256}),
    "cohere": ({"message": "Hi", "p": 0.5, "k": 3}, {"gen_ai.request.top_p": 0.5, "gen_ai.request.top_k": 3}),
    "cohere embeddings": ({"texts": ["H", "i"], "input_type": "search_query"}, {}),
}


@pytest.mark.parametrize(("body", "parameters"), REQUESTS.values(), ids=REQUESTS.keys())
def test_every_makers_request_is_read(body: dict[str, Any], parameters: dict[str, Any] | None) -> None:
    """The prompt is the user's turn, and settings have the conventions' names."""
    read = read_request(msgspec.json.encode(body))
    assert said(read.input_messages) == HI
    assert parameters is None or read.parameters == parameters


def answer(*parts: Part, reason: str | None = "stop", word: str | None = None) -> list[Message]:
    """Make an output message."""
    return [Message(role="assistant", parts=list(parts), finish_reason=reason, finish_word=word)]


def used(tokens_in: int, tokens_out: int | None) -> Usage:
    """Make a usage."""
    total = None if tokens_out is None else tokens_in + tokens_out
    return Usage(input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=total)


CALL = ToolCall(id="t", name="look", arguments={"a": 1})
RESPONSES = {
    "claude": (
        {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [
                {"type": "text", "text": "Ho"},
                {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}},
            ],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 4, "output_tokens": 2},
        },
        answer(Text(content="Ho"), CALL, reason="tool_calls", word="tool_use"),
        used(4, 2),
    ),
    "claude completions": (
        {"type": "completion", "completion": "Ho", "stop_reason": "stop_sequence", "stop": "\n\nHuman:"},
        answer(Text(content="Ho"), word="stop_sequence"),
        None,
    ),
    "nova": (
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Ho"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 4, "outputTokens": 2, "totalTokens": 6},
        },
        answer(Text(content="Ho"), word="end_turn"),
        used(4, 2),
    ),
    "openai": (
        {
            "id": "c",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Ho"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6},
        },
        answer(Text(content="Ho")),
        used(4, 2),
    ),
    "deepseek": (
        {"choices": [{"text": "Ho", "stop_reason": "length"}]},
        answer(Text(content="Ho"), reason="length"),
        None,
    ),
    "llama": (
        {"generation": "Ho", "prompt_token_count": 4, "generation_token_count": 2, "stop_reason": "stop"},
        answer(Text(content="Ho")),
        used(4, 2),
    ),
    "titan": (
        {
            "inputTextTokenCount": 4,
            "results": [{"tokenCount": 2, "outputText": "Ho", "completionReason": "FINISH"}],
        },
        answer(Text(content="Ho"), word="FINISH"),
        used(4, 2),
    ),
    "titan embeddings": ({"embedding": [0.1], "inputTextTokenCount": 4}, [], used(4, None)),
    "mistral": (
        {"outputs": [{"text": "Ho", "stop_reason": "length"}]},
        answer(Text(content="Ho"), reason="length"),
        None,
    ),
    "cohere": (
        {"generations": [{"id": "g", "text": "Ho", "finish_reason": "COMPLETE"}], "id": "c", "prompt": "Hi"},
        answer(Text(content="Ho"), word="COMPLETE"),
        None,
    ),
    "cohere chat": (
        {"generation_id": "g", "text": "Ho", "finish_reason": "MAX_TOKENS"},
        answer(Text(content="Ho"), reason="length", word="MAX_TOKENS"),
        None,
    ),
    "cohere embeddings": ({"id": "e", "embeddings": [[0.1]], "response_type": "embeddings_floats"}, [], None),
    "another's": ({"images": ["iVBO"], "seed": 7}, [], None),
}


@pytest.mark.parametrize(("body", "messages", "usage"), RESPONSES.values(), ids=RESPONSES.keys())
def test_every_makers_response_is_read(body: dict[str, Any], messages: list[Message], usage: Usage | None) -> None:
    """Text, tool calls, the finish reason and the tokens, as far as the maker reports them."""
    read = read_response(msgspec.json.encode(body))
    assert (read.output_messages, read.usage) == (messages, usage)
    assert read.finish_reasons == [m.finish_reason for m in messages]
    assert (read.error_type, read.error_message) == (None, None)


def test_errors_are_bedrocks_or_the_makers() -> None:
    """Both say what happened."""
    assert read_response(b'{"message":"Too many requests"}').error_message == "Too many requests"
    anthropics = read_response(b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}')
    assert (anthropics.error_type, anthropics.error_message) == ("overloaded_error", "Overloaded")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"null", b'{"messages":3}', b'{"choices":{}}', b'{"type":[]}', b"\xff", b"[" * 999]
)
def test_any_bytes_are_read_without_an_error(body: bytes) -> None:
    """There is nothing to see in them."""
    assert read_request(body).input_messages == []
    assert read_response(body) == ChatResponse(extra=read_response(body).extra)


def chunk(body: Any) -> bytes:
    """Frame one event of the maker's, with the padding that AWS adds."""
    inner = b64encode(msgspec.json.encode(body)).decode()
    return event("chunk", msgspec.json.encode({"bytes": inner, "p": "abcdefgh"}))


STREAMS = {
    "claude": (
        [
            {
                "type": "message_start",
                "message": {"id": "m", "model": "c", "usage": {"input_tokens": 4, "output_tokens": 1}},
            },
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Ho"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"} | METRICS,
        ],
        answer(Text(content="Ho"), word="end_turn"),
    ),
    "claude completions": (
        [
            {"type": "completion", "completion": "H"},
            {"type": "completion", "completion": "o", "stop_reason": "stop"} | METRICS,
        ],
        answer(Text(content="Ho")),
    ),
    "nova": (
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Ho"}}},
            {"contentBlockStop": {"contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 4, "outputTokens": 2}}} | METRICS,
        ],
        answer(Text(content="Ho"), word="end_turn"),
    ),
    "openai": (
        [
            {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Ho"}}]},
            {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]} | METRICS,
        ],
        answer(Text(content="Ho")),
    ),
    "llama": (
        [
            {"generation": "H", "prompt_token_count": 4, "generation_token_count": 1, "stop_reason": None},
            {"generation": "o", "prompt_token_count": None, "generation_token_count": 2, "stop_reason": "stop"}
            | METRICS,
        ],
        answer(Text(content="Ho")),
    ),
    "titan": (
        [
            {
                "outputText": "Ho",
                "index": 0,
                "totalOutputTextTokenCount": 2,
                "completionReason": "FINISH",
                "inputTextTokenCount": 4,
            }
            | METRICS
        ],
        answer(Text(content="Ho"), word="FINISH"),
    ),
    "mistral": (
        [
            {"outputs": [{"text": "Ho", "stop_reason": None}]},
            {"outputs": [{"text": "", "stop_reason": "stop"}]} | METRICS,
        ],
        answer(Text(content="Ho")),
    ),
    "cohere": (
        [{"text": "Ho", "is_finished": False}, {"is_finished": True, "finish_reason": "COMPLETE"} | METRICS],
        answer(Text(content="Ho"), word="COMPLETE"),
    ),
    "another's": ([{"audio": "AAAA"}, METRICS], []),
}


@pytest.mark.parametrize("cut", [7, 100_000])
@pytest.mark.parametrize(("chunks", "messages"), STREAMS.values(), ids=STREAMS.keys())
def test_every_makers_stream_is_read(chunks: list[Any], messages: list[Message], cut: int) -> None:
    """In pieces of any size; tokens that the maker does not report are those of AWS's last chunk."""
    data = b"".join(map(chunk, chunks))
    reader = INVOKE.stream_reader()
    ended = []
    for at in range(0, len(data), cut):
        ended.append(reader.ended)
        reader.feed(data[at : at + cut])
    assert (reader.ended, any(ended)) == (True, False)
    assert reader.between
    read = reader.response()
    assert read.output_messages == messages
    assert reader.first_output == bool(messages)
    assert read.usage == used(4, 2) or (read.usage is not None and read.usage.cache_read_tokens == 0)
    assert read.finish_reasons == [m.finish_reason for m in messages]


def test_tokens_of_the_cache_are_in_awss_metrics() -> None:
    """They are part of the input, as the conventions have it."""
    reader = INVOKE.stream_reader()
    counts = {
        "inputTokenCount": 4,
        "outputTokenCount": 2,
        "cacheReadInputTokenCount": 30,
        "cacheWriteInputTokenCount": 5,
    }
    reader.feed(chunk({"generation": "Ho", "amazon-bedrock-invocationMetrics": counts}))
    assert reader.response().usage == Usage(
        input_tokens=39, output_tokens=2, total_tokens=41, cache_read_tokens=30, cache_write_tokens=5
    )


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (exception("throttlingException", b'{"message":"slow"}'), "throttlingException"),
        (frame(((":message-type", "error"), (":error-code", "x"), (":error-message", "slow")), b""), "x"),
    ],
)
def test_an_exception_ends_the_stream(broken: bytes, word: str) -> None:
    """The text before it is not lost."""
    reader = INVOKE.stream_reader()
    reader.feed(chunk({"generation": "H"}) + broken)
    read = reader.response()
    assert (reader.ended, read.error_type, read.error_message) == (True, word, "slow")
    assert said(read.output_messages) == [("assistant", "H")]


def test_chunks_that_cannot_be_read_are_counted() -> None:
    """They are skipped; what follows is read."""
    reader = INVOKE.stream_reader()
    junk = [b"{}", b'{"bytes":3}', b'{"bytes":"%%%"}', b'{"bytes":"aGk="}', b"\xff", b'{"bytes":"W10="}']
    reader.feed(b"".join(event("chunk", each) for each in junk) + event("initial-response", b"{}"))
    assert reader.unread == len(junk) + 1
    reader.feed(chunk({"generation": "Ho"}))
    assert said(reader.response().output_messages) == [("assistant", "Ho")]


def test_tokens_in_headers() -> None:
    """Those that AWS sends are counted, others are no numbers."""
    assert read_headers({"content-type": "application/json"}) is None
    assert read_headers({"x-amzn-bedrock-input-token-count": "9" * 5000}) is None
    headers = {"x-amzn-bedrock-input-token-count": "4", "x-amzn-bedrock-output-token-count": "2"}
    assert read_headers(headers) == used(4, 2)
    cached = {"x-amzn-bedrock-cache-read-input-token-count": "30", "x-amzn-bedrock-output-token-count": "-1"}
    assert read_headers(headers | cached) == Usage(input_tokens=34, cache_read_tokens=30)


def test_billing_facts_have_the_makers_usage_and_awss_counts() -> None:
    """Of a stream: the tier that Anthropic reports, and the counts of the last chunk."""
    reader = INVOKE.stream_reader()
    started = {"type": "message_start", "message": {"usage": {"input_tokens": 4, "service_tier": "standard"}}}
    for each in (started, {"type": "message_stop"} | METRICS):
        inner = b64encode(msgspec.json.encode(each)).decode()
        reader.feed(event("chunk", msgspec.json.encode({"bytes": inner})))
    counts = METRICS["amazon-bedrock-invocationMetrics"]
    assert reader.reported() == {"usage": {"input_tokens": 4, "service_tier": "standard"} | counts}


INNER = msgspec.json.encode(CLAUDE | {"messages": [TURN]})


@pytest.mark.parametrize(
    "counted", [{"converse": {"messages": [BLOCKS]}}, {"invokeModel": {"body": b64encode(INNER).decode()}}]
)
def test_the_request_whose_tokens_are_counted(counted: Any) -> None:
    """Converse's, or the bytes of an InvokeModel body; the response has its number of tokens."""
    assert said(COUNT_TOKENS.read_request(msgspec.json.encode({"input": counted})).input_messages) == HI
    usage = COUNT_TOKENS.read_response(b'{"inputTokens":7}').usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (7, None)


@pytest.mark.parametrize(
    "body", [b"", b'{"input":3}', b'{"input":{"converse":3}}', b'{"input":{"invokeModel":{"body":"%"}}}']
)
def test_a_count_of_any_bytes_is_read_without_an_error(body: bytes) -> None:
    """There is nothing to see in them."""
    assert COUNT_TOKENS.read_request(body).input_messages == []
