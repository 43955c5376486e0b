"""Parts of the conversation as one of Ollama's messages.

A message has one text, one thought, images in base64 and tool calls whose arguments are objects: parts of a kind are
joined.
"""

from collections.abc import Iterable
from typing import Any

from gateway.dialects.conversation import (
    Blob,
    Compaction,
    Other,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    ToolCallResponse,
)
from gateway.dialects.ollama.read_parts import NAME, Json, _json
from gateway.dialects.shared.writer import Dropped
from gateway.dialects.wire.json import fields

# The separator of two texts that are joined, unless they are pieces of one.
BETWEEN = "\n\n"


def written_logprobs(tokens: list[TokenLogprob]) -> list[dict[str, Any]]:
    """Write log probabilities."""
    return [
        {"token": t.token, "logprob": t.logprob} | ({"top_logprobs": written_logprobs(t.top)} if t.top else {})
        for t in tokens
    ]


def placed(parts: list[Part], path: str) -> list[tuple[str, Part]]:
    """Return each part with its path."""
    return [(f"{path}[{index}]", part) for index, part in enumerate(parts)]


def written(parts: Iterable[tuple[str, Part]], dropped: Dropped, between: str = "", calls_before: int = 0) -> Json:
    """Write parts as one message's fields; content they cannot express is named in `dropped`, by its path.

    `between` separates two texts.
    """
    texts: list[str] = []
    thoughts: list[str] = []
    pictures: list[str] = []
    calls: list[Json] = []
    for at, part in parts:
        match part:
            case Text() | Refusal():
                texts.append(part.content)
                if isinstance(part, Text) and part.citations:
                    dropped.add(f"{at}.citations")
            case Reasoning():
                thoughts.append(part.content)
            case Compaction() if part.content is not None:
                texts.append(part.content)
            case Blob(modality="image" | "audio"):
                pictures.append(part.content)
                if part.name is not None:
                    dropped.add(f"{at}.name")
            case ToolCall():
                calls.append(_written_call(part, calls_before + len(calls), at, dropped))
            case _:
                dropped.add_part(part, at)
        if not isinstance(part, Other):
            dropped.foreign(part.extra, NAME, at)
    message: Json = {"content": between.join(texts)}
    if thought := "".join(thoughts):
        message["thinking"] = thought
    if pictures:
        message["images"] = pictures
    if calls:
        message["tool_calls"] = calls
    return message


def _written_call(call: ToolCall, index: int, path: str, dropped: Dropped) -> Json:
    """Write a tool call. Arguments must be an object; any others become the only member of one."""
    arguments = {} if call.arguments is None else call.arguments
    if call.custom:
        arguments = {"input": call.arguments or ""}
    elif not isinstance(arguments, dict):
        arguments = {"input": arguments}
        dropped.add(f"{path}.arguments")
    rest = dict(call.extra.get(NAME, {}))
    function = {"index": index, "name": call.name, "arguments": arguments, **fields(rest.pop("function", None))}
    return ({"id": call.id} if call.id else {}) | {"function": function, **rest}


def written_result(result: ToolCallResponse, path: str, name: str | None, dropped: Dropped) -> Json:
    """Write a tool's result as a message; `name` is the tool's."""
    response = result.response
    if isinstance(response, list):
        message = written(placed(response, f"{path}.response"), dropped, BETWEEN)
    else:
        message = {"content": response if isinstance(response, str) else _json(response)}
    if result.is_error:
        dropped.add(f"{path}.is_error")
    dropped.foreign(result.extra, NAME, path)
    names = {"tool_name": name, "tool_call_id": result.id}
    return {"role": "tool", **message, **{k: v for k, v in names.items() if v}}
