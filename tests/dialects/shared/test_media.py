"""Images, sound and files of a message as parts."""

from typing import Any

import pytest

from gateway.dialects.conversation import Blob, File, Other, Part, Uri
from gateway.dialects.shared.media import attached, located, modality_of, sound


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
    """Its media type decides over the field in which it stands."""
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
