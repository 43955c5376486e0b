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
from gateway.dialects.shared.extra import decode_state, own
from gateway.dialects.shared.messages import cache_mark, modality_of
from gateway.dialects.wire.json import fields, objects, text

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
            carries = decode_state(block.get("signature"))
            extra = own(NAME, block, "signature") if carries is None else carries
            return Reasoning(content=text(block.get("thinking")) or "", extra=extra)
        case "redacted_thinking":
            return Reasoning(content="", extra=own(NAME, block, "data"))
        case "tool_use":
            called = text(block.get("name")) or ""
            return ToolCall(id=_id(block), name=called, arguments=block.get("input"), extra=_of_call(block))
        case "server_tool_use" | "mcp_tool_use":
            called = text(block.get("name")) or ""
            call = {"type": called, "input": block.get("input")}
            if server := text(block.get("server_name")):
                call["server_name"] = server
            return ServerToolCall(id=_id(block), name=called, server_tool_call=call, extra=_of_call(block))
        case "tool_result":
            return ToolCallResponse(
                id=text(block.get("tool_use_id")),
                response=_result(block.get("content")),
                is_error=block.get("is_error") is True,
            )
        case "image" | "document" if (part := _source(kind, block)) is not None:
            return part
        case "search_result":
            return _search_result(block)
        case "container_upload" if file_id := text(block.get("file_id")):
            return File(modality="document", file_id=file_id, extra={NAME: {"type": kind}})
        case "compaction":
            return Compaction(content=text(block.get("content")), extra=own(NAME, block, "encrypted_content"))
    rest = {k: v for k, v in block.items() if k not in {"type", "cache_control"}}
    if kind.endswith("_tool_result"):  # of a tool that the provider ran
        result_of = text(rest.pop("tool_use_id", None))
        return ServerToolCallResponse(id=result_of, server_tool_call_response={"type": kind, **rest})
    return Other(kind=kind, value=rest, dialect=NAME)


def _id(block: dict[str, Any]) -> str | None:
    return text(block.get("id"))


def _of_call(block: dict[str, Any]) -> Extra:
    """Return a call's own fields: the caller, unless that is the model itself."""
    of_call = own(NAME, block, "caller", "toolset_name")
    if of_call.get(NAME, {}).get("caller") == {"type": "direct"}:
        del of_call[NAME]["caller"]
    return of_call if of_call.get(NAME) else {}


# A citation's fields for the address and the title of its source, if they are not `url` and `title`.
_CITED = {
    "search_result_location": ("source", "title"),
    "char_location": ("url", "document_title"),
    "page_location": ("url", "document_title"),
    "content_block_location": ("url", "document_title"),
}


def read_citations(citations: Any) -> list[Citation]:
    """Read a text's citations; fields without a place in the form are kept as they are."""
    return [_citation(each) for each in objects(citations)]


def _citation(citation: dict[str, Any]) -> Citation:
    uri, title = cited_fields(citation.get("type"))
    known = {name: value for name in (uri, title, "cited_text") if (value := text(citation.get(name)))}
    rest = {name: value for name, value in citation.items() if name not in known and value is not None}
    return Citation(
        uri=known.get(uri), title=known.get(title), quote=known.get("cited_text"), extra={NAME: rest} if rest else {}
    )


def cited_fields(kind: Any) -> tuple[str, str]:
    """Return a kind of citation's fields for the address and the title of its source."""
    return _CITED.get(kind if isinstance(kind, str) else "", ("url", "title"))


def _source(modality: str, block: dict[str, Any]) -> Part | None:
    """Read the source of an image or a document; None if its form is unknown."""
    source = fields(block.get("source"))
    media_type = text(source.get("media_type"))
    data = text(source.get("data"))
    name, extra = text(block.get("title")), own(NAME, block, "context", "citations")
    if source.get("type") == "text" and data:  # a document that is plain text
        document = own(NAME, block, "title", "context", "citations").get(NAME, {})
        return Text(content=data, extra={NAME: {"document": document}})
    if source.get("type") == "content" and (texts := _texts(source.get("content"))) is not None:
        document = own(NAME, block, "title", "context", "citations").get(NAME, {})
        return Text(content="\n".join(texts), extra={NAME: {"document": {**document, "source": source}}})
    if data:
        kind = modality_of(media_type, modality)
        return Blob(modality=kind, mime_type=media_type, content=data, name=name, extra=extra)
    if url := text(source.get("url")):
        return Uri(modality=modality, mime_type=media_type, uri=url, name=name, extra=extra)
    if file_id := text(source.get("file_id")):
        return File(modality=modality, file_id=file_id, name=name, extra=extra)
    return None


def _search_result(block: dict[str, Any]) -> Part:
    """Read a search result that the client found: a text, which begins with its title and source."""
    head = [value for key in ("title", "source") if (value := text(block.get(key)))]
    whole = {key: value for key, value in block.items() if key not in {"type", "cache_control"}}
    texts = _texts(block.get("content"))
    if texts is None:
        return Other(kind="search_result", value=whole, dialect=NAME)
    return Text(content="\n".join([*head, *texts]), extra={NAME: {"search_result": whole}})


def _texts(content: Any) -> list[str] | None:
    """Return the texts of a content; None if it has anything else."""
    if isinstance(content, str):
        return [content]
    blocks = list(objects(content))
    texts = [value for each in blocks if each.get("type") == "text" and (value := text(each.get("text")))]
    return texts if texts and len(texts) == len(blocks) else None


def _result(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return tool_answer([_result_part(block) for block in objects(content)])


def _result_part(block: dict[str, Any]) -> Part:
    nested = block.get("type") == "tool_result"  # not allowed, and would nest without end
    return Other(kind="tool_result", value=block, dialect=NAME) if nested else read_block(block)
