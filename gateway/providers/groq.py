"""Groq's refusal of a tool call that it could not read, which carries the call all the same. Pure.

Its models write calls as JSON, in a fence, in a tag or bare, and Groq answers 400 where that is not what it expects.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import msgspec

from gateway.dialects.conversation import Answered, Message, Part, ToolCall
from gateway.dialects.lenient import UNREADABLE, decode, fields, json_value, text

_OBJECT = msgspec.json.Decoder(dict[str, Any])

_FENCE = re.compile(r"```[a-zA-Z]*\s*(.*?)\s*(?:```|\Z)", re.DOTALL)
_TAG = re.compile(r"<(tool[-_](?:use|call)s?)>\s*(.*?)\s*(?:</\1>|\Z)", re.DOTALL)
# `<function=name>{...}</function>`, `<function=name{...}`, `<function=name({...})>`, and `name{...}</function>`
_FUNCTION = re.compile(r"<function=([\w.-]+)[\s(>]*(?=\{)|\A\s*([\w.-]+)\s*(?=\{.*</function>\s*\Z)", re.DOTALL)
_ARGUMENTS = ("arguments", "parameters", "args", "input")


class _NoCallError(ValueError):
    """What was generated is no call."""


def recovered(body: bytes) -> Answered | None:
    """Return the calls in an error's `failed_generation` as a response, None where it is no such error or has none."""
    error = fields((decode(body, _OBJECT) or {}).get("error"))
    generated = text(error.get("failed_generation"))
    if error.get("code") != "tool_use_failed" or generated is None:
        return None
    try:
        calls = list(_calls(generated))
    except UNREADABLE:
        return None
    if not calls:
        return None
    mark = crc32(generated.encode("utf-8", "replace"))
    parts: list[Part] = [
        ToolCall(id=f"call_{mark:08x}_{n}", name=called, arguments=arguments)
        for n, (called, arguments) in enumerate(calls)
    ]
    message = Message(role="assistant", parts=parts, finish_reason="tool_calls")
    return Answered(finish_reasons=["tool_calls"], output_messages=[message])


def _calls(generated: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the arguments of each call. Raises ValueError where something else stands there."""
    functions = list(_FUNCTION.finditer(generated))
    if functions:
        for function in functions:
            arguments, _ = json.JSONDecoder().raw_decode(generated, function.end())
            yield function[1] or function[2], fields(arguments)
        return
    tagged = [tag[2] for tag in _TAG.finditer(generated)]
    for source in tagged or [fence[1] for fence in _FENCE.finditer(generated)] or [generated]:
        fence = _FENCE.fullmatch(source)
        yield from _listed(json.loads(fence[1] if fence else source))


def _listed(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield calls out of JSON: one, a list of them, or an object that has such a list."""
    listed = value.get("tool_calls", [value]) if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise _NoCallError
    for item in listed:
        call = fields(item)
        function = call.get("function")
        inner = {**call, **function} if isinstance(function, dict) else call
        called = text(inner.get("name")) or text(function)
        told: Any = next((inner[key] for key in _ARGUMENTS if inner.get(key) is not None), {})
        arguments = json_value(told)
        if called is None or not isinstance(arguments, dict):
            raise _NoCallError
        yield called, arguments
