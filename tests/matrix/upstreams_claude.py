"""Anthropic's messages and Bedrock's Converse as providers: their turns and blocks are much the same."""

import json
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote
from zlib import crc32

from tests.dialects.botocores import checked
from tests.matrix.scenes import CACHED, INPUT, OUTPUT, Completion, Heard, Part, Tool, Turn
from tests.matrix.wires import Piece, nothing, only, sse

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_SHOWN = {None: None, "summarized": True, "omitted": False}
SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk="


def hear_messages(body: dict[str, Any], _target: str) -> Heard:
    """Read a request for a message."""
    left = dict(body)
    system = left.pop("system", None)
    if isinstance(system, list):
        system = "|".join(_text_block(each) for each in system)
    thinking = dict(left.pop("thinking", {}))
    if thinking:
        assert thinking.pop("type") == "enabled"
        assert left["max_tokens"] > thinking["budget_tokens"] >= 1024
        assert left.get("temperature", 1.0) == 1.0
    output = left.pop("output_config", {})
    choice = left.pop("tool_choice", None)
    heard = Heard(
        model=left.pop("model"),
        stream=left.pop("stream", False),
        system=system,
        turns=_alternating([_turn(each, _block) for each in left.pop("messages")]),
        tools=[_tool(each) for each in left.pop("tools", [])],
        choice=None if choice is None else choice.get("name", choice["type"]),
        schema=output["format"]["schema"] if output else None,
        effort=thinking.pop("budget_tokens", None),
        shows=_SHOWN[thinking.pop("display", None)],
        max_tokens=left.pop("max_tokens"),
        temperature=left.pop("temperature", None),
        stop=left.pop("stop_sequences", None),
    )
    if output:
        only(output, format={"type": "json_schema", "schema": heard.schema})
    nothing(thinking)
    nothing(left)
    return heard


def _text_block(block: dict[str, Any]) -> str:
    left = dict(block)
    assert left.pop("type") == "text"
    text = left.pop("text")
    nothing(left)
    assert text
    return str(text)


def _turn(turn: dict[str, Any], read: Any) -> Turn:
    content = turn["content"]
    assert turn.keys() == {"role", "content"}
    parts = [("text", content)] if isinstance(content, str) else [read(each) for each in content]
    assert parts
    if parts[0][0] == "result":
        assert turn["role"] == "user"
        return ("tool", parts)
    return (turn["role"], parts)


def _alternating(turns: list[Turn]) -> list[Turn]:
    """Require what the API requires: turns alternate, and each call is answered right in the next one."""
    for number, (role, parts) in enumerate(turns):
        assert (role == "assistant") == bool(number % 2), turns
        calls = [part[1] for part in parts if part[0] == "call"]
        answers = turns[number + 1][1] if calls else []
        assert calls == [part[1] for part in answers if part[0] == "result"]
    return turns


def _block(block: dict[str, Any]) -> Part:
    left = dict(block)
    match left.pop("type"):
        case "text":
            part: Part = ("text", left.pop("text"))
        case "image":
            source = left.pop("source")
            part = ("image", source["media_type"], source["data"])
            only(source, type="base64", media_type=part[1], data=part[2])
        case "tool_use":
            part = ("call", left.pop("id"), left.pop("name"), left.pop("input"))
        case "tool_result":
            content = left.pop("content")
            text = content if isinstance(content, str) else "".join(_text_block(each) for each in content)
            part = ("result", left.pop("tool_use_id"), None, text)
        case kind:
            raise AssertionError(f"unknown block: {kind}")
    nothing(left)
    return part


def _tool(tool: dict[str, Any]) -> Tool:
    left = dict(tool)
    for optional in ("strict", "eager_input_streaming"):
        left.pop(optional, None)
    assert left.pop("type", "custom") == "custom"
    heard = Tool(left.pop("name"), left.pop("description"), left.pop("input_schema"))
    nothing(left)
    return heard


def _usage() -> dict[str, Any]:
    cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": CACHED}
    return {"input_tokens": INPUT - CACHED, **cached, "output_tokens": OUTPUT, "service_tier": "standard"}


def message(completion: Completion, model: str) -> dict[str, Any]:
    """Answer with a whole message."""
    content: list[dict[str, Any]] = []
    if completion.thought:
        content.append({"type": "thinking", "thinking": "".join(completion.thought), "signature": SIGNATURE})
    if completion.text:
        content.append({"type": "text", "text": "".join(completion.text)})
    content += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in completion.calls]
    return {
        "id": "msg_01XF",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": _STOPS[completion.finish],
        "stop_sequence": None,
        "usage": _usage(),
    }


def message_stream(completion: Completion, model: str) -> Iterator[Piece]:
    """Answer with the events of a message."""

    def event(kind: str, **fields: Any) -> bytes:
        return sse({"type": kind, **fields}, kind)

    begun = message(completion, model) | {"content": [], "stop_reason": None, "usage": {**_usage(), "output_tokens": 1}}
    yield Piece(event("message_start", message=begun))
    yield Piece(event("ping"))
    for index, (block, deltas, kind) in enumerate(_blocks(completion)):
        yield Piece(event("content_block_start", index=index, content_block=block))
        for delta, piece in deltas:
            grown = event("content_block_delta", index=index, delta=delta)
            yield Piece(grown, None if piece is None else (kind, piece))
        yield Piece(event("content_block_stop", index=index))
    stopped = {"stop_reason": _STOPS[completion.finish], "stop_sequence": None}
    yield Piece(event("message_delta", delta=stopped, usage={"output_tokens": OUTPUT}))
    yield Piece(event("message_stop"))


def _blocks(completion: Completion) -> Iterator[tuple[dict[str, Any], list[tuple[dict[str, Any], str | None]], str]]:
    """Give each block as it begins, its deltas with what they tell, and what kind of thing they tell."""
    if completion.thought:
        thoughts: list[Any] = [({"type": "thinking_delta", "thinking": piece}, piece) for piece in completion.thought]
        signed = ({"type": "signature_delta", "signature": SIGNATURE}, None)
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signed], "thought"
    if completion.text:
        texts: list[Any] = [({"type": "text_delta", "text": piece}, piece) for piece in completion.text]
        yield {"type": "text", "text": ""}, texts, "text"
    for call in completion.calls:
        pieces: list[Any] = [({"type": "input_json_delta", "partial_json": piece}, piece) for piece in call.pieces]
        begun = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        yield begun, [({"type": "input_json_delta", "partial_json": ""}, None), *pieces], "call"


def message_error(status: int, word: str, text: str) -> dict[str, Any]:  # noqa: ARG001
    """Answer with an error."""
    return {"type": "error", "error": {"type": word, "message": text}, "request_id": "req_011"}


def message_broken(word: str, text: str) -> bytes:
    """Tell of an error in the middle."""
    return sse({"type": "error", "error": {"type": word, "message": text}}, "error")


def hear_converse(body: dict[str, Any], target: str) -> Heard:
    """Read a Converse request, which botocore has checked before."""
    model, operation = target.removeprefix("/model/").split("/")
    checked(body, unquote(model), stream=operation == "converse-stream")
    left = dict(body)
    inference = dict(left.pop("inferenceConfig", {}))
    config = dict(left.pop("toolConfig", {}))
    fields = dict(left.pop("additionalModelRequestFields", {}))
    output = left.pop("outputConfig", {})
    thinking = dict(fields.pop("thinking", {}))
    if thinking:
        assert thinking.pop("type") == "enabled"
    choice = config.pop("toolChoice", None)
    heard = Heard(
        model=unquote(model),
        stream=operation == "converse-stream",
        system="|".join(block["text"] for block in left.pop("system", [])) or None,
        turns=_alternating([_turn(each, _converse_block) for each in left.pop("messages")]),
        tools=[_tool_spec(each["toolSpec"]) for each in config.pop("tools", [])],
        choice=None if choice is None else next(each.get("name", key) for key, each in choice.items()),
        schema=json.loads(output["textFormat"]["structure"]["jsonSchema"]["schema"]) if output else None,
        effort=thinking.pop("budget_tokens", None),
        shows=_SHOWN[thinking.pop("display", None)],
        max_tokens=inference.pop("maxTokens", None),
        temperature=inference.pop("temperature", None),
        stop=inference.pop("stopSequences", None),
    )
    for each in (inference, config, fields, thinking, left):
        nothing(each)
    return heard


def _converse_block(block: dict[str, Any]) -> Part:
    ((kind, value),) = block.items()
    match kind:
        case "text":
            return ("text", value)
        case "image":
            return ("image", f"image/{value['format']}", value["source"]["bytes"])
        case "toolUse":
            return ("call", value["toolUseId"], value["name"], value["input"])
        case "toolResult":
            return ("result", value["toolUseId"], None, "".join(each["text"] for each in value["content"]))
    raise AssertionError(f"unknown block: {kind}")


def _tool_spec(tool: dict[str, Any]) -> Tool:
    left = dict(tool)
    left.pop("strict", None)
    heard = Tool(left.pop("name"), left.pop("description"), left.pop("inputSchema")["json"])
    nothing(left)
    return heard


def _converse_usage() -> dict[str, Any]:
    cached = {"cacheReadInputTokens": CACHED, "cacheWriteInputTokens": 0}
    return {"inputTokens": INPUT - CACHED, "outputTokens": OUTPUT, "totalTokens": INPUT + OUTPUT, **cached}


def converse(completion: Completion, _model: str) -> dict[str, Any]:
    """Answer a Converse."""
    content: list[dict[str, Any]] = []
    if completion.thought:
        shown = {"text": "".join(completion.thought), "signature": SIGNATURE}
        content.append({"reasoningContent": {"reasoningText": shown}})
    if completion.text:
        content.append({"text": "".join(completion.text)})
    content += [{"toolUse": {"toolUseId": c.id, "name": c.name, "input": c.arguments}} for c in completion.calls]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _STOPS[completion.finish],
        "usage": _converse_usage(),
        "metrics": {"latencyMs": 420},
    }


def converse_stream(completion: Completion, _model: str) -> Iterator[Piece]:
    """Answer a ConverseStream in AWS's frames."""
    yield Piece(frame("messageStart", {"role": "assistant"}))
    index = 0
    if completion.thought:
        for piece in completion.thought:
            yield Piece(_delta(index, {"reasoningContent": {"text": piece}}), ("thought", piece))
        yield Piece(_delta(index, {"reasoningContent": {"signature": SIGNATURE}}))
        yield Piece(frame("contentBlockStop", {"contentBlockIndex": index}))
        index += 1
    if completion.text:
        for piece in completion.text:
            yield Piece(_delta(index, {"text": piece}), ("text", piece))
        yield Piece(frame("contentBlockStop", {"contentBlockIndex": index}))
        index += 1
    for number, call in enumerate(completion.calls, index):
        start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        yield Piece(frame("contentBlockStart", {"contentBlockIndex": number, "start": start}))
        for piece in call.pieces:
            yield Piece(_delta(number, {"toolUse": {"input": piece}}), ("call", piece))
        yield Piece(frame("contentBlockStop", {"contentBlockIndex": number}))
    yield Piece(frame("messageStop", {"stopReason": _STOPS[completion.finish]}))
    yield Piece(frame("metadata", {"usage": _converse_usage(), "metrics": {"latencyMs": 420}}))


def _delta(index: int, delta: dict[str, Any]) -> bytes:
    return frame("contentBlockDelta", {"contentBlockIndex": index, "delta": delta})


def frame(name: str, payload: dict[str, Any], message_type: str = "event") -> bytes:
    """Write a frame: lengths, their checksum, headers, payload, a checksum over it all."""
    named = {f":{message_type}-type": name, ":content-type": "application/json", ":message-type": message_type}
    headers = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in named.items()
    )
    body = json.dumps({**payload, "p": "abcdefghijkl"}, ensure_ascii=False).encode()
    lengths = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    head = lengths + struct.pack(">I", crc32(lengths)) + headers + body
    return head + struct.pack(">I", crc32(head))


def converse_error(status: int, word: str, text: str) -> dict[str, Any]:  # noqa: ARG001
    """Answer with an error, whose name is in a header."""
    return {"message": text}


def converse_broken(word: str, text: str) -> bytes:
    """Tell of an exception in the middle."""
    return frame(word, {"message": text}, "exception")
