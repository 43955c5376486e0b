"""Tools as the conventions have them, `{type, name, description, parameters}`, of what a request said. Pure.

The store has them as they were sent, each dialect's in its own form. What has no place in this one stands beside.
"""

from collections.abc import Iterator
from typing import Any

Tool = dict[str, Any]

# By which name a dialect calls the JSON schema of a tool's parameters.
_SCHEMAS = ("input_schema", "inputSchema", "parametersJsonSchema")


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
    """Give the functions of what may be several (Gemini's), and each of its other tools by itself."""
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
