"""Parts of the conversation as items of OpenAI's Responses, in a request and in a response."""

from typing import Any

import msgspec

from gateway.dialects.conversation import (
    Blob,
    Citation,
    Compaction,
    File,
    Other,
    Part,
    Reasoning,
    Refusal,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
)
from gateway.dialects.openai_responses.read_parts import NAME
from gateway.dialects.shared.writer import Dropped

Json = dict[str, Any]


def write_content(part: Part, role: str, path: str, dropped: Dropped) -> Json | None:
    """Write a part of a message's content; None, and named as dropped, if the dialect cannot express it."""
    forgo(part, path, dropped)
    written = _content(part, role, path, dropped)
    if written is None:
        dropped.add_part(part, path)
    return written


def _content(part: Part, role: str, path: str, dropped: Dropped) -> Json | None:
    match part:
        case Text():
            if part.citations:
                dropped.add(f"{path}.citations")
            if role == "assistant":
                return {"type": "output_text", "text": part.content, "annotations": []}
            return {"type": "input_text", "text": part.content}
        case Refusal():
            if role == "assistant":
                return {"type": "refusal", "refusal": part.content}
            return {"type": "input_text", "text": part.content}
        case Other(dialect="openai-responses", value=dict(value)):
            return {"type": part.kind, **value}
    return None if role == "assistant" else _media(part)


def _media(part: Part) -> Json | None:
    match part:
        case Blob(modality="image"):
            url = f"data:{part.mime_type or 'image/png'};base64,{part.content}"
            return {"type": "input_image", "image_url": url, "detail": "auto", **part.extra.get(NAME, {})}
        case Uri(modality="image"):
            return {"type": "input_image", "image_url": part.uri, "detail": "auto", **part.extra.get(NAME, {})}
        case File(modality="image"):
            return {"type": "input_image", "file_id": part.file_id, "detail": "auto", **part.extra.get(NAME, {})}
        case Blob(modality="audio"):
            form = {"audio/mpeg": "mp3"}.get(part.mime_type or "", (part.mime_type or "wav").rpartition("/")[2])
            return {"type": "input_audio", "input_audio": {"data": part.content, "format": form}}
        case Blob(modality="document"):
            data = f"data:{part.mime_type};base64,{part.content}" if part.mime_type else part.content
            return {"type": "input_file", "file_data": data, "filename": part.name or "document.pdf"}
        case Uri(modality="document"):
            return {"type": "input_file", "file_url": part.uri} | ({"filename": part.name} if part.name else {})
        case File(modality="document"):
            return {"type": "input_file", "file_id": part.file_id}
    return None


def forgo(part: Part, path: str, dropped: Dropped) -> None:
    """Name the fields of a part that the dialect has no place for."""
    if getattr(part, "cache", None):
        dropped.add("cache_control")
    dropped.foreign(getattr(part, "extra", {}), NAME, path)


def write_item(part: Part, path: str, dropped: Dropped) -> Json | None:
    """Write a part that is an item of its own; None, and named as dropped, if the dialect has no such item."""
    forgo(part, path, dropped)
    written = _item(part, getattr(part, "extra", {}).get(NAME, {}), path, dropped)
    if written is None:
        dropped.add_part(part, path)
    return written


def _item(part: Part, own: Json, path: str, dropped: Dropped) -> Json | None:
    match part:
        case Compaction():
            return {"type": "compaction", "id": part.id, **own} if own else None
        case ToolCall():
            return _call(part, own)
        case ToolCallResponse():
            return _call_output(part, path, own, dropped)
        case ServerToolCall(server_tool_call={"type": str(kind)}) if kind.endswith("_call"):
            return {**part.server_tool_call, "id": part.id, "status": "completed", **own}
        case Other(dialect="openai-responses", value=dict(value)):
            return {"type": part.kind, **value}
    return None


def result_of(call: Json, part: Part) -> Json | None:
    """Return the result of a server's tool, which is part of its call's item; None for any other part."""
    match part:
        case ServerToolCallResponse(server_tool_call_response={"type": str(kind), **result}) if kind == call["type"]:
            return result if part.id == call.get("id") else None
        case Blob(modality="image") if call["type"] == "image_generation_call":
            return {"result": part.content}
    return None


def write_reasoning(part: Reasoning) -> Json:
    """Write reasoning as an item, as far as it goes: more may belong to it."""
    summary = [{"type": "summary_text", "text": part.content}] if part.content else []
    return {"type": "reasoning", "summary": summary, **part.extra.get(NAME, {})}


def _call(call: ToolCall, own: Json) -> Json:
    if "type" in own:
        arguments = call.arguments if isinstance(call.arguments, dict) else {}
        return {**own, "call_id": call.id, **arguments}
    named = {"name": call.name} | ({"namespace": call.namespace} if call.namespace is not None else {})
    if call.custom:
        return {"type": "custom_tool_call", "call_id": call.id, **named, "input": call.arguments or "", **own}
    arguments = call.arguments
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
    text = "{}" if arguments is None else text
    return {"type": "function_call", "call_id": call.id, **named, "arguments": text, **own}


def _call_output(part: ToolCallResponse, path: str, own: Json, dropped: Dropped) -> Json:
    if part.is_error:
        dropped.add(f"{path}.is_error")
    response = part.response
    if isinstance(response, list):
        parts = (write_content(each, "user", f"{path}.response[{i}]", dropped) for i, each in enumerate(response))
        output: Any = [each for each in parts if each is not None]
    elif isinstance(response, str) or own:
        output = response
    else:
        output = msgspec.json.encode(response).decode()
    kind = own.get("type") or ("custom_tool_call_output" if part.custom else "function_call_output")
    return {"type": kind, "call_id": part.id, "output": output}


def write_annotations(part: Text, path: str, dropped: Dropped) -> list[Json]:
    """Write a text's citations; one without a place is of the whole text."""
    written = []
    for each in part.citations:
        dropped.foreign(each.extra, NAME, f"{path}.citations")
        if each.quote:
            dropped.add(f"{path}.citations.quote")
        if (annotation := _annotation(each, len(part.content))) is not None:
            written.append(annotation)
        else:
            dropped.add(f"{path}.citations")
    return written


def _annotation(citation: Citation, length: int) -> Json | None:
    own = citation.extra.get(NAME, {})
    start = citation.start or 0
    end = length if citation.end is None else citation.end
    if "type" in own:
        annotation: Json = {**own}
        if citation.title:
            annotation["filename"] = citation.title
        if citation.end is not None:
            annotation |= {"start_index": start, "end_index": end}
        return annotation
    if citation.uri is None:
        return None
    title = citation.title or citation.uri
    return {"type": "url_citation", "url": citation.uri, "title": title, "start_index": start, "end_index": end, **own}
