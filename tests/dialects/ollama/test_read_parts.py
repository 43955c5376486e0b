"""Ollama's messages as parts of the conversation."""

from base64 import b64encode
from typing import Any

import pytest

from gateway.dialects.conversation import Blob, TokenLogprob, ToolCall
from gateway.dialects.ollama.read_parts import _BEGINNINGS, arguments_text, image, images, logprobs, tool_call

RIFF = [(b"RIFF\x00\x00\x00\x00WEBP", "image/webp"), (b"RIFF\x00\x00\x00\x00WAVE", "audio/wav")]


@pytest.mark.parametrize(("start", "mime_type"), [*_BEGINNINGS, *RIFF])
def test_an_image_shows_its_media_type(start: bytes, mime_type: str) -> None:
    """The API has no media types; sound comes in the same field."""
    content = b64encode(start + b"\x00" * 12).decode()
    modality = mime_type.partition("/")[0]
    assert image(content) == Blob(modality=modality, mime_type=mime_type, content=content)


@pytest.mark.parametrize(
    "content", ["", "AAAA", "no base64 at all", "\u00e9", b64encode(b"RIFF\x00\x00\x00\x00AVI ").decode()]
)
def test_anything_else_is_an_image_of_no_known_type(content: str) -> None:
    """It is passed on as it is."""
    assert image(content) == Blob(modality="image", mime_type=None, content=content)


def test_only_texts_are_images() -> None:
    """Values of other types are skipped."""
    assert images(["AAAA", 7, None, ""]) == [image("AAAA")]
    assert images({"a": 1}) == []


@pytest.mark.parametrize(
    ("call", "read"),
    [
        ({"function": {"name": "f", "arguments": {"a": 1}}}, ToolCall(id="given", name="f", arguments={"a": 1})),
        ({"id": "own", "function": {"name": "f"}}, ToolCall(id="own", name="f", arguments={})),
        ({"function": {"name": "f", "arguments": '{"a":1}'}}, ToolCall(id="given", name="f", arguments={"a": 1})),
        (
            {"x": 1, "function": {"name": "f", "index": 0, "y": 2}},
            ToolCall(id="given", name="f", arguments={}, extra={"ollama": {"x": 1, "function": {"y": 2}}}),
        ),
        ({}, ToolCall(id="given", name="", arguments={})),
    ],
)
def test_a_call_has_its_own_id_or_the_given_one(call: dict[str, Any], read: ToolCall) -> None:
    """Older servers give none; fields that only Ollama has are kept."""
    assert tool_call(call, "given") == read


def test_arguments_are_json_text() -> None:
    """Text that was no JSON stays as it is."""
    assert arguments_text(ToolCall(name="f", arguments={"a": 1})) == '{"a":1}'
    assert arguments_text(ToolCall(name="f", arguments="{bro")) == "{bro"


def test_log_probabilities_are_read_with_their_alternatives() -> None:
    """A boolean is no number, and a token without one is skipped."""
    values = [
        {"token": "a", "logprob": -1, "top_logprobs": [{"token": "b", "logprob": -2.5}]},
        {"token": "c", "logprob": True},
    ]
    assert logprobs(values) == [TokenLogprob(token="a", logprob=-1.0, top=[TokenLogprob(token="b", logprob=-2.5)])]
