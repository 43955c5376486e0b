"""What clients ask for in each dialect, with a canary in every place that takes words. Pure."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.config.model import DialectName

MODEL = "m"

_PARAMETERS = {"type": "object", "properties": {"q": {"type": "string"}}}
_CALL = "call_1"


class Said(Struct, frozen=True, kw_only=True):
    """What the client says: each text has a canary, or several."""

    system: str
    prompt: str
    arguments: str
    result: str


class Sent(Struct, frozen=True, kw_only=True):
    """A request below a provider's mount, or below `/`."""

    target: str
    body: bytes


def sent(dialect: DialectName, said: Said, *, stream: bool, model: str = MODEL) -> Sent:
    """Return a request in a dialect: a system prompt, a question, a tool call made before, its result."""
    target, body = _MADE[dialect](said, model, stream)
    return Sent(target=target, body=msgspec.json.encode(body))


def natural_headers(dialect: DialectName, key: str) -> list[tuple[str, str]]:
    """Return how the dialect's clients show a key."""
    if dialect == "anthropic-messages":
        return [("x-api-key", key), ("anthropic-version", "2023-06-01")]
    if dialect == "gemini":
        return [("x-goog-api-key", key)]
    return [("Authorization", f"Bearer {key}")]


def _arguments(said: Said) -> dict[str, str]:
    return {"q": said.arguments}


def _encoded(said: Said) -> str:
    return msgspec.json.encode(_arguments(said)).decode()


def _chat(said: Said, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    call = {"id": _CALL, "type": "function", "function": {"name": "look", "arguments": _encoded(said)}}
    return "/v1/chat/completions", {
        "model": model,
        "stream": stream,
        "messages": [
            {"role": "system", "content": said.system},
            {"role": "user", "content": said.prompt},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": _CALL, "content": said.result},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": _PARAMETERS}}],
    }


def _responses(said: Said, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/v1/responses", {
        "model": model,
        "stream": stream,
        "instructions": said.system,
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": said.prompt}]},
            {"type": "function_call", "call_id": _CALL, "name": "look", "arguments": _encoded(said)},
            {"type": "function_call_output", "call_id": _CALL, "output": said.result},
        ],
        "tools": [{"type": "function", "name": "look", "parameters": _PARAMETERS}],
    }


def _messages(said: Said, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    result = {"type": "tool_result", "tool_use_id": _CALL, "content": said.result}
    return "/v1/messages", {
        "model": model,
        "stream": stream,
        "max_tokens": 99,
        "system": said.system,
        "messages": [
            {"role": "user", "content": said.prompt},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": _CALL, "name": "look", "input": _arguments(said)}],
            },
            {"role": "user", "content": [result]},
        ],
        "tools": [{"name": "look", "input_schema": _PARAMETERS}],
    }


def _gemini(said: Said, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/{model}:{verb}", {
        "systemInstruction": {"parts": [{"text": said.system}]},
        "contents": [
            {"role": "user", "parts": [{"text": said.prompt}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look", "args": _arguments(said)}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"r": said.result}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "look", "parameters": _PARAMETERS}]}],
    }


def _ollama(said: Said, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    return "/api/chat", {
        "model": model,
        "stream": stream,
        "messages": [
            {"role": "system", "content": said.system},
            {"role": "user", "content": said.prompt},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "look", "arguments": _arguments(said)}}],
            },
            {"role": "tool", "tool_name": "look", "content": said.result},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": _PARAMETERS}}],
    }


def _converse(said: Said, model: str, stream: bool) -> tuple[str, dict[str, Any]]:
    result = {"toolUseId": _CALL, "content": [{"text": said.result}]}
    return f"/model/{model}/{'converse-stream' if stream else 'converse'}", {
        "system": [{"text": said.system}],
        "messages": [
            {"role": "user", "content": [{"text": said.prompt}]},
            {
                "role": "assistant",
                "content": [{"toolUse": {"toolUseId": _CALL, "name": "look", "input": _arguments(said)}}],
            },
            {"role": "user", "content": [{"toolResult": result}]},
        ],
        "toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": _PARAMETERS}}}]},
    }


_MADE = {
    "openai-chat": _chat,
    "openai-responses": _responses,
    "anthropic-messages": _messages,
    "gemini": _gemini,
    "ollama": _ollama,
    "bedrock-converse": _converse,
}
