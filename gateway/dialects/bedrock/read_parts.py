"""Converse's content blocks, of which its requests and responses are made, as parts of the conversation."""

from base64 import b64decode, b64encode
from binascii import Error
from typing import Any

import msgspec

from gateway.dialects.bedrock.media import mime_type
from gateway.dialects.conversation import (
    Blob,
    Citation,
    Compaction,
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
from gateway.dialects.shared.extra import own
from gateway.dialects.wire.json import fields, objects, text

NAME = "bedrock-converse"
CLAUDE_DIALECT = "anthropic-messages"

_MEDIA = frozenset({"image", "document", "video", "audio"})
_UNMARKED = Reasoning | Refusal | Compaction | ServerToolCall | ServerToolCallResponse | Other


def read_content(content: Any) -> list[Part]:
    """Read a list of blocks; a cache point is a mark on the part before it."""
    parts: list[Part] = []
    for block in objects(content):
        mark = cache_mark(block)
        before = parts[-1] if parts and mark else None
        if before is not None and not isinstance(before, _UNMARKED) and before.cache is None:
            parts[-1] = msgspec.structs.replace(before, cache=mark)
        else:
            parts.append(read_block(block))
    return parts


def cache_mark(block: dict[str, Any]) -> str | None:
    """Return the lifetime of a cache point, None for any other block."""
    point = fields(block.get("cachePoint"))
    plain = point.get("type") == "default" and point.keys() <= {"type", "ttl"}
    return (text(point.get("ttl")) or "default") if plain else None


def read_block(block: dict[str, Any]) -> Part:
    """Read one block, which has one member."""
    kind, value = next(iter(block.items()), ("", None))
    inner = fields(value)
    match kind:
        case "text" if isinstance(value, str):
            return Text(content=value)
        case "toolUse":
            return _tool_use(inner)
        case "toolResult":
            return _tool_result(inner)
        case "reasoningContent" if (reasoning := _reasoning(inner)) is not None:
            return reasoning
        case "citationsContent":
            texts = [t for each in objects(inner.get("content")) if (t := text(each.get("text")))]
            return Text(content="".join(texts), citations=read_citations(inner.get("citations")))
        case "guardContent" if (guarded := _guarded(inner)) is not None:
            return guarded
        case _ if kind in _MEDIA and (medium := _medium(kind, inner)) is not None:
            return medium
    return Other(kind=kind, value=value, dialect=NAME)


def _without(value: dict[str, Any], *known: str) -> dict[str, Any]:
    return {key: each for key, each in value.items() if key not in known}


def _tool_use(use: dict[str, Any]) -> Part:
    called, number = text(use.get("name")) or "", text(use.get("toolUseId"))
    rest = own(NAME, _without(use, "name", "toolUseId", "input"))
    if use.get("type") == "server_tool_use":
        call = {"type": called, "input": use.get("input")}
        return ServerToolCall(id=number, name=called, server_tool_call=call, extra=rest)
    return ToolCall(id=number, name=called, arguments=use.get("input"), extra=rest)


def _tool_result(result: dict[str, Any]) -> Part:
    number, content = text(result.get("toolUseId")), result.get("content")
    if kind := text(result.get("type")):  # of a tool that the provider ran
        rest = own(NAME, _without(result, "toolUseId", "content"))
        answer = {"type": kind, "content": content}
        return ServerToolCallResponse(id=number, server_tool_call_response=answer, extra=rest)
    rest = _without(result, "toolUseId", "content")
    if text(rest.get("status")) in {"success", "error"}:
        del rest["status"]
    failed = result.get("status") == "error"
    return ToolCallResponse(id=number, response=_answer(content), is_error=failed, extra=own(NAME, rest))


def _answer(content: Any) -> Any:
    """Read a tool's result: a JSON object, a text, or parts."""
    blocks = list(objects(content))
    if len(blocks) == 1 and isinstance(value := blocks[0].get("json"), dict):
        return value
    return tool_answer([_answer_part(block) for block in blocks])


def _answer_part(block: dict[str, Any]) -> Part:
    nested = "toolResult" in block  # not allowed, and would nest without end
    return Other(kind="toolResult", value=block["toolResult"], dialect=NAME) if nested else read_block(block)


def _reasoning(value: dict[str, Any]) -> Part | None:
    """Read the model's thinking: a text, or data that only the provider can read.

    Its signature is kept under Anthropic's dialect too: a Claude takes it from either, and its clients send it back.
    """
    shown = fields(value.get("reasoningText"))
    if shown:
        extra = own(NAME, _without(shown, "text"))
        if signature := text(shown.get("signature")):
            extra[CLAUDE_DIALECT] = {"signature": signature}
        return Reasoning(content=text(shown.get("text")) or "", extra=extra)
    if hidden := text(value.get("redactedContent")):
        return Reasoning(content="", extra={**own(NAME, {"redactedContent": hidden}), CLAUDE_DIALECT: {"data": hidden}})
    return None


def _guarded(value: dict[str, Any]) -> Part | None:
    """Read content that a guardrail is to look at."""
    guarded = fields(value.get("text"))
    if isinstance(content := guarded.get("text"), str):
        return Text(content=content, extra={NAME: {"guardContent": _without(guarded, "text")}})
    image = fields(value.get("image"))
    content = text(fields(image.get("source")).get("bytes"))
    if content is None:
        return None
    form = mime_type("image", text(image.get("format")))
    return Blob(modality="image", mime_type=form, content=content, extra={NAME: {"guardContent": {}}})


def _medium(kind: str, value: dict[str, Any]) -> Part | None:
    """Read an image, a document, a video or sound; None if its form is unknown."""
    source = fields(value.get("source"))
    form, name = mime_type(kind, text(value.get("format"))), text(value.get("name"))
    rest = _without(value, "format", "source", "name")
    if content := text(source.get("bytes")):
        return Blob(modality=kind, mime_type=form, content=content, name=name, extra=own(NAME, rest))
    place = fields(source.get("s3Location"))
    if uri := text(place.get("uri")):
        rest["bucketOwner"] = place.get("bucketOwner")
        return Uri(modality=kind, mime_type=form, uri=uri, name=name, extra=own(NAME, rest))
    if content := text(source.get("text")):  # a document that is plain text
        return Text(content=content, extra={NAME: {"document": _without(value, "source")}})
    return None


def read_citations(citations: Any) -> list[Citation]:
    """Read a text's citations."""
    return [_citation(citation) for citation in objects(citations)]


def _citation(citation: dict[str, Any]) -> Citation:
    web = fields(fields(citation.get("location")).get("web"))
    source = text(citation.get("source"))
    uri = text(web.get("url")) or source
    quotes = [t for each in objects(citation.get("sourceContent")) if (t := text(each.get("text")))]
    rest = _without(citation, "title")
    if rest.get("sourceContent") == [{"text": "".join(quotes)}]:
        del rest["sourceContent"]
    if citation.get("location") == {"web": {"url": uri}} and source is None:
        del rest["location"]
    return Citation(uri=uri, title=text(citation.get("title")), quote="".join(quotes) or None, extra=own(NAME, rest))


def joined(pieces: list[str]) -> str:
    """Join base64 that came in pieces, each padded for itself."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return b64encode(b"".join([b64decode(piece) for piece in pieces])).decode()
    except (Error, ValueError):
        return "".join(pieces)
