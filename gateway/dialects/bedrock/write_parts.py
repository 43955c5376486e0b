"""Parts of a conversation as Converse's content blocks."""

import re
from typing import Any

import msgspec

from gateway.dialects.bedrock.media import format_in, format_of
from gateway.dialects.bedrock.models import ANTHROPIC, family, is_rich
from gateway.dialects.bedrock.read_parts import CLAUDE_DIALECT, NAME
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
)
from gateway.dialects.shared.tool_ids import IdForm
from gateway.dialects.shared.writer import Dropped

Json = dict[str, Any]

_LIFETIMES = frozenset({"5m", "1h"})
ID_FORM = IdForm(re.compile(r"[^a-zA-Z0-9_.:-]"), longest=64)


class Blocks:
    """Writes the parts of a request to a model, or of a response (`to_model` is False); `dropped` names losses."""

    def __init__(self, model: str | None, dropped: Dropped, *, to_model: bool = True) -> None:
        self.dropped = dropped
        self._model = model
        self._to_model = to_model
        self._documents: set[str] = set()  # names: Converse takes each once

    def __repr__(self) -> str:
        return f"<Blocks for {self._model}>"

    def content(self, parts: list[tuple[Part, str]]) -> list[Json]:
        """Write parts, each with its path; a cache mark becomes a point after its part."""
        written: list[Json] = []
        for part, path in parts:
            block = self.block(part, path)
            if block is None:
                continue
            written.append(block)
            if mark := getattr(part, "cache", None):
                written += self.cache_point(mark, path)
        return written

    def cache_point(self, mark: str, path: str) -> list[Json]:
        """Write a cache point, if the model takes any; a lifetime that Converse does not have is the default."""
        if not is_rich(self._model):
            self.dropped.add("cache")
            return []
        if mark in _LIFETIMES:
            return [{"cachePoint": {"type": "default", "ttl": mark}}]
        if mark != "default":
            self.dropped.add(f"{path}.cache: {mark}")
        return [{"cachePoint": {"type": "default"}}]

    def block(self, part: Part, path: str) -> Json | None:
        """Write a part; None if it is empty or Converse cannot express it."""
        block = self._block(part, path)
        if block is None:
            if not isinstance(part, Text):
                self.dropped.add_part(part, path)
            elif part.cache:
                self.dropped.add(f"{path}.cache")
        elif not isinstance(part, Other | Reasoning):
            self.dropped.foreign(part.extra, NAME, path)
        return block

    def _block(self, part: Part, path: str) -> Json | None:
        match part:
            case Text():
                return self._text(part, path)
            case Reasoning():
                return self._reasoning(part, path)
            case ToolCall():
                return {"toolUse": self._tool_use(part)}
            case ToolCallResponse():
                return {"toolResult": self._tool_result(part, path)}
            case Blob() | Uri():
                return self._medium(part, path)
            case Refusal(content=content) if content:
                self.dropped.add(f"{path}: refusal")
                return {"text": content}
            case Compaction(content=str(content)) if content:
                self.dropped.add(f"{path}: compaction")
                return {"text": content}
            case ServerToolCall() if own := part.extra.get(NAME):
                call = part.server_tool_call.get("input")
                return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": call, **own}}
            case ServerToolCallResponse() if own := part.extra.get(NAME):
                answer = part.server_tool_call_response.get("content")
                return {"toolResult": {"toolUseId": part.id, "content": answer, **own}}
            case Other(dialect="bedrock-converse") if part.kind:
                return {part.kind: part.value}
        return None

    def _text(self, part: Text, path: str) -> Json | None:
        own = part.extra.get(NAME, {})
        if part.logprobs:
            self.dropped.add(f"{path}.logprobs")
        if "document" in own:
            return {"document": {**own["document"], "source": {"text": part.content}}}
        if "guardContent" in own:
            return {"guardContent": {"text": {"text": part.content, **own["guardContent"]}}}
        if part.citations and self._to_model and not is_rich(self._model):
            self.dropped.add(f"{path}.citations")
        elif part.citations:
            cited = [write_citation(each, path, self.dropped) for each in part.citations]
            return {"citationsContent": {"content": [{"text": part.content}], "citations": cited}}
        return {"text": part.content} if part.content or not self._to_model else None

    def _reasoning(self, part: Reasoning, path: str) -> Json | None:
        """Write the model's thinking. A Claude takes it with its proof only."""
        claude = family(self._model) == ANTHROPIC
        signature = proof(part, path, self.dropped, claude=claude or not self._to_model)
        if "redactedContent" in signature:
            return {"reasoningContent": signature}
        if self._to_model and not signature and (claude or not part.content):
            return None
        return {"reasoningContent": {"reasoningText": {"text": part.content, **signature}}}

    def _tool_use(self, part: ToolCall) -> Json:
        arguments = {} if part.arguments is None else part.arguments
        if part.custom or (self._to_model and not isinstance(arguments, dict)):
            arguments = {"input": arguments}  # the API takes objects only
        return {
            "toolUseId": part.id,
            "name": part.name,
            "input": arguments,
            **part.extra.get(NAME, {}),
        }

    def _tool_result(self, part: ToolCallResponse, path: str) -> Json:
        response = part.response
        content: list[Json]
        if isinstance(response, str):
            content = [{"text": response}] if response else []
        elif isinstance(response, list):
            content = [
                block
                for index, each in enumerate(response)
                if (block := self._answer_part(each, f"{path}.response[{index}]")) is not None
            ]
        elif isinstance(response, dict):
            content = [{"json": response}]
        else:
            content = [{"text": msgspec.json.encode(response).decode()}]
        result: Json = {"toolUseId": part.id, "content": content}
        if part.is_error and is_rich(self._model):
            result["status"] = "error"
        elif part.is_error:
            self.dropped.add(f"{path}.is_error")
        return result | part.extra.get(NAME, {})

    def _answer_part(self, part: Part, path: str) -> Json | None:
        block = self.block(part, path)
        if block is not None and getattr(part, "cache", None):
            self.dropped.add(f"{path}.cache")
        return block

    def _medium(self, part: Blob | Uri, path: str) -> Json | None:
        own = part.extra.get(NAME, {})
        kind, content = part.modality, part.content if isinstance(part, Blob) else ""
        form = format_of(kind, part.mime_type, content)
        if form is None and isinstance(part, Uri):
            form = format_in(kind, part.uri)
        if "guardContent" in own:
            return {"guardContent": {"image": {"format": form or "png", "source": {"bytes": content}}}}
        if form is None and kind != "document":
            return None
        if isinstance(part, Blob):
            source: Json = {"bytes": content}
        elif part.uri.startswith("s3://"):
            owner = {"bucketOwner": own["bucketOwner"]} if own.get("bucketOwner") else {}
            source = {"s3Location": {"uri": part.uri, **owner}}
        else:
            return None
        if form is None and part.mime_type is not None:
            return None
        medium: Json = {"format": form} if form else {}
        if kind == "document":
            medium["name"] = self._document(part.name)
        elif part.name:
            self.dropped.add(f"{path}.name")
        medium["source"] = source
        return {kind: medium | {key: value for key, value in own.items() if key != "bucketOwner"}}

    def _document(self, name: str | None) -> str:
        """Return a name as Converse takes it: of few characters, and each only once."""
        plain = re.sub(r"[^a-zA-Z0-9\s\-()\[\]]+", "-", name or "document").strip("- \n\t")[:190]
        plain = re.sub(r"\s+", " ", plain) or "document"
        unique, number = plain, 1
        while unique in self._documents:
            number += 1
            unique = f"{plain}-{number}"
        self._documents.add(unique)
        return unique


def proof(part: Reasoning, path: str, dropped: Dropped, *, claude: bool) -> Json:
    """Return the signature of a model's reasoning; for a Claude, that of Anthropic's own dialect will do."""
    signature = part.extra.get(NAME, {})
    theirs = part.extra.get(CLAUDE_DIALECT, {})
    if not signature and claude and theirs.get("data"):
        signature = {"redactedContent": theirs["data"]}
    elif not signature and claude and theirs.get("signature"):
        signature = {"signature": theirs["signature"]}
    lost = {key: each for key, each in part.extra.items() if key != CLAUDE_DIALECT or not signature}
    dropped.foreign(lost, NAME, path)
    return signature


def write_citation(citation: Citation, path: str, dropped: Dropped) -> Json:
    """Write a citation."""
    own = citation.extra.get(NAME, {})
    dropped.foreign(citation.extra, NAME, f"{path}.citations")
    if citation.start is not None or citation.end is not None:
        dropped.add(f"{path}.citations: place")
    written: Json = {"title": citation.title} if citation.title else {}
    if citation.quote:
        written["sourceContent"] = [{"text": citation.quote}]
    if citation.uri and not own.keys() & {"source", "location"}:
        written["location"] = {"web": {"url": citation.uri}}
    return written | own
