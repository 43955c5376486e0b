"""Cohere's chats and embeddings, whole: OpenAI's turns, a plan before the tool calls, citations beside the text.

Source: Cohere, "Chat API (v2)", "Embed API (v2)".
"""

from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.dialects.conversation import ChatRequest, ChatResponse, Citation, Message, Part, Reasoning, Text
from gateway.dialects.openai_chat import CHAT_COMPLETIONS
from gateway.dialects.openai_chat.read_parts import content_parts, tool_call
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.parameters import parameters
from gateway.dialects.shared.reported_error import NO_ERROR, ReportedError, is_failure
from gateway.dialects.shared.usage import usage_of
from gateway.dialects.wire.json import count, decode, fields, objects, text
from gateway.semconv import EMBEDDINGS


class _Request(Struct, gc=False):
    model: Any = None
    p: Any = None
    k: Any = None
    stop_sequences: Any = None
    thinking: Any = None
    texts: Any = None
    inputs: Any = None
    output_dimension: Any = None
    embedding_types: Any = None


class _Response(Struct, gc=False):
    """A whole response, or an error body: its message is a text."""

    id: Any = None
    finish_reason: Any = None
    message: Any = None
    usage: Any = None
    meta: Any = None


_REQUEST = msgspec.json.Decoder(_Request)
_RESPONSE = msgspec.json.Decoder(_Response)

FINISH_REASONS = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "ERROR_LIMIT": "length",
    "ERROR_TOXIC": "content_filter",
}


def read_chat(body: bytes) -> ChatRequest:
    """Read a chat's request."""
    read, request = CHAT_COMPLETIONS.read_request(body), decode(body, _REQUEST)
    if request is None:
        return read
    own = {
        name.TOP_P: request.p,
        name.TOP_K: request.k,
        name.STOP_SEQUENCES: request.stop_sequences,
        name.REASONING_LEVEL: fields(request.thinking).get("type"),
    }
    return structs.replace(read, parameters=read.parameters | parameters(own))


def read_embed(body: bytes) -> ChatRequest:
    """Read a request for embeddings: of texts, or of contents with images."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=EMBEDDINGS)
    texts = request.texts if isinstance(request.texts, list) else []
    parts: list[Part] = [Text(content=each) for each in texts if isinstance(each, str)]
    parts += [part for each in objects(request.inputs) for part in content_parts(each.get("content"))]
    return ChatRequest(
        operation=EMBEDDINGS,
        model=text(request.model),
        input_messages=[Message(role="user", parts=parts)] if parts else [],
        parameters=parameters(
            {name.DIMENSION_COUNT: request.output_dimension, name.ENCODING_FORMATS: request.embedding_types}
        ),
    )


def read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or an error body."""
    whole = decode(body, _RESPONSE)
    if whole is None:
        return ChatResponse()
    message = fields(whole.message)
    return chat_response(text(whole.id), read_parts(message), whole.finish_reason, whole.usage, _error(whole))


def read_embedded(body: bytes) -> ChatResponse:
    """Read a response with embeddings, which are not recorded."""
    whole = decode(body, _RESPONSE)
    if whole is None:
        return ChatResponse()
    error = _error(whole)
    return ChatResponse(
        id=text(whole.id), usage=usage_of(whole.meta), error_type=error.type, error_message=error.message
    )


def _error(whole: _Response) -> ReportedError:
    return ReportedError(None, whole.message) if isinstance(whole.message, str) else NO_ERROR


def chat_response(
    response_id: str | None, parts: list[Part], word: Any, usage: Any, error: ReportedError
) -> ChatResponse:
    """Return a response from its fields, read whole or streamed. `word`: why it ended."""
    own_word = text(word)
    reason = FINISH_REASONS.get(own_word or "", "error" if is_failure(own_word) else own_word)
    message = Message(
        role="assistant", parts=parts, finish_reason=reason, finish_word=None if reason == own_word else own_word
    )
    return ChatResponse(
        id=response_id,
        finish_reasons=[reason] if reason else [],
        output_messages=[message] if parts or reason else [],
        usage=usage_of(usage),
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
    )


def read_parts(message: dict[str, Any]) -> list[Part]:
    """Read a message of the model's: thoughts, or the plan of its tool calls, its text and the calls."""
    parts: list[Part] = []
    if plan := text(message.get("tool_plan")):
        parts.append(Reasoning(content=plan))
    content = message.get("content")
    for each in [content] if isinstance(content, str) else objects(content):
        if isinstance(each, dict) and isinstance(thought := each.get("thinking"), str):
            parts.append(Reasoning(content=thought))
        else:
            parts += content_parts(each if isinstance(each, str) else [each])
    citations = [_citation(each) for each in objects(message.get("citations"))]
    at = next((index for index, part in enumerate(parts) if isinstance(part, Text)), None)
    if citations and at is not None:
        parts[at] = structs.replace(parts[at], citations=citations)
    return [*parts, *(tool_call(call) for call in objects(message.get("tool_calls")))]


def _citation(cited: dict[str, Any]) -> Citation:
    source = next(objects(cited.get("sources")), {})
    document = fields(source.get("document"))
    return Citation(
        uri=text(document.get("url")),
        title=text(document.get("title")),
        quote=text(document.get("snippet")),
        start=count(cited.get("start")),
        end=count(cited.get("end")),
    )
