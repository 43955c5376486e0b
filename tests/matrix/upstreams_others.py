"""Gemini and Ollama as providers: neither gives its calls' arguments in pieces."""

import json
from collections.abc import Iterator
from typing import Any

from tests.matrix.scenes import CACHED, INPUT, OUTPUT, THINKING, Completion, Heard, Part, Tool, Turn
from tests.matrix.wires import Piece, nothing, sse

_FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_MODES = {"ANY": "any", "AUTO": "auto", "NONE": "none"}


_WORDS = {
    "parameters_json_schema": "parametersJsonSchema",
    "mime_type": "mimeType",
    "include_thoughts": "includeThoughts",
    "thinking_level": "thinkingLevel",
}


def hear_gemini(body: dict[str, Any], target: str) -> Heard:
    """Read a request to generate content, some of whose words Google's own SDK writes with underscores."""
    left = _camel(body)
    config = dict(left.pop("generationConfig", {}))
    thinking = dict(config.pop("thinkingConfig", {}))
    system = left.pop("systemInstruction", None)
    tools = left.pop("tools", [])
    calling = left.pop("toolConfig", {}).get("functionCallingConfig")
    schema = config.pop("responseJsonSchema", None)
    if schema is not None:
        assert config.pop("responseMimeType") == "application/json"
    assert len(tools) <= 1
    level = thinking.pop("thinkingLevel", None)
    heard = Heard(
        model=target.partition("/models/")[2].partition(":")[0],
        stream=":streamGenerateContent" in target,
        system=None if system is None else "|".join(_only_text(each) for each in system["parts"]),
        turns=_contents(left.pop("contents")),
        tools=[_declared(each) for tool in tools for each in tool["functionDeclarations"]],
        choice=None if calling is None else _MODES[calling["mode"]],
        schema=schema,
        effort=level.lower() if level else thinking.pop("thinkingBudget", None),
        shows=thinking.pop("includeThoughts", None),
        max_tokens=config.pop("maxOutputTokens", None),
        temperature=config.pop("temperature", None),
        stop=config.pop("stopSequences", None),
    )
    for each in (config, thinking, left):
        nothing(each)
    return heard


def _camel(value: Any) -> Any:
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {_WORDS.get(key, key): _camel(each) for key, each in value.items()}


def _only_text(part: dict[str, Any]) -> str:
    assert part.keys() == {"text"}
    return str(part["text"])


def _contents(contents: list[dict[str, Any]]) -> list[Turn]:
    """Read the turns; as many results follow as there were calls, and the model's calls are signed."""
    turns: list[Turn] = []
    for content in contents:
        assert content.keys() == {"role", "parts"}
        parts = [_part(each) for each in content["parts"]]
        calls = [each for each in content["parts"] if "functionCall" in each]
        assert not calls or "thoughtSignature" in calls[0]
        role = {"user": "user", "model": "assistant"}[content["role"]]
        if parts[0][0] == "result":
            role = "tool"
            assert [p[2] for p in parts] == [p[2] for p in turns[-1][1] if p[0] == "call"]
        turns.append((role, parts))
    return turns


def _part(part: dict[str, Any]) -> Part:
    left = dict(part)
    left.pop("thoughtSignature", None)
    ((kind, value),) = left.items()
    match kind:
        case "text":
            return ("text", value)
        case "inlineData":
            return ("image", value["mimeType"], value["data"])
        case "functionCall":
            return ("call", value.get("id"), value["name"], value["args"])
        case "functionResponse":
            (text,) = value["response"].values()
            return ("result", value.get("id"), value["name"], text)
    raise AssertionError(f"unknown part: {kind}")


def _declared(tool: dict[str, Any]) -> Tool:
    left = dict(tool)
    heard = Tool(left.pop("name"), left.pop("description"), left.pop("parametersJsonSchema"))
    nothing(left)
    return heard


def _gemini_usage(completion: Completion) -> dict[str, Any]:
    usage = {
        "promptTokenCount": INPUT,
        "candidatesTokenCount": OUTPUT - (THINKING if completion.thought else 0),
        "totalTokenCount": INPUT + OUTPUT,
        "cachedContentTokenCount": CACHED,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": INPUT}],
    }
    return usage | ({"thoughtsTokenCount": THINKING} if completion.thought else {})


def _function_call(completion: Completion, number: int) -> dict[str, Any]:
    call = completion.calls[number]
    signed = {} if number else {"thoughtSignature": "EpQBCpEB"}
    return {"functionCall": {"name": call.name, "args": call.arguments}, **signed}


def gemini(completion: Completion, model: str) -> dict[str, Any]:
    """Answer with whole content; the calls have no ids."""
    parts: list[dict[str, Any]] = []
    if completion.thought:
        parts.append({"text": "".join(completion.thought), "thought": True})
    if completion.text:
        parts.append({"text": "".join(completion.text)})
    parts += [_function_call(completion, number) for number in range(len(completion.calls))]
    candidate = {"content": {"parts": parts, "role": "model"}, "finishReason": _FINISHES[completion.finish], "index": 0}
    usage = _gemini_usage(completion)
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": model, "responseId": "abc-7"}


def gemini_stream(completion: Completion, model: str) -> Iterator[Piece]:
    """Answer with events of which each is a response; a call comes whole."""

    def event(part: dict[str, Any], **more: Any) -> bytes:
        candidate = {"content": {"parts": [part], "role": "model"}, **more, "index": 0}
        usage = _gemini_usage(completion) if more else {"promptTokenCount": INPUT, "totalTokenCount": INPUT}
        said_beside = {"usageMetadata": usage, "modelVersion": model, "responseId": "abc-7"}
        return sse({"candidates": [candidate], **said_beside})

    for piece in completion.thought:
        yield Piece(event({"text": piece, "thought": True}), ("thought", piece))
    for piece in completion.text:
        yield Piece(event({"text": piece}), ("text", piece))
    for number, call in enumerate(completion.calls):
        yield Piece(event(_function_call(completion, number)), ("call", "".join(call.pieces)))
    yield Piece(event({"text": ""}, finishReason=_FINISHES[completion.finish]))


def gemini_error(status: int, word: str, message: str) -> dict[str, Any]:
    """Answer with an error."""
    return {"error": {"code": status, "message": message, "status": word}}


def gemini_broken(word: str, message: str) -> bytes:
    """Tell of an error in the middle."""
    return sse(gemini_error(503, word, message))


def hear_ollama(body: dict[str, Any], _target: str) -> Heard:
    """Read a request for a chat."""
    left = dict(body)
    options = dict(left.pop("options", {}))
    messages = left.pop("messages")
    system = [each["content"] for each in messages if each["role"] == "system"]
    heard = Heard(
        model=left.pop("model"),
        stream=left.pop("stream"),
        system="|".join(system) or None,
        turns=_ollama_turns([each for each in messages if each["role"] != "system"]),
        tools=[_ollama_tool(each) for each in left.pop("tools", [])],
        schema=left.pop("format", None),
        effort=left.pop("think", None),
        max_tokens=options.pop("num_predict", None),
        temperature=options.pop("temperature", None),
        stop=options.pop("stop", None),
    )
    nothing(options)
    nothing(left)
    return heard


def _ollama_turns(messages: list[dict[str, Any]]) -> list[Turn]:
    turns: list[Turn] = []
    for message in messages:
        left = dict(message)
        role, content = left.pop("role"), left.pop("content", "")
        assert isinstance(content, str)
        if role == "tool":
            parts: list[Part] = [("result", left.pop("tool_call_id", None), left.pop("tool_name"), content)]
        else:
            parts = [("text", content)] if content else []
        parts += [("image", "image/png", each) for each in left.pop("images", [])]
        for call in left.pop("tool_calls", []):
            function = call["function"]
            assert isinstance(function["arguments"], dict)
            parts.append(("call", call.get("id"), function["name"], function["arguments"]))
        nothing(left)
        if role == "tool" and turns[-1][0] == "tool":
            turns[-1][1].extend(parts)
        else:
            turns.append((role, parts))
    return turns


def _ollama_tool(tool: dict[str, Any]) -> Tool:
    assert tool["type"] == "function"
    left = dict(tool["function"])
    heard = Tool(left.pop("name"), left.pop("description"), left.pop("parameters"))
    nothing(left)
    return heard


def ollama(completion: Completion, model: str) -> dict[str, Any]:
    """Answer with a whole chat."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(completion.text)}
    if completion.thought:
        message["thinking"] = "".join(completion.thought)
    if completion.calls:
        message["tool_calls"] = [_ollama_call(completion, number) for number in range(len(completion.calls))]
    return _line(model, message, completion)


def _line(model: str, message: dict[str, Any], completion: Completion | None = None) -> dict[str, Any]:
    line = {"model": model, "created_at": "2026-11-20T08:16:00.5Z", "message": message, "done": completion is not None}
    if completion is None:
        return line
    counts = {"prompt_eval_count": INPUT, "eval_count": OUTPUT, "total_duration": 883583458, "eval_duration": 52500000}
    return {**line, "done_reason": "length" if completion.finish == "length" else "stop", **counts}


def _ollama_call(completion: Completion, number: int) -> dict[str, Any]:
    call = completion.calls[number]
    return {"id": call.id, "function": {"index": number, "name": call.name, "arguments": call.arguments}}


def ollama_stream(completion: Completion, model: str) -> Iterator[Piece]:
    """Answer with lines; a call comes whole."""

    def line(completion: Completion | None = None, **message: Any) -> bytes:
        written = _line(model, {"role": "assistant", "content": "", **message}, completion)
        return json.dumps(written, ensure_ascii=False).encode() + b"\n"

    for piece in completion.thought:
        yield Piece(line(thinking=piece), ("thought", piece))
    for piece in completion.text:
        yield Piece(line(content=piece), ("text", piece))
    for number, call in enumerate(completion.calls):
        yield Piece(line(tool_calls=[_ollama_call(completion, number)]), ("call", "".join(call.pieces)))
    yield Piece(line(completion))


def ollama_error(status: int, word: str, message: str) -> dict[str, Any]:  # noqa: ARG001
    """Answer with an error."""
    return {"error": message}


def ollama_broken(word: str, message: str) -> bytes:  # noqa: ARG001
    """Tell of an error in the middle."""
    return json.dumps({"error": message}).encode() + b"\n"
