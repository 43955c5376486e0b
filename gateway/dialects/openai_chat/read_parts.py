"""Parts of a chat completion's messages, in requests and in responses, as parts of the conversation."""

from typing import Any

import msgspec

from gateway.dialects.conversation import (
    Citation,
    Extra,
    File,
    Other,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
)
from gateway.dialects.shared.extra import decode_state, own
from gateway.dialects.shared.messages import attached, cache_mark, located, sound
from gateway.dialects.wire.json import count, fields, json_value, objects, text

NAME = "openai-chat"


GAP = "\n\n"
"""The separator of texts that were apart, since the dialect joins them into one."""


def message_parts(message: dict[str, Any]) -> list[Part]:
    """Read the parts of a whole message, of a request or a response."""
    parts: list[Part] = []
    thought = text(message.get("reasoning_content")) or text(message.get("reasoning")) or ""
    details = list(objects(message.get("reasoning_details")))
    if thought or details:
        parts += _thoughts(thought, details)
    content = content_parts(message.get("content"))
    if content and isinstance(content[0], Text) and (citations := read_citations(message.get("annotations"))):
        content[0] = msgspec.structs.replace(content[0], citations=citations)
    parts += content
    if refusal := text(message.get("refusal")):
        parts.append(Refusal(content=refusal))
    audio = filled(message.get("audio"))
    if transcript := text(audio.get("transcript")):
        parts.append(Text(content=transcript))
    if audio:
        file_id = text(audio.get("id")) if "data" not in audio else None  # a response that is sent back has its id only
        parts.append(File(modality="audio", file_id=file_id) if file_id else sound(audio))
    parts += [tool_call(call) for call in objects(message.get("tool_calls"))]
    if call := filled(message.get("function_call")):
        parts.append(tool_call({"function": call}))
    return parts


def content_parts(content: Any) -> list[Part]:
    """Read a message's content: a text or a list of parts."""
    if isinstance(content, str):
        return [Text(content=content)] if content else []
    return [_part(p) for p in objects(content)]


def _part(part: dict[str, Any]) -> Part:
    read = _bare_part(part)
    mark = cache_mark(part)
    return read if mark is None or isinstance(read, Reasoning | Refusal) else msgspec.structs.replace(read, cache=mark)


def _bare_part(part: dict[str, Any]) -> Part:
    kind = text(part.get("type")) or ""
    value = part.get(kind)
    match kind:
        case "text" if isinstance(value, str):
            return Text(content=value)
        case "refusal" if isinstance(value, str):
            return Refusal(content=value)
        case "image_url" | "video_url":
            url = value if isinstance(value, str) else text(fields(value).get("url"))
            if url:
                read = located(url, kind.removesuffix("_url"))
                detail = own(NAME, fields(value), "detail") if fields(value).get("detail") != "auto" else {}
                return msgspec.structs.replace(read, extra=detail) if detail else read
        case "input_audio":
            return sound(value)
        case "file":
            return attached(value)
        case "thinking":  # Mistral: a list of texts
            return Reasoning(content="".join(t for p in objects(value) if (t := text(p.get("text")))))
    rest = {k: v for k, v in part.items() if k not in {"type", "cache_control"}}
    return Other(kind=kind, value=rest, dialect=NAME)


def tool_call(call: dict[str, Any]) -> ToolCall:
    """Read one call of a function, or of a custom tool."""
    custom = filled(call.get("custom"))
    function = filled(call.get("function")) or custom
    arguments = function.get("arguments", function.get("input"))
    return ToolCall(
        id=text(call.get("id")),
        name=text(function.get("name")) or "",
        arguments=arguments if custom else json_value(arguments),
        custom=bool(custom),
        cache=cache_mark(call),
        extra=own(NAME, call, "extra_content"),
    )


def filled(value: Any) -> dict[str, Any]:
    """Return an object that has a value; some providers (Snowflake) write all members of their structs, empty."""
    found = fields(value)
    return found if any(found.values()) else {}


def _thoughts(thought: str, details: list[dict[str, Any]]) -> list[Part]:
    """Read reasoning; OpenRouter's details, which have the signatures, repeat its text.

    State carried in details has the length of its text.
    """
    parts: list[Part] = []
    at = 0
    for each in details:
        if (found := decode_state(each.get("data"))) is not None:
            size = count(fields(found.pop(NAME, None)).get("size")) or 0
            parts.append(Reasoning(content=thought[at : at + size], extra=found))
            at += size + (len(GAP) if size else 0)
    if parts and len(parts) == len(details) and max(0, at - len(GAP)) == len(thought):
        return parts
    summaries = "".join(t for each in details if (t := text(each.get("text")) or text(each.get("summary"))))
    if summaries == thought or not thought:
        details = [without_text(each) for each in details]
    return [Reasoning(content=thought or summaries, extra=proof_of(details))]


def without_text(detail: dict[str, Any]) -> dict[str, Any]:
    """Return one of OpenRouter's details of reasoning without its text."""
    return {key: value for key, value in detail.items() if key not in {"text", "summary"} and value is not None}


def proof_of(details: list[dict[str, Any]]) -> Extra:
    """Return the signatures in details of reasoning: their own fields, and carried state."""
    extra: Extra = {}
    own_details = []
    for each in details:
        if (found := decode_state(each.get("data"))) is not None:
            extra |= {dialect: own for dialect, own in found.items() if dialect != NAME}
        elif each.keys() - {"type", "format", "index"}:
            own_details.append(each)
    return extra | ({NAME: {"reasoning_details": own_details}} if own_details else {})


def read_citations(annotations: Any, before: int = 0) -> list[Citation]:
    """Read a text's citations; `before` is the length of the texts before it, which their places include."""
    cited = (fields(each.get("url_citation")) for each in objects(annotations))
    return [
        Citation(
            uri=text(each.get("url")),
            title=text(each.get("title")),
            quote=text(each.get("content")),
            start=_place(each.get("start_index"), before),
            end=_place(each.get("end_index"), before),
        )
        for each in cited
        if each
    ]


def _place(index: Any, before: int) -> int | None:
    place = count(index)
    return None if place is None else max(0, place - before)
