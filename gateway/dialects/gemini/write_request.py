"""A conversation as a request to generateContent or streamGenerateContent. Pure."""

import re
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from gateway.dialects.conversation import (
    ChatRequest,
    Message,
    Part,
    ResponseFormat,
    Text,
    Tool,
    ToolCall,
    ToolCallResponse,
    ToolChoice,
)
from gateway.dialects.gemini.read_parts import NAME, NO_SIGNATURE
from gateway.dialects.gemini.read_request import GENERATE, STREAM
from gateway.dialects.gemini.write_parts import Json, PartWriter, shown_apart
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared import reasoning
from gateway.dialects.shared.custom_tools import SCHEMA
from gateway.dialects.shared.writer import Dropped, Written
from gateway.dialects.wire.json import merged

_PARAMETERS = {
    name.MAX_TOKENS: "maxOutputTokens",
    name.TEMPERATURE: "temperature",
    name.TOP_P: "topP",
    name.TOP_K: "topK",
    name.STOP_SEQUENCES: "stopSequences",
    name.FREQUENCY_PENALTY: "frequencyPenalty",
    name.PRESENCE_PENALTY: "presencePenalty",
    name.SEED: "seed",
    name.CHOICE_COUNT: "candidateCount",
}
# Written to fields of their own, or not at all.
_ELSEWHERE = {name.STREAM, name.REASONING_LEVEL, name.OUTPUT_TYPE}
_MODALITIES = {"speech": ["AUDIO"], "image": ["TEXT", "IMAGE"]}

_GENERATION = re.compile(r"gemini-(\d+)")
# The largest budget that all models of the generation before levels take.
_BUDGET_MAX = 24576
_LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH", "xhigh": "XHIGH"}


def write_request(request: ChatRequest) -> Written:
    """Write a request."""
    dropped = Dropped()
    model = request.model or ""
    generation = int(found[1][:9]) if (found := _GENERATION.search(model)) else None
    early = generation is not None and generation < 3
    writing = PartWriter(dropped, shows_results=not early)
    # Gemini 3 refuses calls without a signature; of names without a number, the newest model may be meant.
    system, contents = _contents(request, writing, signs="gemini-" in model and not early)
    body: Json = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    if config := _config(request, dropped, early=early):
        body["generationConfig"] = config
    tools = _tools(request, dropped)
    if tools:
        body["tools"] = tools
    if calling := _calling(request, dropped, early=early):
        body["toolConfig"] = {"functionCallingConfig": calling}
    unsaid = {
        "user": request.user,
        "metadata": request.metadata,
        "conversation": request.conversation_id,
        "parallel_tool_calls": request.parallel_tool_calls is False,
    }
    for field, value in unsaid.items():
        if value:
            dropped.add(field)
    dropped.foreign(request.extra, NAME)
    body = merged(body, request.extra.get(NAME, {}))
    return Written(
        body=msgspec.json.encode(body),
        path=f"/{_resource(model)}:{STREAM if request.stream else GENERATE}",
        query="alt=sse" if request.stream else "",
        dropped=dropped.names,
        media=dropped.media,
    )


def _resource(model: str) -> str:
    """Return a model's place in the path; a name that leads elsewhere is only a name."""
    if ".." in model:
        return f"models/{quote(model, safe='')}"
    model = quote(model.removeprefix("models/"), safe="/:@")
    return model if model.startswith("tunedModels/") else f"models/{model}"


def _contents(request: ChatRequest, writing: PartWriter, *, signs: bool) -> tuple[list[Json], list[Json]]:
    """Return the system instruction's parts, and the turns."""
    system = _system(request.system_instructions, "system", writing)
    contents: list[Json] = []
    shown: list[Json] = []  # by tools, for a model that takes it after their results only
    names: dict[str | None, str] = {}
    after_tool = False
    for number, message in enumerate(request.input_messages):
        path = f"messages[{number}]"
        writing.dropped.foreign(message.extra, NAME, path)
        if message.role in {"system", "developer"}:
            if contents:
                writing.dropped.add(f"{path}: place")
            system += _system(message.parts, path, writing)
            continue
        parts = _parts(message, path, names, writing)
        if signs and message.role == "assistant":
            _sign(parts)
        is_tool = message.role == "tool"
        if shown and not is_tool:
            contents.append({"role": "user", "parts": shown})
            shown, after_tool = [], False
        if is_tool and not writing.shows_results:
            shown += [p for each in shown_apart(message.parts) if (p := writing.part(each, path)) is not None]
        if is_tool and after_tool:
            contents[-1]["parts"] += parts  # the results of one turn's calls are one turn
        elif parts:
            role = "model" if message.role == "assistant" else "user"
            contents.append(merged({"role": role, "parts": parts}, message.extra.get(NAME, {})))
            after_tool = is_tool
    if shown:
        contents.append({"role": "user", "parts": shown})
    if system and not contents:  # the API wants a turn
        return [], [{"role": "user", "parts": system}]
    return system, contents


def _system(parts: list[Part], path: str, writing: PartWriter) -> list[Json]:
    """Write instructions, which are texts."""
    written = []
    for number, part in enumerate(parts):
        at = f"{path}.parts[{number}]"
        member = writing.part(part, at)
        if member is not None and "text" in member:
            written.append(member)
        elif member is not None:
            writing.dropped.add(at)
    return written


def _parts(message: Message, path: str, names: dict[str | None, str], writing: PartWriter) -> list[Json]:
    """Write a turn's parts. `names` has the names of the calls so far, by their ids."""
    written = []
    called = message.name if message.role in {"user", "assistant"} else None
    for number, each in enumerate(message.parts):
        part = each
        at = f"{path}.parts[{number}]"
        if isinstance(part, ToolCall):
            names[part.id] = part.name
        elif isinstance(part, ToolCallResponse) and part.name is None:
            part = replace(part, name=names.get(part.id))
        elif isinstance(part, Text):
            if called:
                part, called = replace(part, content=f"{called}: {part.content}"), None
            if part.citations:
                writing.dropped.add(f"{at}.citations")
        if (member := writing.part(part, at)) is not None:
            written.append(member)
    if called:
        writing.dropped.add(f"{path}.name")
    return written


def _sign(parts: list[Json]) -> None:
    """Mark calls of another model, which have no signature; the first of them represents all."""
    calls = [part for part in parts if "functionCall" in part]
    if calls and not any("thoughtSignature" in call or "thought_signature" in call for call in calls):
        calls[0]["thoughtSignature"] = NO_SIGNATURE


def _config(request: ChatRequest, dropped: Dropped, *, early: bool) -> Json:
    config: Json = name.write_parameters(request, _PARAMETERS, _ELSEWHERE, dropped)
    if request.logprobs is not None:
        config["responseLogprobs"] = request.logprobs
    if request.top_logprobs is not None:
        config["logprobs"] = request.top_logprobs
    if modalities := _MODALITIES.get(str(request.parameters.get(name.OUTPUT_TYPE))):
        config["responseModalities"] = modalities
    config |= _response_format(request.response_format, dropped)
    if thinking := _thinking(request, dropped, early=early):
        config["thinkingConfig"] = thinking
    return config


def _response_format(form: ResponseFormat | None, dropped: Dropped) -> Json:
    if form is None:
        return {}
    if form.description:
        dropped.add("response_format.description")
    if form.type == "text":
        return {"responseMimeType": "text/plain"}
    schema = {} if form.schema is None else {"responseJsonSchema": form.schema}
    return {"responseMimeType": "application/json", **schema}


def _thinking(request: ChatRequest, dropped: Dropped, *, early: bool) -> Json:
    """Write the amount of thinking: the API takes a budget or a level, and models before Gemini 3 budgets only."""
    thinking: Json = {} if request.show_reasoning is None else {"includeThoughts": request.show_reasoning}
    requested = request.parameters.get(name.REASONING_LEVEL)
    level = reasoning.level(request)
    if request.reasoning_budget is not None:
        thinking["thinkingBudget"] = request.reasoning_budget
        if requested in reasoning.LEVELS:
            dropped.add("reasoning.level")
    elif requested in {"enabled", "adaptive"}:
        if early:
            thinking["thinkingBudget"] = -1  # as much as the model sees fit; that is later ones' default
    elif level is None:
        if requested is not None:
            dropped.add(f"reasoning.level: {requested}")
    elif early:
        thinking["thinkingBudget"] = min(reasoning.budget(request) or 0, _BUDGET_MAX)
    else:
        lowest = "LOW" if "pro" in (request.model or "") else "MINIMAL"
        thinking["thinkingLevel"] = lowest if level in {"none", "minimal"} else _LEVELS.get(level, "HIGH")
        if thinking["thinkingLevel"] != level.upper():
            dropped.add(f"reasoning.level: {level}")
    return thinking


def _tools(request: ChatRequest, dropped: Dropped) -> list[Json]:
    """Write tools: all functions in one entry, as Vertex wants it, and an entry for each of Google's own."""
    functions: list[Json] = []
    servers: list[Json] = []
    for tool in request.tools:
        if tool.cache:
            dropped.add("cache")
        if tool.kind != "server":
            functions.append(_function(tool, dropped))
        elif own := tool.extra.get(NAME):
            servers.append(own)
        else:
            dropped.add(f"tools.{tool.name}")
    return [*([{"functionDeclarations": functions}] if functions else []), *servers]


def _function(tool: Tool, dropped: Dropped) -> Json:
    """Write a function; one that takes any text has that as its only argument."""
    dropped.foreign(tool.extra, NAME, f"tools.{tool.name}")
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.kind == "custom":
        function["parametersJsonSchema"] = SCHEMA
    elif tool.parameters is not None:
        function["parametersJsonSchema"] = tool.parameters
    return merged(function, tool.extra.get(NAME, {}))


def _calling(request: ChatRequest, dropped: Dropped, *, early: bool) -> Json:
    """Write the function calling mode. Calls are held to their schemas if one is required, or by VALIDATED."""
    choice = request.tool_choice or ToolChoice(mode="auto")
    dropped.foreign(choice.extra, NAME, "tool_choice")
    functions = [tool for tool in request.tools if tool.kind != "server"]
    if not functions:
        if choice.mode in {"required", "tool"}:
            dropped.add("tool_choice")
        return {}
    calling: Json = {"mode": {"auto": "AUTO", "none": "NONE"}.get(choice.mode, "ANY")}
    if choice.mode == "tool" and choice.name:
        calling["allowedFunctionNames"] = [choice.name]
    strict = [tool for tool in functions if tool.strict]
    if choice.mode == "auto" and strict:
        if len(strict) == len(functions) and not early:
            calling["mode"] = "VALIDATED"
        else:
            for tool in strict:
                dropped.add(f"tools.{tool.name}.strict")
    elif request.tool_choice is None:
        return {}
    return merged(calling, choice.extra.get(NAME, {}))
