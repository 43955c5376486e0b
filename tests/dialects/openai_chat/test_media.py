"""Transcriptions and images: what is recorded of OpenAI's responses, whole and streamed."""

import json
from typing import Any

import pytest

from gateway.dialects.conversation import ChatResponse, Message, Part, Text, Uri, Usage
from gateway.dialects.openai_chat.media import IMAGES, TRANSCRIPTION_OF_SPEECH

USED = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}
USAGE = Usage(input_tokens=14, output_tokens=45, total_tokens=59)


def answer(*parts: Part) -> list[Message]:
    """Make an output message."""
    return [Message(role="assistant", parts=list(parts))]


RESPONSES = {
    "text": ({"text": "Hello", "usage": USED}, answer(Text(content="Hello")), USAGE),
    "by the minute": (
        {"text": "Hello", "usage": {"type": "duration", "seconds": 9}},
        answer(Text(content="Hello")),
        None,
    ),
    "verbose": ({"task": "transcribe", "text": "Hello", "segments": []}, answer(Text(content="Hello")), None),
    "an image": ({"created": 1, "data": [{"b64_json": "iVBO"}], "usage": USED}, [], USAGE),
    "an address": (
        {"created": 1, "data": [{"url": "https://x/y"}]},
        answer(Uri(modality="image", uri="https://x/y")),
        None,
    ),
}


@pytest.mark.parametrize(("body", "messages", "usage"), RESPONSES.values(), ids=RESPONSES.keys())
def test_whole_responses(body: dict[str, Any], messages: list[Message], usage: Usage | None) -> None:
    """The text, addresses of images, and usage in tokens."""
    read = IMAGES.read_response(json.dumps(body).encode())
    assert read == ChatResponse(output_messages=messages, usage=usage)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"Hello\n", "Hello\n"),
        (b"1\n00:00:00,000 --> 00:00:01,000\nHello\n", "1\n00:00:00,000 --> 00:00:01,000\nHello\n"),
        (b"<html>", None),
        (b"{", None),
        (b"", None),
    ],
)
def test_a_transcription_may_be_plain_text(body: bytes, said: str | None) -> None:
    """As `response_format` has it; a page of a proxy is none."""
    read = TRANSCRIPTION_OF_SPEECH.read_response(body)
    assert read.output_messages == ([] if said is None else answer(Text(content=said)))


def test_errors_are_read() -> None:
    """In OpenAI's form."""
    read = IMAGES.read_response(b'{"error":{"message":"no","type":"invalid_request_error","code":null}}')
    assert (read.error_type, read.error_message) == ("invalid_request_error", "no")


def event(body: dict[str, Any]) -> bytes:
    """Frame an event."""
    return f"data: {json.dumps(body)}\n\n".encode()


STREAMS = {
    "transcript": (
        [
            {"type": "transcript.text.delta", "delta": "Hel"},
            {"type": "transcript.text.delta", "delta": "lo"},
            {"type": "transcript.text.done", "text": "Hello", "usage": USED},
        ],
        answer(Text(content="Hello")),
    ),
    "image": (
        [
            {"type": "image_edit.partial_image", "b64_json": "iVBO", "partial_image_index": 0},
            {"type": "image_edit.completed", "b64_json": "iVBO", "usage": USED},
        ],
        [],
    ),
}


@pytest.mark.parametrize(("pieces", "messages"), STREAMS.values(), ids=STREAMS.keys())
def test_streams(pieces: list[dict[str, Any]], messages: list[Message]) -> None:
    """The last event has the whole text and the usage, and ends the stream."""
    reader = TRANSCRIPTION_OF_SPEECH.stream_reader()
    for piece in pieces[:-1]:
        reader.feed(event(piece))
    assert (reader.ended, reader.first_output, reader.response().usage) == (False, True, None)
    assert reader.response().output_messages == messages
    reader.feed(event(pieces[-1]))
    assert (reader.ended, reader.unread) == (True, 0)
    assert reader.response() == ChatResponse(output_messages=messages, usage=USAGE)


def test_an_error_ends_a_stream() -> None:
    """With what was said before it; events that cannot be read are counted."""
    reader = IMAGES.stream_reader()
    reader.feed(event({"type": "transcript.text.delta", "delta": "Hel"}) + b"data: x\n\n")
    reader.feed(event({"type": "error", "error": {"message": "no", "type": "server_error"}}))
    read = reader.response()
    assert (reader.ended, reader.unread, read.error_message) == (True, 1, "no")
    assert read.output_messages == answer(Text(content="Hel"))


def test_a_prompt_is_the_users_turn() -> None:
    """Of a request in JSON; a form is read for its model alone."""
    read = IMAGES.read_request(b'{"model":"gpt-image-1","prompt":"a cat"}')
    assert (read.model, read.input_messages) == ("gpt-image-1", [Message(role="user", parts=[Text(content="a cat")])])
    assert IMAGES.read_request(b"--b1").input_messages == []
