"""The providers' own SDKs as judges of what is written: the types of their requests, their events and responses."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as AnthropicMessage
from anthropic.types import RawMessageStreamEvent
from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming as AnthropicRequest
from openai import omit
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as ChatRequest
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming as ResponsesRequest
from pydantic import TypeAdapter

REQUESTS: dict[str, Any] = {
    "openai-chat": ChatRequest,
    "anthropic-messages": AnthropicRequest,
    "openai-responses": ResponsesRequest,
}


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """Return what checks a value against a type."""
    return TypeAdapter(kind)


def check_request(dialect: str, body: dict[str, Any]) -> None:
    """Check a request against the SDK's type for it, to its last part."""
    _consume(adapter(REQUESTS[dialect]).validate_python({**body, "stream": False}))


def _consume(value: Any) -> None:
    """Look at every value: what may be any iterable is checked only then."""
    if isinstance(value, dict):
        for each in value.values():
            _consume(each)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for each in value:
            _consume(each)


def data_of(stream: bytes) -> Iterator[dict[str, Any]]:
    """Give the events of a stream."""
    for line in stream.split(b"\n"):
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            yield json.loads(line[6:])


def chat_message(stream: bytes) -> ChatCompletion:
    """Return what OpenAI's SDK makes of a stream of chunks, each of which it knows."""
    state = ChatCompletionStreamState()
    for event in data_of(stream):
        state.handle_chunk(adapter(ChatCompletionChunk).validate_python(event))
    made: ChatCompletion = ChatCompletion.model_validate(state.current_completion_snapshot.to_dict())
    return made


def anthropic_message(stream: bytes) -> AnthropicMessage:
    """Return what Anthropic's SDK makes of a stream of events, each of which it knows, in the order it wants."""
    message: Any = None
    buffers: dict[int, bytes] = {}
    opened: int | None = None
    count = 0
    for data in data_of(stream):
        event = adapter(RawMessageStreamEvent).validate_python(data)
        if event.type == "content_block_start":
            assert opened is None
            assert event.index == count
            opened, count = event.index, count + 1
        elif event.type in {"content_block_delta", "content_block_stop"}:
            assert event.index == opened
            opened = None if event.type == "content_block_stop" else opened
        elif event.type == "message_delta":
            assert opened is None
        message = accumulate_event(event=event, current_snapshot=message, json_bufs=buffers)
    read: AnthropicMessage = AnthropicMessage.model_validate(message.to_dict())
    return read


def response(stream: bytes) -> Response:
    """Return what OpenAI's SDK makes of the events of a response, each of which it knows."""
    state: Any = ResponseStreamState(input_tools=[], text_format=omit)
    last: Any = None
    added: set[int] = set()
    done: set[int] = set()
    for number, data in enumerate(data_of(stream)):
        last = adapter(ResponseStreamEvent).validate_python(data)
        assert last.sequence_number == number
        state.handle_event(last)
        if last.type == "response.output_item.added":
            added.add(last.output_index)
        elif last.type == "response.output_item.done":
            done.add(last.output_index)
        elif (index := getattr(last, "output_index", None)) is not None:
            assert index in added - done
    assert added == done
    final: Response = last.response
    accumulated = [item.to_dict() for _, item in sorted(state._completed_output.items())]
    assert accumulated == final.to_dict()["output"]
    if last.type == "response.completed":
        assert [_plain(item.to_dict()) for item in state._completed_response.output] == accumulated
    return final


def _plain(value: Any) -> Any:
    """Return what the SDK read without what it made of it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if not key.startswith("parsed")}
    return [_plain(each) for each in value] if isinstance(value, list) else value
