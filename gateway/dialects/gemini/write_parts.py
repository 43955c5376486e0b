"""Parts of the conversation as Gemini's parts. Pure."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from gateway.dialects.conversation import (
    Blob,
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
)
from gateway.dialects.gemini.read_parts import CODE_EXECUTION, KEPT_FILES, NAME
from gateway.dialects.shared.extra import encode_state, foreign
from gateway.dialects.shared.writer import Dropped
from gateway.dialects.wire.json import fields, merged, text

Json = dict[str, Any]

# Inline data must have a media type; the likeliest, if it is unknown.
_TYPES = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "document": "application/pdf"}
_BY_ENDING = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "pdf": "application/pdf",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "txt": "text/plain",
}


class PartWriter(Struct, frozen=True):
    """Writes parts for a request, or for a response to a client.

    Attributes:
        dropped: Collects the names of what Gemini cannot express.
        carry: Whether the fields of other dialects go to the client in a signature, for its next request.
        shows_results: Whether the model takes media in a function's response, which those before Gemini 3 do not.

    """

    dropped: Dropped
    carry: bool = False
    shows_results: bool = True

    def part(self, part: Part, path: str) -> Json | None:
        """Write a part. One that has no words here is named, and one that is empty is left out: the API refuses it."""
        if getattr(part, "cache", None):
            self.dropped.add("cache")  # Gemini caches by itself
        extra: Extra = getattr(part, "extra", {})
        own = extra.get(NAME, {})
        others = foreign(extra, NAME)
        if isinstance(part, ToolCall) and not signed(part) and (signature := _by_way_of_openai(others)):
            own = {**own, "thoughtSignature": signature}
            more = {key: value for key, value in others["openai-chat"].items() if key != "extra_content"}
            self.dropped.foreign({**others, "openai-chat": more}, NAME, path)
        elif others and self.carry and isinstance(part, Text | Reasoning | ToolCall) and not signed(part):
            own = {**own, "thoughtSignature": encode_state(others)}
        else:
            self.dropped.foreign(others, NAME, path)
        if isinstance(part, Text | Reasoning | Refusal) and not part.content and not own:
            return None
        written = _written(part, path, self)
        if written is None:
            self.dropped.add_part(part, path)
            return None
        return merged(written, own)


def signed(part: Part) -> bool:
    """Whether a part has a signature of Gemini's."""
    own = getattr(part, "extra", {}).get(NAME, {})
    return "thoughtSignature" in own or "thought_signature" in own


def _by_way_of_openai(foreign: Extra) -> str | None:
    """Return a call's signature from its place in Google's OpenAI-compatible API. Source: the guide to signatures."""
    content = fields(foreign.get("openai-chat", {}).get("extra_content"))
    return text(fields(content.get("google")).get("thought_signature"))


def _written(part: Part, path: str, writing: PartWriter) -> Json | None:
    match part:
        case Text():
            return {"text": part.content}
        case Reasoning():
            return {"text": part.content, "thought": True}
        case Refusal():
            writing.dropped.add(f"{path}: refusal")  # the words stay
            return {"text": part.content}
        case Compaction(content=str(content)):
            return {"text": content}
        case ToolCall():
            call = {"id": part.id, "name": part.name, "args": arguments(part)}
            return {"functionCall": _there(call)}
        case ToolCallResponse():
            return {"functionResponse": _there(_result(part, path, writing))}
        case Blob():
            mime_type = part.mime_type or _TYPES.get(part.modality)
            data = {"mimeType": mime_type, "data": part.content, "displayName": part.name}
            return {"inlineData": _there(data)}
        case Uri():
            return {"fileData": _file(part.uri, part)}
        case File(file_id=file_id) if file_id.startswith((KEPT_FILES, "files/")):
            return {"fileData": _file(file_id, part)}
        case ServerToolCall(server_tool_call=call):
            return _server_tool(part.id, call, ("executableCode", "code"), ("toolCall", "args"))
        case ServerToolCallResponse(server_tool_call_response=result):
            return _server_tool(part.id, result, ("codeExecutionResult", "outcome"), ("toolResponse", "response"))
        case Other(dialect="gemini", value=dict(value)):
            return value
    return None


def _there(fields: Json) -> Json:
    return {key: value for key, value in fields.items() if value is not None}


def arguments(call: ToolCall) -> Json:
    """Return a call's arguments as the object they must be: the text of a custom tool is its only argument."""
    if isinstance(call.arguments, dict):
        return call.arguments
    return {} if call.arguments is None or call.arguments == "" else {"input": call.arguments}


def _file(uri: str, part: Uri | File) -> Json:
    mime_type = part.mime_type or _BY_ENDING.get(uri.partition("?")[0].rpartition(".")[2].lower())
    return _there({"fileUri": uri, "mimeType": mime_type, "displayName": part.name})


def _server_tool(call_id: str | None, fields: Json, of_code: tuple[str, str], of_tool: tuple[str, str]) -> Json | None:
    """Write the call or result of a tool of Google's; None for one of others, which has other fields."""
    own = {key: value for key, value in fields.items() if key != "type"}
    kind = fields.get("type")
    if kind == CODE_EXECUTION and of_code[1] in fields:
        return {of_code[0]: _there({"id": call_id}) | own}
    if isinstance(kind, str) and kind.isupper() and own.keys() <= {of_tool[1]}:
        return {of_tool[0]: _there({"id": call_id, "toolType": kind}) | own}
    return None


def _result(part: ToolCallResponse, path: str, writing: PartWriter) -> Json:
    answer = part.response
    shown: list[Json] = []
    if isinstance(answer, list):
        texts = [each.content for each in answer if isinstance(each, Text | Refusal)]
        for number, each in enumerate(answer):
            if isinstance(each, Blob | Uri | File) and writing.shows_results:
                if (written := writing.part(each, f"{path}.parts[{number}]")) is not None:
                    shown.append(written)
            elif not isinstance(each, Blob | Uri | File | Text | Refusal):
                writing.dropped.add_part(each, f"{path}.parts[{number}]")
        answer = "\n".join(texts)
    if part.is_error:
        answer = {"error": answer}
    elif not isinstance(answer, dict):
        answer = {"output": answer}
    return {"id": part.id, "name": part.name or part.id or "tool", "response": answer, "parts": shown or None}


def shown_apart(parts: list[Part]) -> Iterator[Part]:
    """Give the media that functions gave back, for a model that takes them only beside a function's response."""
    for part in parts:
        if isinstance(part, ToolCallResponse) and isinstance(part.response, list):
            yield from (each for each in part.response if isinstance(each, Blob | Uri | File))
