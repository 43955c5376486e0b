"""Responses of Ollama's, written."""

import json
from typing import Any

import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    Usage,
)
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_WRITER
from gateway.errors import Kind
from tests.dialects import strategies_ollama as drawn
from tests.dialects.ollama.requests import ASKED, NOW, PNG, PROMPTED


def whole(parts: list[Part], asked: ChatRequest = ASKED, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """Write a whole response; return its body and the names of the losses."""
    message = Message(role="assistant", parts=parts, finish_reason="stop")
    body, dropped = OLLAMA_WRITER.response(ChatResponse(model="m", output_messages=[message], **more), asked, NOW)
    return json.loads(body), dropped


@pytest.mark.parametrize("asked", [ASKED, PROMPTED])
@given(data=st.data())
def test_a_response_comes_back_as_it_was(asked: ChatRequest, data: st.DataObject) -> None:
    """Any response of Ollama is written and read back the same, and its package takes it."""
    answered = data.draw(drawn.answered())
    body, dropped = OLLAMA_WRITER.response(answered, asked, NOW)
    assert dropped == []
    assert OLLAMA_CHAT.read_response(body) == answered
    (ollama.ChatResponse if asked is ASKED else ollama.GenerateResponse).model_validate_json(body)


def test_a_whole_response_as_it_is_written() -> None:
    """Texts are one text, a refusal too; counts and dates are in Ollama's words."""
    parts = [Text(content="It is ", logprobs=[TokenLogprob(token="It", logprob=-1.0)]), Refusal(content="secret.")]
    usage = Usage(input_tokens=3, output_tokens=4, total_tokens=7, cache_read_tokens=2, reasoning_tokens=0)
    body, dropped = whole(parts, id="r-1", usage=usage, extra={"openai-chat": {"system_fingerprint": "f"}})
    assert body == {
        "model": "m",
        "created_at": "2026-11-20T08:20:00.250000Z",
        "message": {"role": "assistant", "content": "It is secret."},
        "logprobs": [{"token": "It", "logprob": -1.0}],
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 4,
    }
    assert dropped == ["usage.cache_read_tokens", "system_fingerprint"]


def test_the_answer_to_a_prompt_has_its_own_shape() -> None:
    """A client that completes a prompt gets `response`, and its package reads it."""
    body, dropped = whole([Reasoning(content="hm"), Text(content="blue"), PNG], PROMPTED)
    assert (body["response"], body["thinking"], "message" in body) == ("blue", "hm", False)
    assert dropped == ["choices[0]: images"]
    assert ollama.GenerateResponse.model_validate(body).response == "blue"


def test_other_choices_are_named() -> None:
    """There is room for one choice."""
    messages = [Message(role="assistant", parts=[Text(content=c)], finish_reason="stop") for c in "ab"]
    body, dropped = OLLAMA_WRITER.response(ChatResponse(output_messages=messages, conversation_id="c"), ASKED, NOW)
    assert json.loads(body)["message"]["content"] == "a"
    assert dropped == ["conversation", "choices[1]"]


def test_a_response_that_is_an_error_is_written_as_one() -> None:
    """A provider may tell of an error in a body that looks well."""
    body, _ = OLLAMA_WRITER.response(ChatResponse(error_type="overloaded", error_message="busy"), ASKED, NOW)
    assert json.loads(body) == {"error": "busy"}


def test_an_error_body_is_what_the_package_raises() -> None:
    """An error has a message, which the package's exception shows."""
    body = OLLAMA_WRITER.error(Kind.NOT_FOUND, 404, "no such model", "model_not_found", "req-1")
    assert ollama.ResponseError(body.decode(), 404).error == "no such model"
