import json
from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Citation,
    File,
    Message,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_chat import CHAT_COMPLETIONS, CHAT_WRITER
from tests.dialects import sdk_types
from tests.dialects.openai_chat.responses import ASKED, NOW, answer, deltas, streamed
from tests.dialects.streams import stream_events, written

OLDER = ChatRequest(operation="text_completion", model="gpt-3.5-turbo-instruct", include_usage=True)


WEB = ServerToolCall(name="web_search", server_tool_call={"type": "web_search", "input": {}})


def whole(answered: ChatResponse, asked: ChatRequest = ASKED) -> tuple[dict[str, Any], list[str]]:
    """Write a whole response, that the SDK takes; return it and the names of the losses."""
    body, dropped = CHAT_WRITER.response(answered, asked, NOW)
    (Completion if asked is OLDER else ChatCompletion).model_validate_json(body)
    return json.loads(body), dropped


def test_a_whole_response_as_it_is_written() -> None:
    """Texts are one, with their places moved; a call without an id gets one that no other response has."""
    first = Text(content="It is ", citations=[Citation(uri="https://x", title="X", quote="q")])
    second = Text(content="so.", citations=[Citation(uri="https://y", start=0, end=2)])
    logprob = TokenLogprob(token="é", logprob=-1.0, top=[TokenLogprob(token="e", logprob=-2.0)])
    body, dropped = whole(
        answer(
            Reasoning(content="One."),
            Reasoning(content="Two."),
            first,
            Text(content="", logprobs=[logprob]),
            second,
            ToolCall(name="f", arguments={"a": 1}),
            finish_reason="tool_calls",
            usage=Usage(input_tokens=3, output_tokens=4, cache_read_tokens=2),
        )
    )
    assert body == {
        "id": "r-1",
        "object": "chat.completion",
        "created": 7,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "It is so.",
                    "refusal": None,
                    "reasoning_content": "One.\n\nTwo.",
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url_citation": {
                                "url": "https://x",
                                "title": "X",
                                "start_index": 0,
                                "end_index": 6,
                                "content": "q",
                            },
                        },
                        {
                            "type": "url_citation",
                            "url_citation": {
                                "url": "https://y",
                                "title": "https://y",
                                "start_index": 6,
                                "end_index": 8,
                            },
                        },
                    ],
                    "tool_calls": [
                        {"id": "call_d9c03ff9_5", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
                    ],
                },
                "logprobs": {
                    "content": [
                        {
                            "token": "é",
                            "logprob": -1.0,
                            "bytes": [195, 169],
                            "top_logprobs": [{"token": "e", "logprob": -2.0, "bytes": [101]}],
                        }
                    ],
                    "refusal": None,
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "total_tokens": 7,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }
    assert dropped == []


@pytest.mark.parametrize(
    ("parts", "text", "dropped"),
    [
        ([Text(content="a"), Text(content="b")], "ab", []),
        ([Text(content="a"), WEB, Text(content="b")], "a\n\nb", ["choices[0].parts[1]: server tool call"]),
        ([WEB, Text(content="b")], "b", ["choices[0].parts[0]: server tool call"]),
        (
            [Text(content="a"), Blob(modality="image", content="AA=="), Text(content="b")],
            "a\n\nb",
            ["choices[0].parts[1]: image blob"],
        ),
        (
            [Text(content="a", citations=[Citation(title="no address")], extra={"gemini": {"thoughtSignature": "s"}})],
            "a",
            ["choices[0].parts[0].thoughtSignature", "choices[0].parts[0].citations"],
        ),
    ],
)
def test_texts_are_one_and_what_stood_between_is_named(parts: list[Part], text: str, dropped: list[str]) -> None:
    """A part without a form keeps two texts apart, whole and streamed."""
    body, named = whole(answer(*parts))
    assert (body["choices"][0]["message"]["content"], named) == (text, dropped)
    chunks, named = streamed(answer(*parts))
    assert ("".join(delta.get("content", "") for delta in deltas(chunks)), sorted(named)) == (text, sorted(dropped))


@pytest.mark.parametrize(
    ("reason", "word", "expected", "dropped"),
    [
        ("stop", "end_turn", "stop", []),
        ("content_filter", "refusal", "content_filter", []),
        ("tool_calls", "function_call", "function_call", []),
    ],
)
def test_reasons_are_those_that_clients_know(reason: str, word: str | None, expected: str, dropped: list[str]) -> None:
    """Of words with one meaning the client gets its own."""
    message = Message(role="assistant", parts=[Text(content="a")], finish_reason=reason, finish_word=word)
    response = ChatResponse(output_messages=[message])
    body, named = whole(response)
    assert (body["choices"][0]["finish_reason"], named) == (expected, dropped)
    chunks, named = streamed(response)
    assert (chunks[-1]["choices"][0]["finish_reason"], named) == (expected, dropped)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None),
        (Usage(), None),
        (Usage(cache_read_tokens=3), None),
        (Usage(input_tokens=3), {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}),
        (
            Usage(input_tokens=3, output_tokens=4, total_tokens=9, reasoning_tokens=0),
            {
                "prompt_tokens": 3,
                "completion_tokens": 4,
                "total_tokens": 9,
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
        ),
    ],
)
def test_counts_that_are_unknown_are_left_out(usage: Usage | None, expected: dict[str, Any] | None) -> None:
    """Zero is a count; where one of the sums is known the SDK wants the other, too."""
    body, _ = whole(answer(Text(content="a"), usage=usage))
    assert body.get("usage") == expected
    chunks, _ = streamed(answer(Text(content="a"), usage=usage), ChatRequest(operation="chat", include_usage=True))
    assert [chunk["usage"] for chunk in chunks if not chunk["choices"]] == ([expected] if expected else [])


def test_what_proves_reasoning_elsewhere_is_carried_by_the_client() -> None:
    """It goes out as details that clients of OpenRouter send back, and comes back as what it was, text by text."""
    thoughts: list[Part] = [
        Reasoning(content="Hm.", extra={"anthropic-messages": {"signature": "EqQB"}}),
        Reasoning(content="", extra={"anthropic-messages": {"data": "EmwK"}}),
        Reasoning(content="So.", extra={"anthropic-messages": {"signature": "EqQC"}}),
    ]
    response = answer(*thoughts, Text(content="a"))
    body, dropped = whole(response)
    message = body["choices"][0]["message"]
    assert [detail["type"] for detail in message["reasoning_details"]] == ["reasoning.encrypted"] * 3
    assert dropped == []
    stream, writer = written(CHAT_WRITER, ASKED, stream_events(response), NOW)
    made = sdk_types.chat_message(stream).choices[0].message.to_dict()
    assert writer.dropped == []
    assert CHAT_COMPLETIONS.read_conversation is not None
    for sent_back in (message, made):
        asked = CHAT_COMPLETIONS.read_conversation(json.dumps({"messages": [sent_back]}).encode(), "/")
        assert asked.input_messages == [Message(role="assistant", parts=[*thoughts, Text(content="a")])]


def test_a_call_by_gemini_has_its_signature_as_googles_own_api_tells_it() -> None:
    """Its clients send it back with the call, and Gemini refuses the call without it."""
    call = ToolCall(id="c", name="f", arguments={}, extra={"gemini": {"thoughtSignature": "c2ln", "more": 1}})
    extra = {"google": {"thought_signature": "c2ln"}}
    body, dropped = whole(answer(call))
    assert body["choices"][0]["message"]["tool_calls"][0]["extra_content"] == extra
    assert dropped == ["choices[0].parts[0].more"]
    chunks, dropped = streamed(answer(call))
    assert deltas(chunks)[0]["tool_calls"][0]["extra_content"] == extra
    assert dropped == ["choices[0].parts[0].more"]


def test_speech_is_written_whole() -> None:
    """A sound is the message's audio, and so is one that is kept."""
    body, dropped = whole(
        answer(Text(content="Hi."), Blob(modality="audio", mime_type="audio/wav", content="UklGRg=="))
    )
    assert body["choices"][0]["message"]["audio"]["data"] == "UklGRg=="
    assert dropped == []
    body, _ = CHAT_WRITER.response(answer(File(modality="audio", file_id="a-1")), ASKED, NOW)
    assert json.loads(body)["choices"][0]["message"]["audio"] == {"id": "a-1"}


def test_the_older_completions_have_their_own_shape() -> None:
    """A client that completes a prompt gets `text`, and parts that are no text are named."""
    usage = Usage(input_tokens=1, output_tokens=2, total_tokens=3)
    response = answer(Text(content="is "), Refusal(content="no"), Text(content="blue"), usage=usage)
    body, dropped = whole(response, OLDER)
    choice = {"index": 0, "text": "is blue", "logprobs": None, "finish_reason": "stop"}
    assert (body["object"], body["choices"]) == ("text_completion", [choice])
    assert dropped == ["choices[0].parts[1]: refusal"]
    chunks, dropped = streamed(response, OLDER)
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks if chunk["choices"]) == "is blue"
    assert dropped == ["choices[0].parts[1]: refusal"]
    assert chunks[-1]["usage"]["total_tokens"] == 3


def test_an_error_in_place_of_a_response_is_one() -> None:
    """A whole response that tells of an error becomes an error body."""
    body, _ = CHAT_WRITER.response(ChatResponse(error_type="api_error", error_message="No."), ASKED, NOW)
    error = {"message": "No.", "type": "server_error", "param": None, "code": "api_error"}
    assert json.loads(body) == {"error": error}
