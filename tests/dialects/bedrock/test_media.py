"""The formats of Converse's media."""

import pytest

from gateway.dialects.bedrock.media import _ALIASES, _TYPES, format_in, format_of, mime_type

KNOWN = [(modality, form, mime) for modality, forms in _TYPES.items() for form, mime in forms.items()]
TWICE = {("video", "mpg"), ("audio", "mkv"), ("audio", "mpeg"), ("audio", "mpga")}


@pytest.mark.parametrize(("modality", "form", "mime"), KNOWN)
def test_a_format_has_a_media_type_and_the_other_way_round(modality: str, form: str, mime: str) -> None:
    """Of two formats of one media type the first is written."""
    assert mime_type(modality, form) == mime
    assert mime_type(modality, format_of(modality, mime)) == mime
    assert (format_of(modality, mime) == form) == ((modality, form) not in TWICE)


@pytest.mark.parametrize(("alias", "form"), _ALIASES.items())
def test_other_spellings_of_a_media_type_have_a_format(alias: str, form: str) -> None:
    """Clients of other dialects write them, with parameters, in any case."""
    modality = next(
        name for name, forms in _TYPES.items() if form in forms and (alias[:5] in forms[form] or name == "document")
    )
    assert format_of(modality, alias) == form
    assert format_of(modality, f"{alias.upper()}; charset=utf-8") == form


@pytest.mark.parametrize(
    ("modality", "content", "form"),
    [
        ("image", "iVBORw0KGgoAAAA", "png"),
        ("image", "/9j/4AAQ", "jpeg"),
        ("image", "R0lGODlh", "gif"),
        ("image", "UklGRh4A", "webp"),
        ("image", "AAAA", None),
        ("document", "JVBERi0x", "pdf"),
        ("document", "AAAA", None),
    ],
)
def test_the_content_decides_without_a_media_type(modality: str, content: str, form: str | None) -> None:
    """Ollama's clients send images without one."""
    assert format_of(modality, None, content) == form


def test_an_unknown_media_type_has_no_format() -> None:
    """And an unknown format a media type of its own."""
    assert format_of("image", "image/tiff") is None
    assert format_of("novel", "image/png") is None
    assert mime_type("image", None) is None
    assert mime_type("image", "tiff") == "image/tiff"
    assert mime_type("document", "rtf") == "application/rtf"


@pytest.mark.parametrize(
    ("uri", "form"), [("s3://b/a.PNG", "png"), ("s3://b/a.jpg", "jpeg"), ("s3://b/a.tiff", None), ("s3://b/a", None)]
)
def test_a_names_extension_is_a_format(uri: str, form: str | None) -> None:
    """In any case, if Converse has it."""
    assert format_in("image", uri) == form
