"""Messages and their parts in the forms that several dialects share: media, cache marks, names in the text. Pure."""

from typing import Any

import msgspec

from gateway.dialects.conversation import Blob, ChatRequest, File, Message, Other, Part, Text, Uri
from gateway.dialects.shared.writer import Dropped
from gateway.dialects.wire.json import fields, text
from gateway.semconv import TEXT_COMPLETION

_SOUND = {"mp3": "audio/mpeg", "wav": "audio/wav"}


def named(message: Message) -> list[Part]:
    """Return a turn's parts with its speaker's name in the text, for a dialect that has no place for one."""
    if not message.name or message.role == "assistant":
        return message.parts
    first = message.parts[0] if message.parts else None
    if isinstance(first, Text):
        return [msgspec.structs.replace(first, content=f"{message.name}: {first.content}"), *message.parts[1:]]
    return [Text(content=f"{message.name}:"), *message.parts]


def plain_text(parts: list[Part]) -> str | None:
    """Return the text if the parts are one plain text; None otherwise."""
    only = parts[0] if len(parts) == 1 else None
    return only.content if isinstance(only, Text) and only == Text(content=only.content) else None


def one_prompt(request: ChatRequest, dropped: Dropped) -> ChatRequest:
    """Return a completion request with its first prompt alone, since a chat has one response."""
    if request.operation != TEXT_COMPLETION:
        return request
    messages = []
    for number, message in enumerate(request.input_messages):
        for index in range(1, len(message.parts)):
            dropped.add(f"messages[{number}].parts[{index}]: prompt")
        messages.append(msgspec.structs.replace(message, parts=message.parts[:1]))
    return msgspec.structs.replace(request, input_messages=messages)


def cache_mark(value: dict[str, Any]) -> str | None:
    """Return the lifetime of a `cache_control` mark, "default" if it has none; None without a mark.

    Anthropic's form, which OpenRouter takes in OpenAI's dialect.
    """
    mark = value.get("cache_control")
    return (text(mark.get("ttl")) or "default") if isinstance(mark, dict) else None


def cache_control(lifetime: str) -> dict[str, str]:
    """Return the mark to cache the prompt up to here."""
    return {"type": "ephemeral"} if lifetime == "default" else {"type": "ephemeral", "ttl": lifetime}


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
