"""Messages and their parts as several dialects share them."""

from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    File,
    Message,
    Other,
    Part,
    Text,
    Uri,
)
from gateway.dialects.shared.messages import (
    attached,
    cache_control,
    cache_mark,
    located,
    modality_of,
    named,
    one_prompt,
    plain_text,
    sound,
)
from gateway.dialects.shared.writer import Dropped

PNG = Blob(modality="image", mime_type="image/png", content="AA==")


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (Message(role="user", name="ann", parts=[Text(content="a"), PNG]), [Text(content="ann: a"), PNG]),
        (Message(role="user", name="ann", parts=[PNG]), [Text(content="ann:"), PNG]),
        (Message(role="user", name="ann", parts=[]), [Text(content="ann:")]),
        (
            Message(role="system", name="ann", parts=[Text(content="a", cache="5m")]),
            [Text(content="ann: a", cache="5m")],
        ),
        (Message(role="assistant", name="bot", parts=[Text(content="a")]), [Text(content="a")]),
        (Message(role="user", parts=[Text(content="a")]), [Text(content="a")]),
    ],
)
def test_a_name_stands_before_the_text(message: Message, parts: list[Part]) -> None:
    """But a model's, which would learn to begin its answers with it."""
    assert named(message) == parts


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([Text(content="a")], "a"),
        ([Text(content="a", cache="5m")], None),
        ([Text(content="a", extra={"gemini": {"x": 1}})], None),
        ([Text(content="a"), Text(content="b")], None),
        ([PNG], None),
        ([], None),
    ],
)
def test_one_plain_text_is_told_from_others(parts: list[Part], text: str | None) -> None:
    """One that has nothing more to it may be a string."""
    assert plain_text(parts) == text


def test_only_the_first_prompt_is_a_chat() -> None:
    """Several prompts would be several answers; a chat is left as it is."""
    asked = ChatRequest(
        operation="text_completion",
        input_messages=[Message(role="user", parts=[Text(content="a"), Text(content="b"), Text(content="c")])],
    )
    dropped = Dropped()
    assert one_prompt(asked, dropped).input_messages == [Message(role="user", parts=[Text(content="a")])]
    assert dropped.names == ["messages[0].parts[1]: prompt", "messages[0].parts[2]: prompt"]
    chat = ChatRequest(operation="chat", input_messages=asked.input_messages)
    assert one_prompt(chat, dropped) is chat


@pytest.mark.parametrize(
    ("value", "lifetime"),
    [
        ({"cache_control": {"type": "ephemeral"}}, "default"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "1h"),
        ({"cache_control": {"type": "ephemeral", "ttl": 7}}, "default"),
        ({"cache_control": None}, None),
        ({"text": "a"}, None),
    ],
)
def test_a_cache_mark_has_a_lifetime(value: dict[str, Any], lifetime: str | None) -> None:
    """A mark is read as it is written; one without a lifetime has the provider's default."""
    assert cache_mark(value) == lifetime
    if lifetime is not None:
        assert cache_mark({"cache_control": cache_control(lifetime)}) == lifetime


@pytest.mark.parametrize(
    ("mime_type", "modality"),
    [
        ("image/png", "image"),
        ("audio/wav", "audio"),
        ("video/mp4", "video"),
        ("application/pdf", "document"),
        ("text/plain", "document"),
        (None, "video"),
    ],
)
def test_a_media_type_has_a_modality(mime_type: str | None, modality: str) -> None:
    """All that is no image, audio or video is a document; without a type, the caller's guess stays."""
    assert modality_of(mime_type, "video") == modality


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("https://example.com/a.png", Uri(modality="image", uri="https://example.com/a.png")),
        ("data:image/png;base64,AAAA", Blob(modality="image", mime_type="image/png", content="AAAA")),
        ("data:audio/wav;base64,AAAA", Blob(modality="audio", mime_type="audio/wav", content="AAAA")),
        ("data:;base64,AAAA", Blob(modality="image", mime_type=None, content="AAAA")),
        ("data:", Blob(modality="image", mime_type=None, content="")),
    ],
)
def test_a_data_url_is_inline(url: str, part: Part) -> None:
    """Its media type has precedence over its field."""
    assert located(url, "image") == part


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"data": "AA", "format": "mp3"}, Blob(modality="audio", mime_type="audio/mpeg", content="AA")),
        ({"data": "AA", "format": "wav"}, Blob(modality="audio", mime_type="audio/wav", content="AA")),
        ({"data": "AA", "format": "flac"}, Blob(modality="audio", mime_type="audio/flac", content="AA")),
        ({"data": "AA"}, Blob(modality="audio", mime_type=None, content="AA")),
        ({"format": "wav"}, Other(kind="input_audio", value={"format": "wav"})),
        (None, Other(kind="input_audio", value=None)),
    ],
)
def test_sound_has_the_media_type_of_its_format(value: Any, part: Part) -> None:
    """Sound without data is kept as it is."""
    assert sound(value) == part


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ({"file_id": "f", "file_data": "AA"}, File(modality="document", file_id="f")),
        ({"file_url": "https://a/b", "filename": "b"}, Uri(modality="document", uri="https://a/b", name="b")),
        ({"file_data": "AA", "filename": "b"}, Blob(modality="document", content="AA", name="b")),
        (
            {"file_data": "data:image/png;base64,AA", "filename": "b"},
            Blob(modality="image", mime_type="image/png", content="AA", name="b"),
        ),
        ({}, Other(kind="file", value={})),
    ],
)
def test_a_file_is_attached_by_id_by_url_or_inline(value: Any, part: Part) -> None:
    """In this order, if there are several."""
    assert attached(value) == part
