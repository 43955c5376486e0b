"""Tool calls recovered from Groq's `tool_use_failed` errors, which contain the text of the call. Pure.

Its models write calls as JSON, fenced, tagged or bare, and Groq answers 400 if the form is not the one it expects.
"""

import json
import re
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import msgspec

from gateway.dialects.conversation import ChatResponse, Message, Part, ToolCall
from gateway.dialects.wire.json import UNREADABLE, decode, fields, json_value, text

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_ANY = msgspec.json.Decoder()
_DECODER = json.JSONDecoder()

# The text before a call's arguments: `<function=name>`, `<function=name`, `<function=name(`, or the name alone if all
# ends with `</function>`; and before the JSON of calls: `<tool-use>`, three backticks, or both.
_OPENING = re.compile(
    r"<function=([\w.-]+)[\s(>]*"
    r"|\A\s*([\w.-]+)\s*(?=\{.*</function>\s*\Z)"
    r"|<tool[-_](?:use|call)s?>\s*(?:```[a-zA-Z]*\s*)?"
    r"|```[a-zA-Z]*\s*(?=[\[{])",
    re.DOTALL,
)
_ARGUMENTS = ("arguments", "parameters", "args", "input")


class _NoCallError(ValueError):
    """The generated text is no call."""


def recovered(body: bytes) -> ChatResponse | None:
    """Return the calls in an error's `failed_generation` as a response; None for other errors and for no calls."""
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
        ToolCall(id=f"call_{mark:08x}_{n}", name=name, arguments=arguments) for n, (name, arguments) in enumerate(calls)
    ]
    message = Message(role="assistant", parts=parts, finish_reason="tool_calls")
    return ChatResponse(finish_reasons=["tool_calls"], output_messages=[message])


def _calls(generated: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the arguments of each call. Raises ValueError for any other text."""
    whole = _read(generated)
    if whole is not None:
        yield from _listed(whole)
        return
    at = 0
    while (opening := _OPENING.search(generated, at)) is not None:
        _, at = _DECODER.raw_decode(generated, opening.end())
        value = _read(generated[opening.end() : at])
        name = opening[1] or opening[2]
        yield from _listed({"name": name, "arguments": value} if name and value is not None else value)


def _read(source: str) -> Any:
    """Decode JSON; None if it is invalid or cannot be encoded again."""
    return decode(source.encode("utf-8", "replace"), _ANY)


def _listed(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the calls in JSON: one, a list of them, or an object with such a list."""
    listed = value.get("tool_calls", [value]) if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise _NoCallError
    for item in listed:
        call = fields(item)
        function = call.get("function")
        inner = {**call, **function} if isinstance(function, dict) else call
        name = text(inner.get("name")) or text(function)
        given: Any = next((inner[key] for key in _ARGUMENTS if inner.get(key) is not None), {})
        arguments = json_value(given)
        if name is None or not isinstance(arguments, dict):
            raise _NoCallError
        yield name, arguments
