"""What the scripted provider says: whole answers, streams and errors of each dialect, written by hand. Pure."""

from typing import Any

import msgspec

from gateway.config.model import DialectName
from gateway.dialects.wire import eventstream

_ID, _CALL = "r1", "call_2"
_MODEL = "m-1"


def dialect_of(target: str) -> tuple[DialectName | None, bool]:
    """Return the dialect that a provider is asked in, by the end of the path, and whether that asks for a stream."""
    path = target.partition("?")[0]
    for end, dialect, stream in _ENDS:
        if path.endswith(end):
            return dialect, stream
    return None, False


_ENDS: tuple[tuple[str, DialectName, bool], ...] = (
    ("/chat/completions", "openai-chat", False),
    ("/responses", "openai-responses", False),
    ("/messages", "anthropic-messages", False),
    (":generateContent", "gemini", False),
    (":streamGenerateContent", "gemini", True),
    ("/api/chat", "ollama", False),
    ("/converse", "bedrock-converse", False),
    ("/converse-stream", "bedrock-converse", True),
)


def whole(dialect: DialectName | None, text: str, arguments: str) -> bytes:
    """Return an answer that says a text and calls a tool; in no dialect, the same as plain JSON."""
    called = {"q": arguments}
    encoded = _json(called).decode()
    if dialect == "openai-chat":
        call = {"id": _CALL, "type": "function", "function": {"name": "look", "arguments": encoded}}
        message = {"role": "assistant", "content": text, "tool_calls": [call]}
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return _json({"id": _ID, "object": "chat.completion", "model": _MODEL, "choices": [choice], "usage": usage})
    if dialect == "openai-responses":
        return _json(_response(text, encoded))
    if dialect == "anthropic-messages":
        use = {"type": "tool_use", "id": _CALL, "name": "look", "input": called}
        return _json(
            _message() | {"content": [{"type": "text", "text": text}, use], "stop_reason": "tool_use", "usage": _USAGE}
        )
    if dialect == "gemini":
        return _json(_candidate([{"text": text}, {"functionCall": {"name": "look", "args": called}}], "STOP"))
    if dialect == "ollama":
        calls = [{"function": {"name": "look", "arguments": called}}]
        return _json(_ollama(text, calls) | _DONE)
    if dialect == "bedrock-converse":
        use = {"toolUse": {"toolUseId": _CALL, "name": "look", "input": called}}
        message = {"role": "assistant", "content": [{"text": text}, use]}
        return _json({"output": {"message": message}, "stopReason": "tool_use", "usage": _TOKENS, "metrics": {}})
    return _json({"object": "list", "data": [text, called]})


def streamed(dialect: DialectName | None, text: str, arguments: str) -> list[bytes]:
    """Return a stream's pieces; the text comes in two of them, so that what it says is whole in neither."""
    half = len(text) // 2
    said = (text[:half], text[half:])
    encoded = _json({"q": arguments}).decode()
    if dialect == "openai-responses":
        made = _response(text, encoded)
        empty = made | {"status": "in_progress", "output": [], "usage": None}
        return [
            _named("response.created", {"response": empty}),
            *(_named("response.output_text.delta", {"item_id": "i", "output_index": 0, "delta": d}) for d in said),
            _named("response.completed", {"response": made}),
        ]
    if dialect == "anthropic-messages":
        return _messages(said, encoded)
    if dialect == "gemini":
        call = {"functionCall": {"name": "look", "args": {"q": arguments}}}
        parts: list[list[Any]] = [[{"text": said[0]}], [{"text": said[1]}, call]]
        return [_data(_candidate(each, "STOP" if each is parts[-1] else None)) for each in parts]
    if dialect == "ollama":
        called = [{"function": {"name": "look", "arguments": {"q": arguments}}}]
        lines = [_ollama(said[0], []), _ollama(said[1], called), _ollama("", []) | _DONE]
        return [_json(line) + b"\n" for line in lines]
    if dialect == "bedrock-converse":
        return _converse(said, encoded)
    function = {"name": "look", "arguments": encoded}
    calls: list[Any] = [{"index": 0, "id": _CALL, "type": "function", "function": function}]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": said[0]}, {"content": said[1]}]
    chunks: list[dict[str, Any]] = [{"index": 0, "delta": each} for each in [*deltas, {"tool_calls": calls}]]
    chunks.append({"index": 0, "delta": {}, "finish_reason": "tool_calls"})
    head: dict[str, Any] = {"id": _ID, "object": "chat.completion.chunk", "model": _MODEL}
    return [*(_data(head | {"choices": [each]}) for each in chunks), b"data: [DONE]\n\n"]


def content_type(dialect: DialectName | None) -> str:
    """Return the type of a stream."""
    if dialect == "ollama":
        return "application/x-ndjson"
    return eventstream.CONTENT_TYPE if dialect == "bedrock-converse" else "text/event-stream"


def error(dialect: DialectName | None, status: int, message: str, detail: dict[str, str]) -> bytes:
    """Return an error's body. `detail`: what else it says, in fields that no reader knows."""
    if dialect == "anthropic-messages":
        return _json({"type": "error", "error": {"type": "api_error", "message": message}, "detail": detail})
    if dialect == "gemini":
        return _json({"error": {"code": status, "message": message, "status": "INTERNAL", "details": [detail]}})
    if dialect == "ollama":
        return _json({"error": message, "detail": detail})
    if dialect == "bedrock-converse":
        return _json({"message": message, "detail": detail})
    return _json({"error": {"message": message, "type": "error", "code": "refused", "detail": detail}})


_USAGE = {"input_tokens": 3, "output_tokens": 4}
_TOKENS = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
_DONE = {"done": True, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4}


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _data(value: Any) -> bytes:
    return b"data: " + _json(value) + b"\n\n"


def _named(name: str, value: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\n" + _data({"type": name, **value})


def _response(text: str, arguments: str) -> dict[str, Any]:
    said = {"type": "output_text", "text": text, "annotations": []}
    message = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [said]}
    call = {"type": "function_call", "id": "f", "call_id": _CALL, "name": "look", "arguments": arguments}
    made = {"id": _ID, "object": "response", "created_at": 1, "status": "completed", "model": _MODEL}
    return made | {"output": [message, call], "usage": _USAGE | {"total_tokens": 7}}


def _message() -> dict[str, Any]:
    return {"id": _ID, "type": "message", "role": "assistant", "model": _MODEL}


def _messages(said: tuple[str, str], arguments: str) -> list[bytes]:
    use = {"type": "tool_use", "id": _CALL, "name": "look", "input": {}}
    blocks: tuple[tuple[dict[str, Any], list[dict[str, Any]]], ...] = (
        ({"type": "text", "text": ""}, [{"type": "text_delta", "text": each} for each in said]),
        (use, [{"type": "input_json_delta", "partial_json": arguments}]),
    )
    start = _message() | {"content": [], "stop_reason": None, "usage": {"input_tokens": 3, "output_tokens": 0}}
    pieces = [_named("message_start", {"message": start})]
    for index, (block, deltas) in enumerate(blocks):
        pieces.append(_named("content_block_start", {"index": index, "content_block": block}))
        pieces += [_named("content_block_delta", {"index": index, "delta": each}) for each in deltas]
        pieces.append(_named("content_block_stop", {"index": index}))
    end = {"delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}}
    return [*pieces, _named("message_delta", end), _named("message_stop", {})]


def _candidate(parts: list[Any], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": parts}}
    if finish is None:
        return {"candidates": [candidate], "modelVersion": _MODEL, "responseId": _ID}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}
    done = candidate | {"finishReason": finish}
    return {"candidates": [done], "usageMetadata": usage, "modelVersion": _MODEL, "responseId": _ID}


def _ollama(text: str, calls: list[Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
    return {"model": _MODEL, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": False}


def _converse(said: tuple[str, str], arguments: str) -> list[bytes]:
    def event(name: str, value: dict[str, Any]) -> bytes:
        return eventstream.event(name, _json(value))

    use = {"toolUse": {"toolUseId": _CALL, "name": "look"}}
    return [
        event("messageStart", {"role": "assistant"}),
        *(event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": each}}) for each in said),
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("contentBlockStart", {"contentBlockIndex": 1, "start": use}),
        event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"toolUse": {"input": arguments}}}),
        event("contentBlockStop", {"contentBlockIndex": 1}),
        event("messageStop", {"stopReason": "tool_use"}),
        event("metadata", {"usage": _TOKENS, "metrics": {"latencyMs": 1}}),
    ]
