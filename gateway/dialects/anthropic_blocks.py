"""Anthropic's content blocks, of which its requests and responses are made, as parts of the conversation."""

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
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
    tool_answer,
)
from gateway.dialects.lenient import fields, objects, text
from gateway.dialects.media import modality_of

NAME = "anthropic-messages"


def read_blocks(content: Any) -> list[Part]:
    """Read a content: a text or a list of blocks."""
    if isinstance(content, str):
        return [Text(content=content)] if content else []
    return [read_block(b) for b in objects(content)]


def read_block(block: dict[str, Any]) -> Part:
    """Read one block."""
    read = _bare_block(block)
    mark = cache_mark(block)
    if mark is None or isinstance(read, Reasoning | Refusal | Compaction | ServerToolCall | ServerToolCallResponse):
        return read
    return msgspec.structs.replace(read, cache=mark)


def _bare_block(block: dict[str, Any]) -> Part:
    kind = text(block.get("type")) or ""
    match kind:
        case "text":
            return Text(content=text(block.get("text")) or "", citations=read_citations(block.get("citations")))
        case "thinking":
            return Reasoning(content=text(block.get("thinking")) or "", extra=own(block, "signature"))
        case "redacted_thinking":
            return Reasoning(content="", extra=own(block, "data"))
        case "tool_use":
            called = text(block.get("name")) or ""
            return ToolCall(id=_id(block), name=called, arguments=block.get("input"), extra=own(block, "caller"))
        case "server_tool_use" | "mcp_tool_use":
            called = text(block.get("name")) or ""
            call = {"type": called, "input": block.get("input")}
            if server := text(block.get("server_name")):
                call["server_name"] = server
            return ServerToolCall(id=_id(block), name=called, server_tool_call=call, extra={NAME: {"type": kind}})
        case "tool_result":
            return ToolCallResponse(
                id=text(block.get("tool_use_id")),
                response=_result(block.get("content")),
                is_error=block.get("is_error") is True,
            )
        case "image" | "document" if (part := _source(kind, block)) is not None:
            return part
        case "container_upload" if file_id := text(block.get("file_id")):
            return File(modality="document", file_id=file_id, extra={NAME: {"type": kind}})
        case "compaction":
            return Compaction(content=text(block.get("content")), extra=own(block, "encrypted_content"))
    rest = {k: v for k, v in block.items() if k not in {"type", "cache_control"}}
    if kind.endswith("_tool_result"):  # of a tool that the provider ran
        result_of = text(rest.pop("tool_use_id", None))
        result = {"type": kind, **rest}
        return ServerToolCallResponse(id=result_of, server_tool_call_response=result, extra={NAME: {"type": kind}})
    return Other(kind=kind, value=rest, dialect=NAME)


def _id(block: dict[str, Any]) -> str | None:
    return text(block.get("id"))


def own(block: dict[str, Any], *names: str) -> Extra:
    """Return the fields that only this dialect has a word for."""
    found = {name: block[name] for name in names if block.get(name) not in (None, "")}
    return {NAME: found} if found else {}


def cache_mark(block: dict[str, Any]) -> str | None:
    """Return how long the prompt up to here is to be cached, None where nothing is said."""
    mark = block.get("cache_control")
    return (text(mark.get("ttl")) or "default") if isinstance(mark, dict) else None


def read_citations(citations: Any) -> list[Citation]:
    """Read where a text comes from; this dialect's own words are kept as they are."""
    return [
        Citation(
            uri=text(each.get("url")) or text(each.get("source")),
            title=text(each.get("title")) or text(each.get("document_title")),
            quote=text(each.get("cited_text")),
            extra={NAME: each},
        )
        for each in objects(citations)
    ]


def _source(modality: str, block: dict[str, Any]) -> Part | None:
    """Read where an image or a document is; None where it is in no form known."""
    source = fields(block.get("source"))
    media_type = text(source.get("media_type"))
    data = text(source.get("data"))
    name, extra = text(block.get("title")), own(block, "context", "citations")
    if source.get("type") == "text" and data:  # a document that is plain text
        return Text(content=data, extra={NAME: {"block": {k: v for k, v in block.items() if k != "cache_control"}}})
    if data:
        kind = modality_of(media_type, modality)
        return Blob(modality=kind, mime_type=media_type, content=data, name=name, extra=extra)
    if url := text(source.get("url")):
        return Uri(modality=modality, mime_type=media_type, uri=url, name=name, extra=extra)
    if file_id := text(source.get("file_id")):
        return File(modality=modality, file_id=file_id, name=name, extra=extra)
    return None


def _result(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return tool_answer([_result_part(block) for block in objects(content)])


def _result_part(block: dict[str, Any]) -> Part:
    nested = block.get("type") == "tool_result"  # not allowed, and would nest without end
    return Other(kind="tool_result", value=block, dialect=NAME) if nested else read_block(block)
