"""Parts of a chat completion's messages as parts of the conversation."""

from typing import Any

import pytest

from gateway.dialects.conversation import Blob, Citation, File, Other, Part, Reasoning, Refusal, Text, ToolCall, Uri
from gateway.dialects.openai_chat.read_parts import content_parts, message_parts, proof_of, read_citations, without_text
from gateway.dialects.shared.extra import encode_state

OWN = "openai-chat"
SIGNATURE = {"gemini": {"thoughtSignature": "s"}}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("hi", [Text(content="hi")]),
        ("", []),
        (None, []),
        ([{"type": "text", "text": "a"}, 7], [Text(content="a")]),
        ([{"type": "refusal", "refusal": "no"}], [Refusal(content="no")]),
        ([{"type": "image_url", "image_url": {"url": "https://a"}}], [Uri(modality="image", uri="https://a")]),
        ([{"type": "image_url", "image_url": "https://a"}], [Uri(modality="image", uri="https://a")]),
        (
            [{"type": "image_url", "image_url": {"url": "https://a", "detail": "low"}}],
            [Uri(modality="image", uri="https://a", extra={OWN: {"detail": "low"}})],
        ),
        (
            [{"type": "image_url", "image_url": {"url": "https://a", "detail": "auto"}}],
            [Uri(modality="image", uri="https://a")],
        ),
        ([{"type": "video_url", "video_url": {"url": "https://a"}}], [Uri(modality="video", uri="https://a")]),
        (
            [{"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}],
            [Blob(modality="audio", mime_type="audio/wav", content="AA")],
        ),
        ([{"type": "file", "file": {"file_id": "f"}}], [File(modality="document", file_id="f")]),
        ([{"type": "thinking", "thinking": [{"text": "h"}, {"text": "m"}]}], [Reasoning(content="hm")]),
        ([{"type": "novel", "x": 1}], [Other(kind="novel", value={"x": 1}, dialect=OWN)]),
        ([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}], [Text(content="a", cache="default")]),
    ],
)
def test_content_is_parts(content: Any, parts: list[Part]) -> None:
    """A text, or a list of parts; what has no place in the form is kept as it is."""
    assert content_parts(content) == parts


def test_a_message_has_its_parts_in_order() -> None:
    """Reasoning first, then the text, a refusal, and the calls."""
    message = {
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        "refusal": "no",
        "content": "a",
        "reasoning_content": "hm",
    }
    assert message_parts(message) == [
        Reasoning(content="hm"),
        Text(content="a"),
        Refusal(content="no"),
        ToolCall(id="c", name="f", arguments={}),
    ]


def test_carried_state_divides_reasoning() -> None:
    """Each detail has the length of its text, and the signature of another dialect."""
    details = [
        {"type": "reasoning.encrypted", "data": encode_state(SIGNATURE | {OWN: {"size": size}})} for size in (2, 3)
    ]
    parts = message_parts({"reasoning_content": "hm\n\naha", "reasoning_details": details})
    assert parts == [Reasoning(content="hm", extra=SIGNATURE), Reasoning(content="aha", extra=SIGNATURE)]


def test_signatures_are_kept_without_the_text() -> None:
    """A detail that has nothing but its kind proves nothing."""
    detail = {"type": "reasoning.text", "text": "hm", "signature": "s", "format": None}
    assert without_text(detail) == {"type": "reasoning.text", "signature": "s"}
    assert proof_of([without_text(detail), {"type": "reasoning.text", "index": 0}]) == {
        OWN: {"reasoning_details": [{"type": "reasoning.text", "signature": "s"}]}
    }


def test_places_of_citations_are_in_their_own_text() -> None:
    """The dialect counts from the beginning of all texts."""
    annotation = {"type": "url_citation", "url_citation": {"url": "https://a", "start_index": 7, "end_index": 9}}
    assert read_citations([annotation, {"type": "novel"}], before=5) == [Citation(uri="https://a", start=2, end=4)]
