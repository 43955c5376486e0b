"""Requests to Ollama's own API read into the conversation form: chats, completions of a prompt, embeddings."""

from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from gateway.dialects.conversation import ChatRequest, Message, Part, ResponseFormat, Text, Tool
from gateway.dialects.ollama.read_parts import NAME, images, message
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.extra import own
from gateway.dialects.shared.parameters import parameters
from gateway.dialects.shared.tool_ids import identified
from gateway.dialects.wire.json import count, decode, definitions, fields, objects, text
from gateway.semconv import CHAT, EMBEDDINGS, TEXT_COMPLETION

# Members of `options` that the form has a word for.
OPTIONS = {
    "num_predict": name.MAX_TOKENS,
    "temperature": name.TEMPERATURE,
    "top_p": name.TOP_P,
    "top_k": name.TOP_K,
    "seed": name.SEED,
    "stop": name.STOP_SEQUENCES,
    "frequency_penalty": name.FREQUENCY_PENALTY,
    "presence_penalty": name.PRESENCE_PENALTY,
}

_OBJECT = msgspec.json.Decoder(dict[str, Any])


class _Request(Struct, gc=False):
    model: Any = None
    stream: Any = None
    messages: Any = None
    prompt: Any = None
    system: Any = None
    images: Any = None
    input: Any = None
    tools: Raw = Raw()
    format: Any = None
    options: Any = None
    think: Any = None
    dimensions: Any = None


_REQUEST = msgspec.json.Decoder(_Request)


def read_chat(body: bytes) -> ChatRequest:
    """Read a request to chat."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=CHAT)
    return _chat_request(request, CHAT, [message(turn) for turn in objects(request.messages)])


def read_generate(body: bytes) -> ChatRequest:
    """Read a request to complete a prompt."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=TEXT_COMPLETION)
    parts: list[Part] = [Text(content=prompt)] if (prompt := text(request.prompt)) else []
    parts += images(request.images)
    return _chat_request(request, TEXT_COMPLETION, [Message(role="user", parts=parts)] if parts else [])


def read_embed(body: bytes) -> ChatRequest:
    """Read an embeddings request."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=EMBEDDINGS)
    # an older path has the one text as a prompt
    inputs = request.prompt if request.input is None else request.input
    parts: list[Part] = [Text(content=i) for i in (inputs if isinstance(inputs, list) else [inputs]) if text(i)]
    return _chat_request(request, EMBEDDINGS, [Message(role="user", parts=parts)] if parts else [])


def _chat_request(request: _Request, operation: str, messages: list[Message]) -> ChatRequest:
    system = text(request.system) if operation == TEXT_COMPLETION else None
    streams = operation != EMBEDDINGS and request.stream is not False
    return ChatRequest(
        operation=operation,
        model=text(request.model),
        stream=streams,
        system_instructions=[Text(content=system)] if system else [],
        input_messages=messages,
        tool_definitions=definitions(request.tools) if operation == CHAT else None,
        parameters=parameters(
            {
                **{OPTIONS[word]: value for word, value in _known_options(request.options).items()},
                name.STREAM: streams,
                name.REASONING_LEVEL: _level(request.think),
                name.OUTPUT_TYPE: "json" if _format(request.format) else None,
                name.DIMENSION_COUNT: request.dimensions,
            }
        ),
    )


def _known_options(options: Any) -> dict[str, Any]:
    known = {word: value for word, value in fields(options).items() if word in OPTIONS}
    if (count(known.get("num_predict")) or 0) < 0:  # no limit, or as far as the context goes
        del known["num_predict"]
    return known


def _level(think: Any) -> str | None:
    return ("enabled" if think else "disabled") if isinstance(think, bool) else text(think)


def _format(form: Any) -> ResponseFormat | None:
    if isinstance(form, dict):
        return ResponseFormat(type="json_schema", schema=form)
    return ResponseFormat(type="json") if form == "json" else None


_CHAT = frozenset({"model", "stream", "messages", "tools", "format", "options", "think", "logprobs", "top_logprobs"})
_GENERATE = (_CHAT - {"messages", "tools"}) | {"prompt", "system", "images"}


def read_chat_conversation(body: bytes, path: str) -> ChatRequest:  # noqa: ARG001  the path has no part in it
    """Read all that a chat asks."""
    chat_request = _full(read_chat(body), decode(body, _OBJECT) or {}, _CHAT)
    return replace(chat_request, input_messages=identified(chat_request.input_messages, names=True))


def read_generate_conversation(body: bytes, path: str) -> ChatRequest:  # noqa: ARG001
    """Read all that the completion of a prompt asks."""
    return _full(read_generate(body), decode(body, _OBJECT) or {}, _GENERATE)


def _full(chat_request: ChatRequest, request: dict[str, Any], known: frozenset[str]) -> ChatRequest:
    """Read the fields that the trace does not need."""
    rest = {k: v for k, v in request.items() if k not in known and v not in (None, "")}
    options = fields(request.get("options"))
    if others := {k: v for k, v in options.items() if OPTIONS.get(k) not in chat_request.parameters and v is not None}:
        rest["options"] = others
    form = _format(request.get("format"))
    if form is None and request.get("format"):
        rest["format"] = request["format"]
    logprobs = request.get("logprobs")
    return replace(
        chat_request,
        tools=[_tool(tool) for tool in objects(request.get("tools"))] if "tools" in known else [],
        response_format=form,
        logprobs=logprobs if isinstance(logprobs, bool) else None,
        top_logprobs=count(request.get("top_logprobs")),
        extra=own(NAME, rest),
    )


def _tool(tool: dict[str, Any]) -> Tool:
    function = fields(tool.get("function"))
    rest = {k: v for k, v in tool.items() if k not in {"type", "function"}}
    if named := {k: v for k, v in function.items() if k not in {"name", "description", "parameters"}}:
        rest["function"] = named
    return Tool(
        name=text(function.get("name")) or "",
        description=text(function.get("description")),
        parameters=function.get("parameters"),
        extra=own(NAME, rest),
    )
