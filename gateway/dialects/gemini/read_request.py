"""Requests to Gemini's generateContent and streamGenerateContent read into the conversation form.

The path has the model, and whether the response streams.
"""

import re
from typing import Any
from urllib.parse import unquote

import msgspec
from msgspec import Raw, Struct

from gateway.dialects.conversation import ChatRequest, ResponseFormat, Tool, ToolChoice
from gateway.dialects.gemini.read_messages import read_contents, read_system
from gateway.dialects.gemini.read_parts import NAME, camel, pick, rest
from gateway.dialects.gemini.schema import json_schema
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.parameters import parameters
from gateway.dialects.wire.json import (
    UNREADABLE,
    count,
    decode,
    definitions,
    fields,
    flag,
    objects,
    objects_or_one,
    text,
)
from gateway.semconv import EMBEDDINGS, GENERATE_CONTENT

GENERATE = "generateContent"
STREAM = "streamGenerateContent"

_ACTION = re.compile(r"^(.+):([A-Za-z]+)$", re.DOTALL)


def model_in(path: str) -> tuple[str, str] | None:
    """Return the model and the action that a path names; None if it names none. Pure.

    >>> model_in("/v1beta/models/gemini-3-flash:streamGenerateContent")
    ('gemini-3-flash', 'streamGenerateContent')
    >>> model_in("/v1beta1/projects/p/locations/eu/publishers/google/models/gemini-3-flash:generateContent")
    ('gemini-3-flash', 'generateContent')
    >>> model_in("/v1beta/tunedModels/mine:generateContent")
    ('tunedModels/mine', 'generateContent')

    Vertex has the first half of a name such as `local/big` as its publisher.
    """
    named = _ACTION.match(path)
    if named is None:
        return None
    segments = [unquote(segment) for segment in named[1].split("/") if segment]
    action = named[2]
    if "models" in segments[:-1]:
        at = segments.index("models")
        model = "/".join(segments[at + 1 :])
        publisher = segments[at - 1] if at > 1 and segments[at - 2] == "publishers" else "google"
        return (model if publisher == "google" else f"{publisher}/{model}"), action
    if len(segments) > 1 and segments[-2] in {"tunedModels", "endpoints"}:
        return "/".join(segments[-2:]), action
    return None


class _Request(Struct, gc=False):
    model: Any = None
    contents: Any = None
    systemInstruction: Any = None  # noqa: N815
    system_instruction: Any = None
    generationConfig: Any = None  # noqa: N815
    generation_config: Any = None
    tools: Raw = Raw()
    toolConfig: Any = None  # noqa: N815
    tool_config: Any = None


_REQUEST = msgspec.json.Decoder(_Request)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder()
_OBJECT = msgspec.json.Decoder(dict[str, Any])
_KNOWN = frozenset("model contents systemInstruction generationConfig tools toolConfig".split())


def read_request(body: bytes) -> ChatRequest:
    """Read a request's body for the trace."""
    request = decode(body, _REQUEST)
    return ChatRequest(operation=GENERATE_CONTENT) if request is None else _chat_request(request, full=False)


def read_embed(body: bytes) -> ChatRequest:
    """Read an embedContent request, or those of a batchEmbedContents."""
    whole = fields(decode(body, _OBJECT))
    requests = list(objects(whole.get("requests"))) or [whole]
    config = fields(pick(requests[0], "embedContentConfig")) or requests[0]
    return ChatRequest(
        operation=EMBEDDINGS,
        input_messages=[m for each in requests for m in read_contents(each.get("content"), full=False)],
        parameters=parameters({name.DIMENSION_COUNT: pick(config, "outputDimensionality")}),
    )


def read_conversation(body: bytes, path: str) -> ChatRequest:
    """Read all that a translation needs."""
    model, action = model_in(path) or (None, "")
    request = decode(body, _REQUEST)
    chat_request = ChatRequest(operation=GENERATE_CONTENT)
    if request is not None:
        chat_request = _full(_chat_request(request, full=True), request, body)
    stream = action == STREAM
    parameters = {**chat_request.parameters, name.STREAM: True} if stream else chat_request.parameters
    return msgspec.structs.replace(
        chat_request, model=model or chat_request.model, stream=stream, parameters=parameters
    )


def _chat_request(request: _Request, *, full: bool) -> ChatRequest:
    system = request.system_instruction if request.systemInstruction is None else request.systemInstruction
    model = text(request.model)
    return ChatRequest(
        operation=GENERATE_CONTENT,
        model=model.removeprefix("models/") if model else None,
        system_instructions=read_system(system, full=full),
        input_messages=read_contents(request.contents, full=full),
        tool_definitions=definitions(request.tools),
        parameters=_parameters(_config(request)),
    )


def _config(request: _Request) -> dict[str, Any]:
    return fields(request.generationConfig) or fields(request.generation_config)


def _parameters(config: dict[str, Any]) -> name.Parameters:
    level = pick(fields(pick(config, "thinkingConfig")), "thinkingLevel")
    return parameters(
        {
            name.MAX_TOKENS: pick(config, "maxOutputTokens"),
            name.TEMPERATURE: config.get("temperature"),
            name.TOP_P: pick(config, "topP"),
            name.TOP_K: pick(config, "topK"),
            name.STOP_SEQUENCES: pick(config, "stopSequences"),
            name.FREQUENCY_PENALTY: pick(config, "frequencyPenalty"),
            name.PRESENCE_PENALTY: pick(config, "presencePenalty"),
            name.SEED: config.get("seed"),
            name.CHOICE_COUNT: pick(config, "candidateCount"),
            name.REASONING_LEVEL: level.lower() if isinstance(level, str) else None,
            name.OUTPUT_TYPE: _output_type(config),
        }
    )


def _output_type(config: dict[str, Any]) -> str | None:
    modalities = pick(config, "responseModalities")
    if isinstance(modalities, list):
        for modality, word in (("AUDIO", "speech"), ("IMAGE", "image")):
            if modality in modalities:
                return word
    return {"application/json": "json", "text/plain": "text"}.get(text(pick(config, "responseMimeType")) or "")


# Fields of a generation config that have a place in the form; of the response's format, only the known ones.
_CONFIG = frozenset(
    (
        "maxOutputTokens temperature topP topK stopSequences frequencyPenalty presencePenalty seed candidateCount "
        "thinkingConfig responseLogprobs logprobs"
    ).split()
)
_FORM = frozenset({"responseMimeType", "responseSchema", "responseJsonSchema"})
_THINKING = frozenset({"thinkingBudget", "thinkingLevel", "includeThoughts"})


def _full(chat_request: ChatRequest, request: _Request, body: bytes) -> ChatRequest:
    config = _config(request)
    thinking = fields(pick(config, "thinkingConfig"))
    form = _response_format(config)
    tool_config = fields(request.toolConfig) or fields(request.tool_config)
    own = {k: value for k, raw in (decode(body, _FIELDS) or {}).items() if (value := _unknown(k, raw)) is not None}
    inner = rest(config, _CONFIG if form is None else _CONFIG | _FORM)
    if unread := rest(thinking, _THINKING):
        inner["thinkingConfig"] = unread
    nested = {"generationConfig": inner, "toolConfig": rest(tool_config, _CALLING)}
    own |= {key: left for key, left in nested.items() if left}
    return msgspec.structs.replace(
        chat_request,
        tools=read_tools(chat_request.tool_definitions),
        tool_choice=read_tool_choice(fields(pick(tool_config, "functionCallingConfig"))),
        response_format=form,
        reasoning_budget=count(pick(thinking, "thinkingBudget")),
        show_reasoning=flag(pick(thinking, "includeThoughts")),
        logprobs=flag(pick(config, "responseLogprobs")),
        top_logprobs=count(config.get("logprobs")),
        extra={NAME: own} if own else {},
    )


def _unknown(key: str, raw: Raw) -> Any:
    return None if camel(key) in _KNOWN else decode(bytes(raw), _ANY)


def _response_format(config: dict[str, Any]) -> ResponseFormat | None:
    """Read the form of the output; None if the conversation form cannot express it, such as a choice of plain texts."""
    mime_type = text(pick(config, "responseMimeType"))
    schema = pick(config, "responseJsonSchema")
    if schema is None:
        schema = json_schema(pick(config, "responseSchema"))
    if mime_type == "text/plain" and schema is None:
        return ResponseFormat(type="text")
    if schema is not None and mime_type in {None, "application/json"}:
        return ResponseFormat(type="json_schema", schema=schema)
    return ResponseFormat(type="json") if mime_type == "application/json" else None


_DECLARATION = frozenset({"name", "description", "parameters", "parametersJsonSchema"})


def read_tools(tools: Raw | None) -> list[Tool]:
    """Read tools one by one: an entry may declare several functions, and have several of the provider's own."""
    try:
        entries = [] if tools is None else msgspec.json.decode(tools)
    except UNREADABLE:
        return []
    read = []
    for entry in objects_or_one(entries):
        for key, value in entry.items():
            if camel(key) == "functionDeclarations":
                read += [_function(declaration) for declaration in objects_or_one(value)]
            elif value is not None:
                read.append(Tool(name=camel(key), kind="server", extra={NAME: {key: value}}))
    return read


def _function(declaration: dict[str, Any]) -> Tool:
    schema = pick(declaration, "parametersJsonSchema")
    own = rest(declaration, _DECLARATION)
    return Tool(
        name=text(declaration.get("name")) or "",
        description=text(declaration.get("description")),
        parameters=json_schema(declaration.get("parameters")) if schema is None else schema,
        extra={NAME: own} if own else {},
    )


_CALLING = frozenset({"functionCallingConfig"})
_MODES: dict[str, ToolChoice] = {
    "AUTO": ToolChoice(mode="auto"),
    "NONE": ToolChoice(mode="none"),
    "ANY": ToolChoice(mode="required"),
    "VALIDATED": ToolChoice(mode="auto", extra={NAME: {"mode": "VALIDATED"}}),
}


def read_tool_choice(config: dict[str, Any]) -> ToolChoice | None:
    """Read the tool choice; a mode that the form has no word for stays in the extra."""
    mode = text(config.get("mode"))
    choice = _MODES.get(mode.upper()) if mode else None
    own = rest(config, frozenset({"mode"} if choice is not None else {}))
    names = pick(config, "allowedFunctionNames")
    if choice is None:
        return ToolChoice(mode="auto", extra={NAME: own}) if own else None
    if choice.mode == "required" and isinstance(names, list) and len(names) == 1 and isinstance(names[0], str):
        own = rest(own, frozenset({"allowedFunctionNames"}))
        choice = ToolChoice(mode="tool", name=names[0])
    own = {**choice.extra.get(NAME, {}), **own}
    allowed = (
        [each for each in names if isinstance(each, str)] if isinstance(names, list) and choice.mode != "tool" else []
    )
    return msgspec.structs.replace(choice, allowed=allowed, extra={NAME: own} if own else {})
