"""Anthropic's content blocks, of which its requests and responses are made, as parts of the conversation."""

from typing import Any

from gateway.dialects.conversation import (
    Blob,
    Compaction,
    File,
    Other,
    Part,
    Reasoning,
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


def read_blocks(content: Any) -> list[Part]:
    """Read a content: a text or a list of blocks."""
    if isinstance(content, str):
        return [Text(content=content)] if content else []
    return [read_block(b) for b in objects(content)]


def read_block(block: dict[str, Any]) -> Part:
    """Read one block."""
    kind = text(block.get("type")) or ""
    match kind:
        case "text":
            return Text(content=text(block.get("text")) or "")
        case "thinking":
            return Reasoning(content=text(block.get("thinking")) or "")
        case "redacted_thinking":
            return Reasoning(content="")
        case "tool_use":
            return ToolCall(id=_id(block), name=text(block.get("name")) or "", arguments=block.get("input"))
        case "server_tool_use" | "mcp_tool_use":
            called = text(block.get("name")) or ""
            call = {"type": called, "input": block.get("input")}
            if server := text(block.get("server_name")):
                call["server_name"] = server
            return ServerToolCall(id=_id(block), name=called, server_tool_call=call)
        case "tool_result":
            return ToolCallResponse(
                id=text(block.get("tool_use_id")),
                response=_result(block.get("content")),
                is_error=block.get("is_error") is True,
            )
        case "image" | "document" if (part := _source(kind, fields(block.get("source")))) is not None:
            return part
        case "container_upload" if file_id := text(block.get("file_id")):
            return File(modality="document", file_id=file_id)
        case "compaction":
            return Compaction(content=text(block.get("content")))
    rest = {k: v for k, v in block.items() if k not in {"type", "cache_control"}}
    if kind.endswith("_tool_result"):  # of a tool that the provider ran
        result_of = text(rest.pop("tool_use_id", None))
        return ServerToolCallResponse(id=result_of, server_tool_call_response={"type": kind, **rest})
    return Other(kind=kind, value=rest)


def _id(block: dict[str, Any]) -> str | None:
    return text(block.get("id"))


def _source(modality: str, source: dict[str, Any]) -> Part | None:
    """Read where an image or a document is; None where it is in no form known."""
    media_type = text(source.get("media_type"))
    data = text(source.get("data"))
    if source.get("type") == "text" and data:  # a document that is plain text
        return Text(content=data)
    if data:
        return Blob(modality=modality_of(media_type, modality), mime_type=media_type, content=data)
    if url := text(source.get("url")):
        return Uri(modality=modality, mime_type=media_type, uri=url)
    if file_id := text(source.get("file_id")):
        return File(modality=modality, file_id=file_id)
    return None


def _result(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return tool_answer([_result_part(block) for block in objects(content)])


def _result_part(block: dict[str, Any]) -> Part:
    nested = block.get("type") == "tool_result"  # not allowed, and would nest without end
    return Other(kind="tool_result", value=block) if nested else read_block(block)
