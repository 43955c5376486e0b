import json
from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatResponse,
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
)
from gateway.dialects.openai_responses import COMPACTION, INPUT_TOKENS, RESPONSES
from tests.dialects.openai_responses.reading import CREATED, MODEL, USAGE, Read, answer, own


def test_a_whole_response_is_read(read: Read) -> None:
    """A response that was not streamed gives the same form; reasoning that is hidden is an empty part."""
    assert RESPONSES.read_response(read("responses_whole.json")) == ChatResponse(
        id="resp_6",
        model=MODEL,
        created=CREATED,
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="", extra=own(id="rs_2", encrypted_content="gAAAAA==")),
                ServerToolCall(
                    id="ci_1",
                    name="code_interpreter",
                    server_tool_call={
                        "type": "code_interpreter_call",
                        "code": "1+1",
                        "container_id": "cntr_1",
                    },
                ),
                ServerToolCallResponse(
                    id="ci_1",
                    server_tool_call_response={
                        "type": "code_interpreter_call",
                        "outputs": [{"type": "logs", "logs": "2"}],
                    },
                ),
                ServerToolCall(
                    id="ig_1",
                    name="image_generation",
                    server_tool_call={"type": "image_generation_call", "output_format": "webp"},
                ),
                Blob(modality="image", mime_type="image/webp", content="iVBORw0KGgo="),
                ToolCall(id="call_c", name="run", arguments="ls -l", custom=True),
                Text(content="Two."),
                Refusal(content="No more."),
                finish_reason="tool_calls",
            )
        ],
        usage=USAGE,
        conversation_id="conv_2",
    )


@pytest.mark.parametrize(
    ("response", "word"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered"),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete"),
        ({"status": "failed"}, "error"),
        ({"status": "cancelled"}, "cancelled"),
    ],
)
def test_how_a_response_ended_is_the_one_vocabularys(response: dict[str, Any], word: str) -> None:
    """Status and details become a finish reason."""
    answered = RESPONSES.read_response(json.dumps({"output": [], **response}).encode())
    known = "max_output_tokens" if word == "length" else None
    assert answered == ChatResponse(
        finish_reasons=[word], output_messages=[answer(finish_reason=word, finish_word=known)]
    )


@pytest.mark.parametrize("status", ["queued", "in_progress", None])
def test_a_response_in_the_background_has_no_finish_reason(status: str | None) -> None:
    """A response that has not ended has no finish reason."""
    body = json.dumps({"id": "resp_1", "status": status, "output": []}).encode()
    assert RESPONSES.read_response(body) == ChatResponse(id="resp_1")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error":{"type":"a","code":"b","message":"c"}}', ("a", "c")),
        (b'{"code":"b","message":"c"}', ("b", "c")),
        (b"<html>", (None, None)),
        (b'{"output":7}', (None, None)),
    ],
)
def test_error_bodies_are_read(body: bytes, error: tuple[str | None, str | None]) -> None:
    """An error body gives the provider's own type and message, and nothing else."""
    assert RESPONSES.read_response(body) == ChatResponse(error_type=error[0], error_message=error[1])


def test_a_compacted_conversation_is_a_response() -> None:
    """Its items and its usage, under an operation of its own."""
    body = {
        "id": "resp_c",
        "object": "response.compaction",
        "output": [{"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAAA=="}],
        "usage": {"input_tokens": 139, "output_tokens": 438, "total_tokens": 577},
    }
    read = COMPACTION.read_response(json.dumps(body).encode())
    assert (COMPACTION.operation, read.id, read.error_message) == ("compact", "resp_c", None)
    assert [type(part).__name__ for message in read.output_messages for part in message.parts] == ["Compaction"]
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens) == (139, 438)


def test_a_token_count_is_of_the_input() -> None:
    """The response has the number alone."""
    read = INPUT_TOKENS.read_response(b'{"object":"response.input_tokens","input_tokens":11}')
    assert read.usage is not None
    assert (INPUT_TOKENS.operation, read.usage.input_tokens, read.usage.output_tokens) == ("count_tokens", 11, None)
    assert INPUT_TOKENS.read_response(b'{"error":{"message":"no"}}').error_message == "no"
