"""Gemini's parts, of which its requests and responses are made, as parts of the conversation."""

from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from gateway.dialects.conversation import (
    Blob,
    Extra,
    File,
    Other,
    Part,
    Reasoning,
    ServerToolCall,
    ServerToolCallResponse,
    Text,
    ToolCall,
    ToolCallResponse,
    Uri,
)
from gateway.dialects.shared.extra import decode_state, standard_base64
from gateway.dialects.shared.messages import modality_of
from gateway.dialects.wire.json import objects, text

# The address of a file that the Gemini API keeps.
KEPT_FILES = "https://generativelanguage.googleapis.com/"


CODE_EXECUTION = "code_execution"


# Metadata beside a part's data.
_ASIDE = frozenset(
    (
        "thought thoughtSignature partMetadata videoMetadata mediaResolution mediaProcessing speechMetadata "
        "documentMetadata spreadsheetMetadata audioMetadata"
    ).split()
)


_TEXT = frozenset({"text", "thought"})


def read_part(part: dict[str, Any], *, full: bool = True) -> Part | None:
    """Read one part; None for an empty one."""
    content = part.get("text")
    if isinstance(content, str):
        return _text(part, content, full=full)
    for key, value in part.items():
        kind = camel(key)
        if kind in _KINDS and isinstance(value, dict):
            extra = _extra(part, frozenset({kind})) if full else None
            if (read := _KINDS[kind](value, extra)) is not None:
                return read
    data = [key for key in part if camel(key) not in _ASIDE]
    if not data:
        return _text(part, "", full=full)
    return Other(kind=camel(data[0]), value=part, dialect=NAME)


def _text(part: dict[str, Any], content: str, *, full: bool) -> Part | None:
    extra = _extra(part, _TEXT) if full and not part.keys() <= _TEXT else {}
    if not content and not extra:
        return None
    if part.get("thought") is True:
        return Reasoning(content=content, extra=extra)
    return Text(content=content, extra=extra)


def _extra(part: dict[str, Any], known: frozenset[str]) -> Extra:
    """Return the fields beside a part's data; a signature may carry those that other dialects want back."""
    own = rest(part, known)
    if not own:
        return {}
    signature = pick(own, "thoughtSignature")
    if not isinstance(signature, str):
        return {NAME: own}
    foreign = decode_state(signature)
    if foreign is not None or signature == NO_SIGNATURE:
        own = rest(own, frozenset({"thoughtSignature"}))
    return {**(foreign or {}), **({NAME: own} if own else {})}


def _inside(extra: Extra | None, kind: str, value: dict[str, Any], known: frozenset[str]) -> Extra:
    """Add the rest of a part's data to its extra; an `extra` of None wants none."""
    if extra is None:
        return {}
    own = rest(value, known)
    return {**extra, NAME: {**extra.get(NAME, {}), kind: own}} if own else extra


_CALL = frozenset({"id", "name", "args"})


def _call(value: dict[str, Any], extra: Extra | None) -> Part:
    arguments = value.get("args")
    return ToolCall(
        id=text(value.get("id")),
        name=text(value.get("name")) or "",
        arguments={} if arguments is None else arguments,
        extra=_inside(extra, "functionCall", value, _CALL),
    )


_RESPONSE = frozenset({"id", "name", "response", "parts"})


def _response(value: dict[str, Any], extra: Extra | None) -> Part:
    answer, is_error = _answer(value.get("response"))
    if shown := [_shown(part, full=extra is not None) for part in objects(value.get("parts"))]:
        output = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
        answer = [Text(content=output), *shown] if output else shown
    return ToolCallResponse(
        id=text(value.get("id")),
        name=text(value.get("name")),
        response=answer,
        is_error=is_error,
        extra=_inside(extra, "functionResponse", value, _RESPONSE),
    )


def _answer(response: Any) -> tuple[Any, bool]:
    """Return a function's result, and whether it is an error.

    It is a JSON object with `output` or `error`. Source: `FunctionResponse` in the reference;
    the SDKs' own function calling writes `result`.
    """
    if isinstance(response, dict) and len(response) == 1:
        ((key, only),) = response.items()
        if key in {"output", "result", "error"} and isinstance(only, str | dict):
            return only, key == "error"
    if response is None or isinstance(response, str | dict):
        return "" if response is None else response, False
    return msgspec.json.encode(response).decode(), False


def _shown(part: dict[str, Any], *, full: bool) -> Part:
    """Read a part of a function's response: media only, since all else would nest without end."""
    for key, value in part.items():
        if camel(key) in {"inlineData", "fileData"} and isinstance(value, dict):
            read = _KINDS[camel(key)](value, _extra(part, frozenset({camel(key)})) if full else None)
            if read is not None:
                return read
    return Other(kind="functionResponse", value=part, dialect=NAME)


_BLOB = frozenset({"data", "mimeType", "displayName"})


def _blob(value: dict[str, Any], extra: Extra | None) -> Part | None:
    data = text(value.get("data"))
    if data is None:
        return None
    mime_type = text(pick(value, "mimeType"))
    return Blob(
        modality=modality_of(mime_type, "document"),
        mime_type=mime_type,
        content=standard_base64(data),
        name=text(pick(value, "displayName")),
        extra=_inside(extra, "inlineData", value, _BLOB),
    )


_FILE = frozenset({"fileUri", "mimeType", "displayName"})


def _file(value: dict[str, Any], extra: Extra | None) -> Part | None:
    uri = text(pick(value, "fileUri"))
    if uri is None:
        return None
    mime_type, name = text(pick(value, "mimeType")), text(pick(value, "displayName"))
    modality = modality_of(mime_type, "document")
    extra = _inside(extra, "fileData", value, _FILE)
    if uri.startswith((KEPT_FILES, "files/")):
        return File(modality=modality, mime_type=mime_type, file_id=uri, name=name, extra=extra)
    return Uri(modality=modality, mime_type=mime_type, uri=uri, name=name, extra=extra)


def _code(value: dict[str, Any], extra: Extra | None) -> Part:
    call = {"type": CODE_EXECUTION, **{k: v for k, v in value.items() if k != "id"}}
    return ServerToolCall(id=text(value.get("id")), name=CODE_EXECUTION, server_tool_call=call, extra=extra or {})


def _code_result(value: dict[str, Any], extra: Extra | None) -> Part:
    result = {"type": CODE_EXECUTION, **{k: v for k, v in value.items() if k != "id"}}
    return ServerToolCallResponse(id=text(value.get("id")), server_tool_call_response=result, extra=extra or {})


_TOOL = frozenset({"id", "toolType"})


def _tool_call(value: dict[str, Any], extra: Extra | None) -> Part:
    kind = text(pick(value, "toolType")) or ""
    call = {"type": kind, **rest(value, _TOOL)}
    return ServerToolCall(id=text(value.get("id")), name=kind, server_tool_call=call, extra=extra or {})


def _tool_response(value: dict[str, Any], extra: Extra | None) -> Part:
    result = {"type": text(pick(value, "toolType")) or "", **rest(value, _TOOL)}
    return ServerToolCallResponse(id=text(value.get("id")), server_tool_call_response=result, extra=extra or {})


_KINDS: dict[str, Callable[[dict[str, Any], Extra | None], Part | None]] = {
    "functionCall": _call,
    "functionResponse": _response,
    "inlineData": _blob,
    "fileData": _file,
    "executableCode": _code,
    "codeExecutionResult": _code_result,
    "toolCall": _tool_call,
    "toolResponse": _tool_response,
}


NAME = "gemini"


# The signature of calls that another model made. Source: the guide to thought signatures.
NO_SIGNATURE = "skip_thought_signature_validator"


def camel(name: str) -> str:
    """Return a field's name as the API documents it.

    >>> camel("function_declarations")
    'functionDeclarations'
    """
    if "_" not in name:
        return name
    head, *tail = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in tail)


@cache
def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


def pick(value: dict[str, Any], name: str) -> Any:
    """Return a field by its documented name, or by that in snake_case."""
    found = value.get(name)
    return value.get(_snake(name)) if found is None else found


def rest(value: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the fields that have other names than those known, as they stand."""
    if value.keys() <= known:
        return {}
    return {k: v for k, v in value.items() if v is not None and camel(k) not in known}
