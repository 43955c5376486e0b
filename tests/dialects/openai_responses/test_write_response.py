import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import events
from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Citation,
    Message,
    Part,
    Reasoning,
    ServerToolCall,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_responses import RESPONSES, RESPONSES_WRITER
from tests.dialects import sdk_types
from tests.dialects import strategies_responses as drawn
from tests.dialects.openai_responses.responses import ASKED, NOW, answer, streamed, whole
from tests.dialects.streams import stream_events, written


@given(st.data())
def test_a_response_comes_back_as_it_was(data: st.DataObject) -> None:
    """Any response is written and read back the same."""
    answered = data.draw(drawn.answered())
    body, dropped = RESPONSES_WRITER.response(answered, ASKED, NOW)
    assert dropped == []
    assert RESPONSES.read_response(body) == answered


def test_a_whole_response_as_it_is_written() -> None:
    """It repeats what was asked; texts that follow each other are parts of one message."""
    logprob = TokenLogprob(token="é", logprob=-1.0, top=[TokenLogprob(token="e", logprob=-2.0)])
    body, dropped = whole(
        answer(
            Reasoning(content="One."),
            Reasoning(content="Two."),
            Text(content="It is ", citations=[Citation(uri="https://x", quote="q")], logprobs=[logprob]),
            Text(content="so."),
            ToolCall(name="f", arguments={"a": 1}),
            finish_reason="tool_calls",
            usage=Usage(input_tokens=3, output_tokens=4, cache_read_tokens=2),
            conversation_id="conv_1",
        )
    )
    token = {"token": "é", "logprob": -1.0, "bytes": [195, 169]}
    annotation = {"type": "url_citation", "url": "https://x", "title": "https://x", "start_index": 0, "end_index": 6}
    assert body == {
        "id": "resp_1",
        "object": "response",
        "created_at": 7,
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "Be short.",
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
        "model": "m",
        "output": [
            {
                "id": "rs_1_0",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
            },
            {
                "type": "message",
                "id": "msg_1_1",
                "status": "completed",
                "role": "assistant",
                "content": [
                    {
                        "type": "output_text",
                        "text": "It is ",
                        "annotations": [annotation],
                        "logprobs": [{**token, "top_logprobs": [{"token": "e", "logprob": -2.0, "bytes": [101]}]}],
                    },
                    {"type": "output_text", "text": "so.", "annotations": [], "logprobs": []},
                ],
            },
            {
                "id": "fc_1_2",
                "status": "completed",
                "type": "function_call",
                "call_id": body["output"][2]["call_id"],
                "name": "f",
                "arguments": '{"a":1}',
            },
        ],
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "reasoning": {"effort": "low", "summary": None},
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
        "user": "u-1",
        "conversation": {"id": "conv_1"},
    }
    assert body["output"][2]["call_id"].startswith("call_")
    assert dropped == ["output[2].citations.quote"]


WEB = ServerToolCall(name="web_search", server_tool_call={"type": "web_search", "input": {}})


@pytest.mark.parametrize(
    ("parts", "dropped"),
    [
        ([WEB], ["output[0]: server tool call"]),
        ([Blob(modality="audio", content="AA==")], ["output[0]: audio blob"]),
        ([Text(content="a", citations=[Citation(title="none")])], ["output[0].citations"]),
        ([Text(content="a", extra={"gemini": {"thoughtSignature": "s"}})], ["output[0].thoughtSignature"]),
        ([ToolCall(id="c", name="f", extra={"gemini": {"thoughtSignature": "s"}})], ["output[0].thoughtSignature"]),
    ],
)
def test_what_has_no_word_is_named(parts: list[Part], dropped: list[str]) -> None:
    """Whole and streamed alike."""
    assert whole(answer(*parts))[1] == dropped
    assert streamed(stream_events(answer(*parts)))[2] == dropped


@pytest.mark.parametrize(
    ("reason", "word", "status", "details", "dropped"),
    [
        ("tool_calls", "tool_use", "completed", None, []),
        ("length", "max_tokens", "incomplete", "max_output_tokens", []),
        ("content_filter", "refusal", "incomplete", "content_filter", []),
        ("error", "MALFORMED_FUNCTION_CALL", "failed", None, []),
    ],
)
def test_how_it_ended_is_its_status(
    reason: str, word: str | None, status: str, details: str | None, dropped: list[str]
) -> None:
    """A reason that the dialect lacks makes no completed response, and is named."""
    message = Message(role="assistant", parts=[Text(content="a")], finish_reason=reason, finish_word=word)
    body, named = whole(ChatResponse(output_messages=[message]))
    stream, _, streamed_named = streamed(stream_events(ChatResponse(output_messages=[message])))
    for response in (body, stream[-1]["response"]):
        assert (response["status"], (response["incomplete_details"] or {}).get("reason")) == (status, details)
        assert bool(response["error"]) == (status == "failed")
    assert named == streamed_named == dropped
    assert stream[-1]["type"] == f"response.{status}"


def test_other_choices_are_named() -> None:
    """There is room for one."""
    messages = [Message(role="assistant", parts=[Text(content=c)], finish_reason="stop") for c in "ab"]
    assert whole(ChatResponse(output_messages=messages))[1] == ["choices[1]"]
    _, made, dropped = streamed(stream_events(ChatResponse(output_messages=messages)))
    assert (made.output_text, dropped) == ("a", ["choices[1]"])


@pytest.mark.parametrize("usage", [None, Usage(), Usage(reasoning_tokens=3)])
def test_counts_that_are_unknown_are_none(usage: Usage | None) -> None:
    """Zero is a count: what was not counted is null."""
    assert whole(answer(Text(content="a"), usage=usage))[0]["usage"] is None
    assert streamed(stream_events(answer(Text(content="a"), usage=usage)))[1].usage is None


def test_what_proves_reasoning_elsewhere_is_carried_by_the_client() -> None:
    """It goes out as what is encrypted, which clients send back, and comes back as what it was."""
    thoughts: list[Part] = [
        Reasoning(content="Hm.", extra={"anthropic-messages": {"signature": "EqQB"}}),
        Reasoning(content="", extra={"anthropic-messages": {"data": "EmwK"}}),
    ]
    body, dropped = whole(answer(*thoughts))
    assert dropped == []
    _, made, dropped = streamed(stream_events(answer(*thoughts)))
    assert made.output[0].to_dict() == body["output"][0]
    assert dropped == []
    assert RESPONSES.read_conversation is not None
    for output in (body["output"], [item.to_dict() for item in made.output]):
        asked = RESPONSES.read_conversation(json.dumps({"input": output}).encode(), "/")
        assert asked.input_messages == [Message(role="assistant", parts=thoughts)]


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("rate_limit_exceeded", {"code": "rate_limit_exceeded", "message": "No."}),
        ("rate_limit_error", {"code": "rate_limit_exceeded", "message": "No.", "type": "rate_limit_error"}),
        ("overloaded_error", {"code": "server_error", "message": "No.", "type": "overloaded_error"}),
        (None, {"code": "server_error", "message": "No."}),
    ],
)
def test_errors_are_a_response_that_failed(word: str | None, error: dict[str, Any]) -> None:
    """In the middle of a stream, with what came before it; and in place of a whole response."""
    emitted = [*list(stream_events(answer(Text(content="Once upon"), ToolCall(id="c", name="f", arguments=[1]))))[:7]]
    emitted = emitted[: next(i for i, event in enumerate(emitted) if isinstance(event, events.PartDone))]
    stream, _ = written(RESPONSES_WRITER, ASKED, [*emitted, events.Broken(type=word, message="No.")])
    last = list(sdk_types.data_of(stream))[-1]
    assert (last["type"], last["response"]["error"]) == ("response.failed", error)
    [item] = last["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Once upon")
    body, _ = whole(ChatResponse(error_type=word, error_message="No."))
    assert (body["status"], body["error"]) == ("failed", error)
