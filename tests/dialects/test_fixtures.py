import json
from collections.abc import Callable
from typing import Any

import anthropic.types
import openai.types.chat
import openai.types.responses
import pytest
from google.genai.types import GenerateContentResponse
from pydantic import BaseModel, TypeAdapter

Read = Callable[[str], bytes]

CHUNK = openai.types.chat.ChatCompletionChunk
EVENTS: dict[str, Any] = {
    "chat_text.sse": CHUNK,
    "chat_tools.sse": CHUNK,
    "chat_two_choices.sse": CHUNK,
    "chat_reasoning.sse": CHUNK,
    "chat_refusal.sse": CHUNK,
    "chat_error.sse": CHUNK,
    "chat_cited.sse": CHUNK,
    "chat_calls.sse": CHUNK,
    "messages_text.sse": anthropic.types.RawMessageStreamEvent,
    "messages_thinking_tools.sse": anthropic.types.RawMessageStreamEvent,
    "messages_server_tool.sse": anthropic.types.RawMessageStreamEvent,
    "messages_error.sse": anthropic.types.RawMessageStreamEvent,
    "messages_refusal.sse": anthropic.types.RawMessageStreamEvent,
    "responses_text.sse": openai.types.responses.ResponseStreamEvent,
    "responses_tools.sse": openai.types.responses.ResponseStreamEvent,
    "responses_incomplete.sse": openai.types.responses.ResponseStreamEvent,
    "responses_failed.sse": openai.types.responses.ResponseStreamEvent,
    "responses_error.sse": openai.types.responses.ResponseStreamEvent,
    "responses_refusal.sse": openai.types.responses.ResponseStreamEvent,
    "gemini_text.sse": GenerateContentResponse,
    "gemini_tools.sse": GenerateContentResponse,
    "gemini_partial_args.sse": GenerateContentResponse,
    "gemini_grounded.sse": GenerateContentResponse,
    "gemini_two_candidates.sse": GenerateContentResponse,
    "gemini_blocked.sse": GenerateContentResponse,
    "gemini_error.sse": GenerateContentResponse,
}
BODIES: dict[str, type[BaseModel]] = {
    "chat_whole.json": openai.types.chat.ChatCompletion,
    "embeddings.json": openai.types.CreateEmbeddingResponse,
    "messages_whole.json": anthropic.types.Message,
    "messages_error.json": anthropic.types.ErrorResponse,
    "responses_whole.json": openai.types.responses.Response,
    "gemini_whole.json": GenerateContentResponse,
}
# What a stream may hold besides: neither SDK has a type for a ping, nor for an error in the middle of a stream.
UNTYPED = (b'"type": "ping"', b'"type":"error","error"', b'{"error"', b"[DONE]")


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_one_that_the_sdk_knows(read: Read, name: str) -> None:
    """The provider's own SDK takes each event of a fixture, strictly."""
    adapter = TypeAdapter(EVENTS[name])
    lines = [line[6:] for line in read(name).split(b"\n") if line.startswith(b"data: ")]
    events = [line for line in lines if not any(untyped in line for untyped in UNTYPED)]
    assert events
    for event in events:
        adapter.validate_json(event)


@pytest.mark.parametrize("name", BODIES)
def test_every_body_is_one_that_the_sdk_knows(read: Read, name: str) -> None:
    """The provider's own SDK takes each whole response, strictly."""
    BODIES[name].model_validate(json.loads(read(name)))
