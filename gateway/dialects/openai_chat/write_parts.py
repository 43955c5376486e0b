"""Parts of the conversation as a chat completion's messages have them."""

from typing import Any

import msgspec

from gateway.dialects.conversation import (
    Blob,
    Citation,
    Compaction,
    Extra,
    File,
    Other,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Uri,
)
from gateway.dialects.openai_chat.read_parts import GAP, NAME
from gateway.dialects.shared.extra import encode_state, foreign
from gateway.dialects.shared.messages import cache_control
from gateway.dialects.shared.writer import Dropped
from gateway.dialects.wire.json import objects

Json = dict[str, Any]

Placed = tuple[Part, str]
"""A part, and its path in the conversation."""

_SOUNDS = {"audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav"}


class Marks:
    """Writes cache marks, as OpenRouter takes them from Anthropic, or names them as dropped."""

    def __init__(self, dropped: Dropped, *, known: bool) -> None:
        self._dropped = dropped
        self._known = known

    def put(self, on: Json, cache: str | None) -> bool:
        """Mark an object if `cache` is a lifetime and marks are known; return whether it was marked."""
        if cache and self._known:
            on["cache_control"] = cache_control(cache)
            return True
        if cache:
            self._dropped.add("cache_control")
        return False


def write_call(call: ToolCall) -> Json:
    """Write a tool call."""
    written: Json = {"id": call.id}
    if call.custom:
        written |= {"type": "custom", "custom": {"name": call.name, "input": call.arguments or ""}}
    else:
        written |= {"type": "function", "function": {"name": call.name, "arguments": arguments_text(call.arguments)}}
    return written | google_signature(call.extra) | call.extra.get(NAME, {})


def google_signature(extra: Extra) -> Json:
    """Return the signature of a call by Gemini, as Google's own API puts it into this dialect."""
    signature = extra.get("gemini", {}).get("thoughtSignature")
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def unsigned(extra: Extra) -> Extra:
    """Return the foreign fields that remain of a call's `extra` once its signature was written."""
    rest = {key: value for key, value in extra.get("gemini", {}).items() if key != "thoughtSignature"}
    return {**extra, "gemini": rest} if google_signature(extra) else extra


def arguments_text(arguments: Any) -> str:
    """Return arguments as the JSON text that they are in this dialect."""
    if isinstance(arguments, str):
        return arguments
    return "{}" if arguments is None else msgspec.json.encode(arguments).decode()


def write_thought(part: Reasoning, onto: Json, *, carries: bool) -> None:
    """Add reasoning to a message, and its proof, in the form of OpenRouter's details.

    `carries`: the proof for a provider of another dialect goes to the client, to be sent back.
    """
    field = "reasoning_content"
    if part.content:
        onto[field] = f"{onto[field]}{GAP}{part.content}" if field in onto else part.content
    details = [dict(each) for each in objects(part.extra.get(NAME, {}).get("reasoning_details"))]
    texts = [each for each in details if each.get("type") in ("reasoning.text", "reasoning.summary")]
    if len(texts) == 1 and part.content:
        texts[0].setdefault("text" if texts[0]["type"] == "reasoning.text" else "summary", part.content)
    if carries and (others := foreign(part.extra, NAME)):
        size = {NAME: {"size": len(part.content)}}
        details.append({"type": "reasoning.encrypted", "data": encode_state(others | size)})
    if details:
        onto["reasoning_details"] = onto.get("reasoning_details", []) + details


def placed(parts: list[Part], path: str) -> list[Placed]:
    """Return parts with their paths."""
    return [(part, f"{path}.parts[{index}]") for index, part in enumerate(parts)]


def write_content(parts: list[Placed], role: str, dropped: Dropped, marks: Marks) -> str | list[Json]:
    """Write content: a string if it is one plain text, else a list of parts."""
    only, path = parts[0] if len(parts) == 1 else (None, "")
    if isinstance(only, Text) and not only.extra.get(NAME) and not marks.put({}, only.cache):
        _text(only, path, dropped)
        return only.content
    written = []
    for part, at in parts:
        item = _part(part, role, at, dropped)
        if item is None:
            dropped.add_part(part, at)
            continue
        marks.put(item, getattr(part, "cache", None))
        dropped.foreign(getattr(part, "extra", {}), NAME, at)
        written.append(item)
    return written or ""


def _text(part: Text, path: str, dropped: Dropped) -> Json:
    dropped.foreign(part.extra, NAME, path)
    if part.citations:
        dropped.add(f"{path}.citations")
    return {"type": "text", "text": part.content, **part.extra.get(NAME, {})}


def _part(part: Part, role: str, path: str, dropped: Dropped) -> Json | None:
    """Write a part of content; None if the dialect cannot express it."""
    match part:
        case Text():
            return _text(part, path, dropped)
        case Refusal():
            kind = "refusal" if role == "assistant" else "text"
            return {"type": kind, kind: part.content}
        case Compaction(content=str(content)):
            return {"type": "text", "text": content}
        case Blob(modality="image"):
            url = f"data:{part.mime_type or 'image/png'};base64,{part.content}"
            return {"type": "image_url", "image_url": {"url": url, **part.extra.get(NAME, {})}}
        case Blob(modality="audio"):
            mime_type = part.mime_type or "audio/wav"
            form = _SOUNDS.get(mime_type) or mime_type.removeprefix("audio/")
            return {"type": "input_audio", "input_audio": {"data": part.content, "format": form}}
        case Blob(modality="document"):
            data = f"data:{part.mime_type};base64,{part.content}" if part.mime_type else part.content
            return {"type": "file", "file": {"filename": part.name or "document.pdf", "file_data": data}}
        case Uri(modality="image" | "video" as kind):
            return {"type": f"{kind}_url", f"{kind}_url": {"url": part.uri, **part.extra.get(NAME, {})}}
        case File(modality="document"):
            return {"type": "file", "file": {"file_id": part.file_id}}
        case Other(dialect="openai-chat", value=dict(value)):
            return {"type": part.kind, **value}
    return None


def annotations(citations: list[Citation], text: str, before: int, first: int | None = None) -> list[Json]:
    """Write a text's citations; `before` is the length of the texts before it, `first` the number of the first.

    A citation without a place is of the whole text.
    """
    written: list[Json] = []
    for each in citations:
        if not each.uri:
            continue
        cited: Json = {
            "url": each.uri,
            "title": each.title or each.uri,
            "start_index": before + (each.start or 0),
            "end_index": before + (len(text) if each.end is None else each.end),
        }
        if each.quote:
            cited["content"] = each.quote
        number = {} if first is None else {"index": first + len(written)}
        written.append({**number, "type": "url_citation", "url_citation": cited})
    return written


def uncited(citations: list[Citation]) -> bool:
    """Return whether there is a citation without an address, which cannot be written."""
    return any(not each.uri for each in citations)
