"""Parts of the conversation as Anthropic's content blocks."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.dialects.anthropic.read_parts import NAME, cited_fields
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
from gateway.dialects.shared.messages import cache_control
from gateway.dialects.shared.tool_ids import IdForm
from gateway.dialects.shared.writer import Dropped

Json = dict[str, Any]

Placed = tuple[Part, str]
"""A part, and its path in the conversation."""

ID_FORM = IdForm(re.compile(r"[^a-zA-Z0-9_-]"))

_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})


def write_blocks(placed: Iterable[Placed], dropped: Dropped) -> list[Json]:
    """Write the parts of a turn, with their cache marks."""
    blocks = []
    for part, at in placed:
        dropped.foreign(getattr(part, "extra", {}), NAME, at)
        if isinstance(part, Text) and not part.content.strip() and not part.extra:
            continue  # the API refuses an empty one
        block = write_block(part, at, dropped)
        if block is None:
            dropped.add_part(part, at)
            continue
        cache = getattr(part, "cache", None) or _inner_mark(part)
        if cache:
            block["cache_control"] = cache_control(cache)
        blocks.append(block)
    return blocks


def _inner_mark(part: Part) -> str | None:
    """Return the mark within a tool's result, which may have none."""
    inner = part.response if isinstance(part, ToolCallResponse) and isinstance(part.response, list) else []
    return next((mark for each in inner if (mark := getattr(each, "cache", None))), None)


def write_block(part: Part, path: str, dropped: Dropped) -> Json | None:
    """Write a part as a block; None if the dialect has none for it."""
    own: Json = getattr(part, "extra", {}).get(NAME, {})
    match part:
        case Text():
            return _text(part, path, own, dropped)
        case Reasoning():
            if "data" in own:
                return {"type": "redacted_thinking", "data": own["data"]}
            # Thinking that the provider has not signed is refused.
            return {"type": "thinking", "thinking": part.content, **own} if "signature" in own else None
        case Refusal():
            return {"type": "text", "text": part.content}
        case Compaction(content=str(content)):
            return {"type": "compaction", "content": content, **own}
        case ToolCall():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": _input(part), **own}
        case ToolCallResponse():
            return _tool_result(part, path, dropped)
        case ServerToolCall(server_tool_call={"input": arguments, **rest}):
            server = {"server_name": rest["server_name"]} if "server_name" in rest else {}
            kind = "mcp_tool_use" if server else "server_tool_use"
            return {"type": kind, "id": part.id, "name": part.name, "input": arguments, **server, **own}
        case ServerToolCallResponse(server_tool_call_response={"type": str(kind), **rest}) if kind.endswith("_result"):
            return {"type": kind, "tool_use_id": part.id, **rest}
        case Blob() | Uri() | File():
            return _media(part, own)
        case Other(dialect="anthropic-messages", value=dict(value)):
            return {"type": part.kind, **value}
    return None


def _text(part: Text, path: str, own: Json, dropped: Dropped) -> Json:
    if "document" in own:
        source = {"type": "text", "media_type": "text/plain", "data": part.content}
        return {"type": "document", "source": source, **own["document"]}
    if "search_result" in own:
        return {"type": "search_result", **own["search_result"]}
    block: Json = {"type": "text", "text": part.content}
    if citations := write_citations(part.citations):
        block["citations"] = citations
    if len(citations) < len(part.citations):
        dropped.add(f"{path}.citations")
    return block


def write_citations(citations: list[Citation]) -> list[Json]:
    """Write those citations that are this dialect's own: the API wants them back exactly as it gave them."""
    return [_citation(each, each.extra[NAME]) for each in citations if "type" in each.extra.get(NAME, {})]


def shown_citations(citations: list[Citation]) -> list[Json]:
    """Write all citations that have an address for a client, others' as if they came from a web search."""
    found = {"type": "web_search_result_location", "encrypted_index": ""}
    return [_citation(each, each.extra.get(NAME) or found) for each in citations if NAME in each.extra or each.uri]


def _citation(citation: Citation, own: Json) -> Json:
    uri, title = cited_fields(own.get("type"))
    address = {uri: citation.uri} if citation.uri else {}
    return {**own, **address, title: citation.title, "cited_text": citation.quote or ""}


def _input(call: ToolCall) -> Any:
    """Return the arguments of a call: the dialect wants an object, whatever they were."""
    if call.custom:
        return {"input": call.arguments or ""}
    if call.arguments is None:
        return {}
    return call.arguments if isinstance(call.arguments, dict) else {"arguments": call.arguments}


def _tool_result(part: ToolCallResponse, path: str, dropped: Dropped) -> Json:
    response = part.response
    block: Json = {"type": "tool_result", "tool_use_id": part.id}
    if isinstance(response, list):
        inner = ((each, f"{path}.response[{i}]") for i, each in enumerate(response))
        written = write_blocks(inner, dropped)
        block["content"] = [{k: v for k, v in each.items() if k != "cache_control"} for each in written]
    elif response not in ("", None):
        block["content"] = response if isinstance(response, str) else msgspec.json.encode(response).decode()
    if part.is_error:
        block["is_error"] = True
    return block


def _media(part: Blob | Uri | File, own: Json) -> Json | None:
    """Write an image or a document; None for media that the API takes in no form."""
    if "type" in own:
        return {"type": own["type"], "file_id": getattr(part, "file_id", None)}
    if part.modality not in {"image", "document"}:
        return None
    match part:
        case Blob(mime_type=str(mime_type)) if mime_type.startswith("text/"):
            source: Json = {"type": "text", "media_type": "text/plain", "data": _decoded(part.content)}
        case Blob():
            usual = "image/png" if part.modality == "image" else "application/pdf"
            mime_type = part.mime_type or usual
            if mime_type not in _IMAGES and mime_type != "application/pdf":
                return None
            source = {"type": "base64", "media_type": mime_type, "data": part.content}
        case Uri():
            if not part.uri.startswith(("https://", "http://")):
                return None
            source = {"type": "url", "url": part.uri}
        case File():
            source = {"type": "file", "file_id": part.file_id}
    block: Json = {"type": part.modality, "source": source}
    if part.name and part.modality == "document":
        block["title"] = part.name
    return block | own


def _decoded(content: str) -> str:
    try:
        return base64.b64decode(content, validate=False).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return content
