"""Content of spans as values: messages with their parts, and tools in the form of the conventions. Pure.

The store has tools as they were sent, each dialect's in its own form. What has no place in the conventions' form is
carried beside it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

Attributes = dict[str, Any]
Tool = dict[str, Any]

# Names of dialects for the JSON schema of a tool's parameters.
_SCHEMAS = ("input_schema", "inputSchema", "parametersJsonSchema")


class Facts(NamedTuple):
    """Fields of a span beside its attributes: SERVER is an exchange, CLIENT an attempt; times in nanoseconds."""

    kind: str
    start_ns: int
    duration_ns: int | None = None


def renamed(attributes: Mapping[str, Any], names: Mapping[str, str]) -> Attributes:
    """Return attributes under other names, in order; an attribute whose new name is taken keeps its own."""
    renamed: Attributes = {}
    for name, value in attributes.items():
        other = names.get(name, name)
        renamed[name if other in attributes or other in renamed else other] = value
    return renamed


def listed(value: Any) -> list[dict[str, Any]] | None:
    """Return the list of objects in JSON text, or None if it is anything else."""
    if not isinstance(value, str | bytes):
        return None
    try:
        items = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
    return items if isinstance(items, list) and all(isinstance(item, dict) for item in items) else None


def parts_of(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a message that are objects."""
    parts = message.get("parts")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def texts_of(parts: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the plain texts among parts."""
    for part in parts:
        if part.get("type") == "text" and isinstance(part.get("content"), str):
            yield part["content"]


def text_of(value: Any) -> str:
    """Return a text as it is, and any other value as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def flat(tools: list[Tool]) -> list[Tool]:
    """Return tools in the conventions' form.

    >>> flat([{"type": "function", "function": {"name": "f"}}, {"name": "g", "input_schema": {}}])
    [{'type': 'function', 'name': 'f'}, {'type': 'function', 'name': 'g', 'parameters': {}}]
    """
    return [_flat(tool) for each in tools for tool in _single(each)]


def nested(tools: list[Tool]) -> list[Tool]:
    """Return tools in OpenAI's form, which OpenInference's readers know: a function's definition below `function`.

    >>> nested([{"name": "g", "input_schema": {}}])
    [{'type': 'function', 'function': {'name': 'g', 'parameters': {}}}]
    """
    return [
        {"type": tool["type"], "function": {key: value for key, value in tool.items() if key != "type"}}
        if tool["type"] == "function" and "function" not in tool
        else tool
        for tool in flat(tools)
    ]


def _single(tool: Tool) -> Iterator[Tool]:
    """Yield each function of an entry that may list several (Gemini's), and each of its other tools."""
    declared = tool.get("functionDeclarations", tool.get("function_declarations"))
    if isinstance(declared, list) and all(isinstance(each, dict) for each in declared):
        yield from declared
        tool = {key: value for key, value in tool.items() if value is not declared}
        if not tool:
            return
    if "type" in tool or "name" in tool or "toolSpec" in tool:
        yield tool
    else:
        for kind, value in tool.items():
            yield {"type": kind, "name": kind, kind: value}


def _flat(tool: Tool) -> Tool:
    for below in ("function", "custom", "toolSpec"):
        inner = tool.get(below)
        if isinstance(inner, dict) and not inner.keys() & (tool.keys() - {below}):
            tool = {key: value for key, value in tool.items() if key != below} | inner
    for schema in _SCHEMAS:
        if schema in tool and "parameters" not in tool:
            parameters = tool[schema]
            if isinstance(parameters, dict) and parameters.keys() == {"json"}:  # Bedrock's
                parameters = parameters["json"]
            tool = {key: value for key, value in tool.items() if key != schema} | {"parameters": parameters}
    return tool if "type" in tool else {"type": "function", **tool}
