"""Images, sound and files in a message: as the schema's blob, uri and file parts."""

from typing import Any

from gateway.dialects.conversation import Blob, File, Other, Part, Uri
from gateway.dialects.wire.json import fields, text

_SOUND = {"mp3": "audio/mpeg", "wav": "audio/wav"}


def modality_of(mime_type: str | None, otherwise: str) -> str:
    """Return the schema's word for a media type: image, audio, video, or document for all others."""
    if mime_type is None:
        return otherwise
    kind = mime_type.partition("/")[0]
    return kind if kind in {"image", "audio", "video"} else "document"


def located(url: str, modality: str) -> Part:
    """Read a URL; a `data:` URL is the data itself."""
    return _inline(url, modality) if url.startswith("data:") else Uri(modality=modality, uri=url)


def _inline(url: str, modality: str) -> Blob:
    head, _, content = url[5:].partition(",")
    mime_type = head.partition(";")[0] or None
    return Blob(modality=modality_of(mime_type, modality), mime_type=mime_type, content=content)


def sound(value: Any) -> Part:
    """Read OpenAI's `input_audio`."""
    audio = fields(value)
    form = text(audio.get("format"))
    mime_type = _SOUND.get(form, f"audio/{form}") if form else None
    data = text(audio.get("data"))
    if data is None:
        return Other(kind="input_audio", value=value)
    return Blob(modality="audio", mime_type=mime_type, content=data)


def attached(value: Any) -> Part:
    """Read OpenAI's files and images: by the id of a file it keeps, by URL, or inline."""
    file = fields(value)
    name = text(file.get("filename"))
    if file_id := text(file.get("file_id")):
        return File(modality="document", file_id=file_id, name=name)
    if url := text(file.get("file_url")):
        return Uri(modality="document", uri=url, name=name)
    if data := text(file.get("file_data")):
        if not data.startswith("data:"):
            return Blob(modality="document", content=data, name=name)
        read = _inline(data, "document")
        return Blob(modality=read.modality, mime_type=read.mime_type, content=read.content, name=name)
    return Other(kind="file", value=value)
