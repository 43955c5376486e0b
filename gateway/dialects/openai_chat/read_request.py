"""What requests to OpenAI's chat completions, completions and embeddings say, in the conversation form."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.conversation import (
    ChatRequest,
    Citation,
    Extra,
    File,
    Message,
    Other,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolCallResponse,
    tool_answer,
)
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.media import attached, located, sound
from gateway.dialects.shared.messages import cache_mark
from gateway.dialects.shared.opaque_state import decode_state, own
from gateway.dialects.shared.parameters import output_type, parameters
from gateway.dialects.wire.json import count, decode, definitions, fields, json_value, objects, text
from gateway.semconv import CHAT, EMBEDDINGS, TEXT_COMPLETION

NAME = "openai-chat"

GAP = "\n\n"
"""What stands between texts that were apart, where the dialect has one text for all."""


class _Request(Struct, gc=False):
    model: Any = None
    stream: Any = None
    messages: Any = None
    prompt: Any = None
    input: Any = None
    tools: Raw = Raw()
    functions: Raw = Raw()
    n: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    stop: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    seed: Any = None
    reasoning_effort: Any = None
    reasoning: Any = None
    response_format: Any = None
    modalities: Any = None
    dimensions: Any = None
    encoding_format: Any = None
    user: Any = None
    safety_identifier: Any = None


_REQUEST = msgspec.json.Decoder(_Request)


def read_chat(body: bytes) -> ChatRequest:
    """Read a chat completions request."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=CHAT)
    return _asked(request, CHAT, [_message(m) for m in objects(request.messages)])


def read_completion(body: bytes) -> ChatRequest:
    """Read a request to the older completions API."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=TEXT_COMPLETION)
    return _asked(request, TEXT_COMPLETION, _inputs(request.prompt))


def read_embeddings(body: bytes) -> ChatRequest:
    """Read an embeddings request."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=EMBEDDINGS)
    return _asked(request, EMBEDDINGS, _inputs(request.input))


def _asked(request: _Request, operation: str, messages: list[Message]) -> ChatRequest:
    return ChatRequest(
        operation=operation,
        model=text(request.model),
        stream=request.stream is True,
        input_messages=messages,
        tool_definitions=definitions(request.tools, request.functions),
        parameters=_parameters(request),
        user=text(request.user) or text(request.safety_identifier),
    )


def _parameters(request: _Request) -> name.Parameters:
    spoken = isinstance(request.modalities, list) and "audio" in request.modalities
    return parameters(
        {
            name.MAX_TOKENS: request.max_tokens
            if request.max_completion_tokens is None
            else request.max_completion_tokens,
            name.TEMPERATURE: request.temperature,
            name.TOP_P: request.top_p,
            name.TOP_K: request.top_k,
            name.STOP_SEQUENCES: request.stop,
            name.FREQUENCY_PENALTY: request.frequency_penalty,
            name.PRESENCE_PENALTY: request.presence_penalty,
            name.SEED: request.seed,
            name.CHOICE_COUNT: request.n,
            name.STREAM: request.stream,
            name.REASONING_LEVEL: request.reasoning_effort or fields(request.reasoning).get("effort"),
            name.OUTPUT_TYPE: "speech" if spoken else output_type(fields(request.response_format).get("type")),
            name.ENCODING_FORMATS: request.encoding_format,
            name.DIMENSION_COUNT: request.dimensions,
        }
    )


def _inputs(value: Any) -> list[Message]:
    """Read a prompt or what is to be embedded: a text, a list of them, or the same in tokens."""
    whole = isinstance(value, str) or (isinstance(value, list) and bool(value) and isinstance(value[0], int))
    inputs = [value] if whole else value
    if not isinstance(inputs, list):
        return []
    parts: list[Part] = [Text(content=i) if isinstance(i, str) else Other(kind="tokens", value=i) for i in inputs]
    return [Message(role="user", parts=parts)]


def _message(message: dict[str, Any]) -> Message:
    role = text(message.get("role")) or "user"
    if role in {"tool", "function"}:
        parts: list[Part] = [_tool_response(message)]
        return Message(role="tool", parts=parts)
    return Message(role=role, parts=message_parts(message), name=text(message.get("name")))


def _tool_response(message: dict[str, Any]) -> ToolCallResponse:
    """Read what a tool gave back; a mark to cache it may stand on its parts, or on its message."""
    parts = content_parts(message.get("content"))
    marks = [mark for part in parts if (mark := getattr(part, "cache", None))]
    return ToolCallResponse(
        id=text(message.get("tool_call_id")),
        name=text(message.get("name")),
        response=tool_answer([Text(content=p.content) if isinstance(p, Text) else p for p in parts]),
        cache=cache_mark(message) or (marks[-1] if marks else None),
    )


def message_parts(message: dict[str, Any]) -> list[Part]:
    """Read what a whole message says, one that was sent as well as one that came back."""
    parts: list[Part] = []
    thought = text(message.get("reasoning_content")) or text(message.get("reasoning")) or ""
    details = list(objects(message.get("reasoning_details")))
    if thought or details:
        parts += _thoughts(thought, details)
    said = content_parts(message.get("content"))
    if said and isinstance(said[0], Text) and (citations := read_citations(message.get("annotations"))):
        said[0] = msgspec.structs.replace(said[0], citations=citations)
    parts += said
    if refusal := text(message.get("refusal")):
        parts.append(Refusal(content=refusal))
    audio = fields(message.get("audio"))
    if transcript := text(audio.get("transcript")):
        parts.append(Text(content=transcript))
    if audio:
        kept = text(audio.get("id")) if "data" not in audio else None  # an answer sent back names it only
        parts.append(File(modality="audio", file_id=kept) if kept else sound(audio))
    parts += [tool_call(call) for call in objects(message.get("tool_calls"))]
    if call := fields(message.get("function_call")):
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
    custom = fields(call.get("custom"))
    function = fields(call.get("function")) or custom
    arguments = function.get("arguments", function.get("input"))
    return ToolCall(
        id=text(call.get("id")),
        name=text(function.get("name")) or "",
        arguments=arguments if custom else json_value(arguments),
        custom=bool(custom),
        cache=cache_mark(call),
        extra=own(NAME, call, "extra_content"),
    )


def _thoughts(thought: str, details: list[dict[str, Any]]) -> list[Part]:
    """Read reasoning; OpenRouter's details, which have the signatures, tell its text once more.

    What details carry says of how much of the text it is.
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
    told = "".join(t for each in details if (t := text(each.get("text")) or text(each.get("summary"))))
    if told == thought or not thought:
        details = [without_text(each) for each in details]
    return [Reasoning(content=thought or told, extra=proof_of(details))]


def without_text(detail: dict[str, Any]) -> dict[str, Any]:
    """Return what one of OpenRouter's details of reasoning says besides its text."""
    return {key: value for key, value in detail.items() if key not in {"text", "summary"} and value is not None}


def proof_of(details: list[dict[str, Any]]) -> Extra:
    """Return what proves reasoning to its provider: what details say beyond their kind, and what they carry."""
    extra: Extra = {}
    kept = []
    for each in details:
        if (found := decode_state(each.get("data"))) is not None:
            extra |= {dialect: own for dialect, own in found.items() if dialect != NAME}
        elif each.keys() - {"type", "format", "index"}:
            kept.append(each)
    return extra | ({NAME: {"reasoning_details": kept}} if kept else {})


def read_citations(annotations: Any, before: int = 0) -> list[Citation]:
    """Read where a text comes from; their places are in a text of which so much stands before it."""
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


def _place(told: Any, before: int) -> int | None:
    place = count(told)
    return None if place is None else max(0, place - before)
