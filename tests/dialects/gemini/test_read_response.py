import json
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Citation,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.gemini import COUNT_TOKENS, EMBED, GEMINI
from tests.dialects.gemini.reading import OWN, Read


def answer(*parts: Part, finish_reason: str | None, finish_word: str | None = None) -> Message:
    """Make an output message."""
    return Message(role="assistant", parts=list(parts), finish_reason=finish_reason, finish_word=finish_word)


def test_a_whole_response_is_read(read: Read) -> None:
    """Code that was run, sources, probabilities, an image and a call; the counts are brought to the conventions."""
    likely = TokenLogprob(token="It", logprob=-0.1)
    likely = replace(likely, top=[likely, TokenLogprob(token="So", logprob=-2.5)])
    citations = [
        Citation(uri="https://example.com/powers", start=6, end=10, extra={OWN: {"license": "mit"}}),
    ]
    answered = GEMINI.read_response(read("gemini_whole.json"))
    assert answered == ChatResponse(
        id="resp_09",
        model="gemini-3-pro-002",
        finish_reasons=["tool_calls"],
        output_messages=[
            Message(
                role="assistant",
                parts=[
                    Reasoning(content="I will compute it."),
                    ServerToolCall(
                        name="code_execution",
                        server_tool_call={"type": "code_execution", "language": "PYTHON", "code": "print(2 ** 10)"},
                    ),
                    ServerToolCallResponse(
                        server_tool_call_response={
                            "type": "code_execution",
                            "outcome": "OUTCOME_OK",
                            "output": "1024\n",
                        }
                    ),
                    Text(content="It is 1024.", citations=citations, logprobs=[likely]),
                    Blob(
                        modality="image",
                        mime_type="image/png",
                        content="iVBORw0KGgo=",
                        extra={OWN: {"thoughtSignature": "c2ln"}},
                    ),
                    ToolCall(id="fc_9", name="note", arguments={"n": 1024}),
                ],
                finish_reason="tool_calls",
                finish_word="STOP",
                extra=answered.output_messages[0].extra,
            )
        ],
        usage=Usage(input_tokens=20 + 15, output_tokens=30 + 10, total_tokens=75, reasoning_tokens=10),
        created=1793588645,
        extra=answered.extra,
    )
    assert answered.output_messages[0].extra[OWN].keys() == {"avgLogprobs", "citationMetadata"}
    assert answered.extra[OWN]["usageMetadata"].keys() == {"toolUsePromptTokenCount", "promptTokensDetails"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", ChatResponse()),
        (b"<html>", ChatResponse()),
        (b"null", ChatResponse()),
        (b'{"candidates":7,"usageMetadata":[]}', ChatResponse()),
        (b"{" * 9999, ChatResponse()),
        (b"[" * 9999, ChatResponse()),
        (b'{"error":"broken"}', ChatResponse(error_message="broken")),
    ],
)
def test_a_response_that_says_nothing_is_an_empty_record(body: bytes, expected: ChatResponse) -> None:
    """An unreadable body gives an empty response."""
    assert GEMINI.read_response(body) == expected


@pytest.mark.parametrize("name", ["gemini_error.json", "gemini_array_error.json"])
def test_an_error_body_is_read(read: Read, name: str) -> None:
    """An error gives Google's word and the message, in a list too, as a stream without `alt=sse` has it."""
    answered = GEMINI.read_response(read(name))
    assert (answered.error_type, bool(answered.error_message)) in {("INVALID_ARGUMENT", True), ("NOT_FOUND", True)}
    assert replace(answered, error_type=None, error_message=None) == ChatResponse()


@pytest.mark.parametrize(
    ("finish", "reason", "word"),
    [
        ("STOP", "stop", None),
        ("MAX_TOKENS", "length", "MAX_TOKENS"),
        *((w, "content_filter", w) for w in ("SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII")),
        ("MALFORMED_FUNCTION_CALL", "error", "MALFORMED_FUNCTION_CALL"),
        ("OTHER", "OTHER", None),
        ("NOVEL", "NOVEL", None),
        ("FINISH_REASON_UNSPECIFIED", None, None),
        (None, None, None),
        (7, None, None),
    ],
)
def test_finish_reasons_are_the_one_vocabularys(finish: Any, reason: str | None, word: str | None) -> None:
    """Google's words become the common ones, and are kept where they say more; those without one stay."""
    answered = GEMINI.read_response(json.dumps({"candidates": [{"finishReason": finish}]}).encode())
    assert answered == ChatResponse(
        finish_reasons=[reason] if reason else [],
        output_messages=[answer(finish_reason=reason, finish_word=word)],
    )


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        ({"promptTokenCount": 5, "totalTokenCount": 5}, (5, 0, 5, None, None)),
        ({"promptTokenCount": 5, "thoughtsTokenCount": 7, "totalTokenCount": 12}, (5, 7, 12, None, 7)),
        ({"promptTokenCount": 5, "candidatesTokenCount": 2}, (5, 2, 7, None, None)),
        ({"prompt_token_count": 5, "cached_content_token_count": 3}, (5, None, None, 3, None)),
        ({"promptTokenCount": "5", "totalTokenCount": True}, (None, None, None, None, None)),
        ({"totalTokenCount": 5}, (None, None, 5, None, None)),
    ],
)
def test_usage_is_brought_to_the_conventions(reported: dict[str, Any], usage: tuple[int | None, ...]) -> None:
    """A count of 0 is left out by Google, so it follows from the total; a count without a source is unknown."""
    answered = GEMINI.read_response(json.dumps({"usageMetadata": reported}).encode())
    assert answered.usage == Usage(
        input_tokens=usage[0],
        output_tokens=usage[1],
        total_tokens=usage[2],
        cache_read_tokens=usage[3],
        reasoning_tokens=usage[4],
    )


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"embedding": {"values": [0.1]}}, None),
        ({"embeddings": [{"values": [0.1]}, {"values": [0.2]}], "usageMetadata": {"promptTokenCount": 5}}, (5, None)),
        ({"error": {"code": 400, "message": "no", "status": "INVALID_ARGUMENT"}}, None),
    ],
)
def test_embeddings_are_read_without_their_vectors(body: dict[str, Any], usage: tuple[int, int | None] | None) -> None:
    """The tokens, where the API reports them, and an error."""
    read = EMBED.read_response(json.dumps(body).encode())
    assert (None if read.usage is None else (read.usage.input_tokens, read.usage.output_tokens)) == usage
    assert read.error_message == ("no" if "error" in body else None)
    assert EMBED.read_response(b"no JSON") == ChatResponse()


def test_a_token_count_is_the_total() -> None:
    """The prompt's tokens, in a response that has no candidates."""
    read = COUNT_TOKENS.read_response(b'{"totalTokens":31,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}')
    assert read.usage == Usage(input_tokens=31, total_tokens=31)
