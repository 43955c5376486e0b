"""What requests to OpenAI's chat completions, completions and embeddings say, in the conversation form."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects import parameters as name
from gateway.dialects.conversation import (
    Asked,
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
from gateway.dialects.lenient import decode, definitions, fields, json_value, objects, text
from gateway.dialects.media import attached, located, sound
from gateway.dialects.parameters import output_type, parameters
from gateway.semconv import CHAT, EMBEDDINGS, TEXT_COMPLETION


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


def read_chat(body: bytes) -> Asked:
    """Read a chat completions request."""
    request = decode(body, _REQUEST)
    if request is None:
        return Asked(operation=CHAT)
    return _asked(request, CHAT, [_message(m) for m in objects(request.messages)])


def read_completion(body: bytes) -> Asked:
    """Read a request to the older completions API."""
    request = decode(body, _REQUEST)
    if request is None:
        return Asked(operation=TEXT_COMPLETION)
    return _asked(request, TEXT_COMPLETION, _inputs(request.prompt))


def read_embeddings(body: bytes) -> Asked:
    """Read an embeddings request."""
    request = decode(body, _REQUEST)
    if request is None:
        return Asked(operation=EMBEDDINGS)
    return _asked(request, EMBEDDINGS, _inputs(request.input))


def _asked(request: _Request, operation: str, messages: list[Message]) -> Asked:
    return Asked(
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
        answer = tool_answer(content_parts(message.get("content")))
        parts: list[Part] = [ToolCallResponse(id=text(message.get("tool_call_id")), response=answer)]
        role = "tool"
    else:
        parts = message_parts(message)
    return Message(role=role, parts=parts, name=text(message.get("name")))


def message_parts(message: dict[str, Any]) -> list[Part]:
    """Read what a whole message says, one that was sent as well as one that came back."""
    parts: list[Part] = []
    if thought := text(message.get("reasoning_content")) or text(message.get("reasoning")):
        parts.append(Reasoning(content=thought))
    parts += content_parts(message.get("content"))
    if refusal := text(message.get("refusal")):
        parts.append(Refusal(content=refusal))
    audio = fields(message.get("audio"))
    if transcript := text(audio.get("transcript")):
        parts.append(Text(content=transcript))
    if audio:
        kept = text(audio.get("id")) if "data" not in audio else None  # an answer sent back names it only
        parts.append(File(modality="audio", file_id=kept) if kept else sound(audio))
    parts += [_tool_call(call) for call in objects(message.get("tool_calls"))]
    if call := fields(message.get("function_call")):
        parts.append(_tool_call({"function": call}))
    return parts


def content_parts(content: Any) -> list[Part]:
    """Read a message's content: a text or a list of parts."""
    if isinstance(content, str):
        return [Text(content=content)] if content else []
    return [_part(p) for p in objects(content)]


def _part(part: dict[str, Any]) -> Part:
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
                return located(url, kind.removesuffix("_url"))
        case "input_audio":
            return sound(value)
        case "file":
            return attached(value)
        case "thinking":  # Mistral: a list of texts
            return Reasoning(content="".join(t for p in objects(value) if (t := text(p.get("text")))))
    return Other(kind=kind, value={k: v for k, v in part.items() if k not in {"type", "cache_control"}})


def _tool_call(call: dict[str, Any]) -> ToolCall:
    function = fields(call.get("function")) or fields(call.get("custom"))
    return ToolCall(
        id=text(call.get("id")),
        name=text(function.get("name")) or "",
        arguments=json_value(function.get("arguments", function.get("input"))),
    )
