import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects import events
from gateway.dialects.anthropic import MESSAGES, MESSAGES_WRITER
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
    Usage,
)
from tests.dialects import strategies_messages as drawn
from tests.dialects.anthropic.responses import ASKED, BEGUN, NOW, answer, streamed, whole
from tests.dialects.streams import stream_events, written


@given(st.data())
def test_a_response_comes_back_as_it_was(data: st.DataObject) -> None:
    """Any response is written and read back the same."""
    answered = data.draw(drawn.answered())
    body, dropped = MESSAGES_WRITER.response(answered, ASKED, NOW)
    assert dropped == []
    assert MESSAGES.read_response(body) == answered


@pytest.mark.parametrize(
    ("part", "block", "dropped"),
    [
        (Refusal(content="No."), {"type": "text", "text": "No."}, []),
        (
            Text(content="So.", citations=[Citation(uri="https://x", title="X"), Citation(title="none")]),
            {
                "type": "text",
                "text": "So.",
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": "https://x",
                        "title": "X",
                        "cited_text": "",
                        "encrypted_index": "",
                    }
                ],
            },
            ["content[0].citations"],
        ),
        (
            Text(content="So.", logprobs=[TokenLogprob(token="So", logprob=-1.0)], extra={"gemini": {"x": 1}}),
            {"type": "text", "text": "So."},
            ["content[0].x", "logprobs"],
        ),
        (Blob(modality="image", mime_type="image/bmp", content="AA=="), None, ["content[0]: image blob"]),
        (Reasoning(content=""), None, []),
    ],
)
def test_parts_are_written_or_named(part: Part, block: dict[str, Any] | None, dropped: list[str]) -> None:
    """Sources found by another's search are written as Anthropic's; those without a block are named."""
    body, named = MESSAGES_WRITER.response(answer(part), ASKED, NOW)
    assert json.loads(body)["content"] == ([block] if block else [])
    assert sorted(named) == sorted(dropped)
    if block:
        _, made, named = streamed(stream_events(answer(part)))
        shown = {key: value for key, value in made.content[0].to_dict().items() if value is not None}
        assert shown == block
        assert sorted(named) == sorted(dropped)


@pytest.mark.parametrize(
    ("reason", "word", "expected", "dropped"),
    [
        ("stop", None, "end_turn", []),
        (None, None, "end_turn", []),
        ("tool_calls", "stop", "tool_use", []),
        ("stop", "stop_sequence", "stop_sequence", []),
        ("pause_turn", None, "pause_turn", []),
        ("content_filter", "SAFETY", "refusal", []),
    ],
)
def test_reasons_are_those_that_clients_know(reason: str, word: str | None, expected: str, dropped: list[str]) -> None:
    """Of words with one meaning the client gets its own."""
    message = Message(role="assistant", parts=[Text(content="a")], finish_reason=reason, finish_word=word)
    body, named = whole(ChatResponse(output_messages=[message]))
    assert (body["stop_reason"], named) == (expected, dropped)
    _, made, named = streamed(stream_events(ChatResponse(output_messages=[message])))
    assert (made.stop_reason, named) == (expected, dropped)


def test_other_choices_are_named() -> None:
    """There is room for one."""
    messages = [Message(role="assistant", parts=[Text(content=c)], finish_reason="stop") for c in "ab"]
    body, dropped = whole(ChatResponse(output_messages=messages))
    assert ([block["text"] for block in body["content"]], dropped) == (["a"], ["choices[1]"])
    _, made, dropped = streamed(stream_events(ChatResponse(output_messages=messages)))
    assert ([block.text for block in made.content], dropped) == (["a"], ["choices[1]"])


def test_counts_that_are_unknown_are_as_few_as_the_sdk_takes() -> None:
    """A message wants two counts, and its last event but one of them: the other is not zero there."""
    body, _ = whole(answer(Text(content="a")))
    assert body["usage"] == {"input_tokens": 0, "output_tokens": 0}
    stream, _, _ = streamed(stream_events(answer(Text(content="a"))))
    assert stream[-2]["usage"] == {"output_tokens": 0}
    stream, made, _ = streamed(stream_events(answer(Text(content="a"), usage=Usage(input_tokens=3, output_tokens=4))))
    assert made.usage.to_dict() == {"input_tokens": 3, "output_tokens": 4}


def test_what_proves_reasoning_elsewhere_is_carried_by_the_client() -> None:
    """It goes out as the thinking's signature, which clients send back, and comes back as what it was."""
    thoughts = [
        Reasoning(content="Hm.", extra={"openai-responses": {"id": "rs_1", "encrypted_content": "gAAA"}}),
        Reasoning(content="", extra={"gemini": {"thoughtSignature": "c2ln"}}),
    ]
    body, dropped = whole(answer(*thoughts))
    assert dropped == []
    _, made, dropped = streamed(stream_events(answer(*thoughts)))
    assert [block.to_dict() for block in made.content] == body["content"]
    assert dropped == []
    assert MESSAGES.read_conversation is not None
    request = {"messages": [{"role": "assistant", "content": body["content"]}]}
    asked = MESSAGES.read_conversation(json.dumps(request).encode(), "/")
    assert asked.input_messages == [Message(role="assistant", parts=list(thoughts))]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("overloaded_error", "overloaded_error"),
        ("rate_limit_exceeded", "rate_limit_error"),
        ("UNAVAILABLE", "overloaded_error"),
        (None, "api_error"),
        ("novel", "api_error"),
    ],
)
def test_errors_are_in_words_that_clients_know(word: str | None, expected: str) -> None:
    """In the middle of a stream, and in place of a whole response."""
    error = {"type": "error", "error": {"type": expected, "message": "No."}}
    stream, _ = written(MESSAGES_WRITER, ASKED, [BEGUN, events.Broken(type=word, message="No.")])
    assert stream.endswith(b"event: error\ndata: " + json.dumps(error, separators=(",", ":")).encode() + b"\n\n")
    assert b"message_stop" not in stream
    body, _ = MESSAGES_WRITER.response(ChatResponse(error_type=word, error_message="No."), ASKED, NOW)
    assert json.loads(body) == error
