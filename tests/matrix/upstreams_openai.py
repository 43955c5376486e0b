"""OpenAI's two dialects as a provider: chat completions as compatible servers speak them, and Responses."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from tests.matrix.scenes import CACHED, INPUT, OUTPUT, THINKING, Completion, Heard, Part, Tool, Turn
from tests.matrix.wires import Piece, nothing, sse

CREATED = 1790000000
_CHOICES = {"required": "any"}


def hear_chat(body: dict[str, Any], _target: str) -> Heard:
    """Read a request for a chat completion."""
    left = dict(body)
    messages = left.pop("messages")
    system = [_plain(m) for m in messages if m["role"] == "system"]
    stream = left.pop("stream", False)
    if stream:
        assert left.pop("stream_options") == {"include_usage": True}
    form = left.pop("response_format", None)
    heard = Heard(
        model=left.pop("model"),
        stream=stream,
        system="|".join(system) or None,
        turns=_turns([m for m in messages if m["role"] != "system"]),
        tools=[_chat_tool(each) for each in left.pop("tools", [])],
        choice=_choice(left.pop("tool_choice", None)),
        schema=None if form is None else _schema(form, form["json_schema"]),
        effort=left.pop("reasoning_effort", None),
        max_tokens=left.pop("max_completion_tokens", None) or left.pop("max_tokens", None),
        temperature=left.pop("temperature", None),
        stop=left.pop("stop", None),
    )
    assert messages[: len(system)] == [m for m in messages if m["role"] == "system"]
    nothing(left)
    return heard


def _plain(message: dict[str, Any]) -> str:
    left = dict(message)
    assert left.pop("role") == "system"
    content = left.pop("content")
    nothing(left)
    return content if isinstance(content, str) else "".join(_text(each) for each in content)


def _text(part: dict[str, Any]) -> str:
    assert part.keys() == {"type", "text"}
    return str(part["text"])


def _turns(messages: list[dict[str, Any]]) -> list[Turn]:
    """Read all turns; tools' results must answer the calls right before them."""
    turns: list[Turn] = []
    open_calls: list[str] = []
    for message in messages:
        left = dict(message)
        role, content = left.pop("role"), left.pop("content")
        parts: list[Part] = []
        if role == "tool":
            called = left.pop("tool_call_id")
            open_calls.remove(called)
            parts.append(("result", called, left.pop("name", None), content))
            if turns[-1][0] == "tool":
                turns[-1][1].extend(parts)
                nothing(left)
                continue
        else:
            assert not open_calls, "calls without results"
            parts += [("text", content)] if isinstance(content, str) else map(_content, content or [])
        for call in left.pop("tool_calls", []):
            assert call.keys() - {"extra_content"} == {"id", "type", "function"}
            assert call["type"] == "function"
            open_calls.append(call["id"])
            parts.append(("call", call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])))
        nothing(left)
        turns.append((role, parts))
    return turns


def _content(part: dict[str, Any]) -> Part:
    if part["type"] == "text":
        return ("text", _text(part))
    assert part["type"] == "image_url"
    return _image(part["image_url"]["url"])


def _image(url: str) -> Part:
    head, _, data = url.partition(";base64,")
    return ("image", head.removeprefix("data:"), data)


def _chat_tool(tool: dict[str, Any]) -> Tool:
    assert tool["type"] == "function"
    left = dict(tool["function"])
    left.pop("strict", None)
    heard = Tool(left.pop("name"), left.pop("description"), left.pop("parameters"))
    nothing(left)
    return heard


def _choice(choice: Any) -> str | None:
    return _CHOICES.get(choice, choice) if choice is None or isinstance(choice, str) else choice["function"]["name"]


def _schema(form: dict[str, Any], left: dict[str, Any]) -> Any:
    assert form["type"] == "json_schema"
    left = {key: value for key, value in left.items() if key != "type"}
    assert left.pop("name")
    left.pop("strict", None)
    schema = left.pop("schema")
    nothing(left)
    return schema


def _chat_usage(completion: Completion) -> dict[str, Any]:
    return {
        "prompt_tokens": INPUT,
        "completion_tokens": OUTPUT,
        "total_tokens": INPUT + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": THINKING if completion.thought else 0, "audio_tokens": 0},
    }


def chat(completion: Completion, model: str) -> dict[str, Any]:
    """Answer with a whole chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(completion.text) or None}
    if completion.thought:
        message["reasoning_content"] = "".join(completion.thought)
    if completion.calls:
        message["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": "".join(c.pieces)}}
            for c in completion.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish}
    return {
        "id": "chatcmpl-7f3",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [choice],
        "usage": _chat_usage(completion),
        "system_fingerprint": None,
    }


def chat_stream(completion: Completion, model: str) -> Iterator[Piece]:
    """Answer with chunks, the last but one of which has the usage alone."""
    head = {"id": "chatcmpl-7f3", "object": "chat.completion.chunk", "created": CREATED, "model": model}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse({**head, "choices": [choice], "usage": None})

    yield Piece(chunk({"role": "assistant", "content": None}))
    for piece in completion.thought:
        yield Piece(chunk({"reasoning_content": piece}), ("thought", piece))
    for piece in completion.text:
        yield Piece(chunk({"content": piece}), ("text", piece))
    for index, call in enumerate(completion.calls):
        begun = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield Piece(chunk({"tool_calls": [begun]}))
        for piece in call.pieces:
            grown = {"index": index, "function": {"arguments": piece}}
            yield Piece(chunk({"tool_calls": [grown]}), ("call", piece))
    yield Piece(chunk({}, completion.finish))
    yield Piece(sse({**head, "choices": [], "usage": _chat_usage(completion)}))
    yield Piece(b"data: [DONE]\n\n")


def error(status: int, word: str, message: str) -> dict[str, Any]:
    """Answer with an error."""
    kind = {429: "requests", 400: "invalid_request_error"}.get(status, "server_error" if status >= 500 else "error")
    return {"error": {"message": message, "type": kind, "param": None, "code": word}}


def chat_broken(word: str, message: str) -> bytes:
    """Tell of an error in the middle."""
    return sse(error(500, word, message))


def hear_responses(body: dict[str, Any], _target: str) -> Heard:
    """Read a request for a response."""
    left = dict(body)
    items = left.pop("input")
    if isinstance(items, str):
        items = [{"type": "message", "role": "user", "content": items}]
    system = [left.pop("instructions")] if "instructions" in left else []
    system += [_item_text(each) for each in items if each.get("role") in {"system", "developer"}]
    turns = [each for each in items if each.get("role") not in {"system", "developer"}]
    reasoning = dict(left.pop("reasoning", {}))
    form = left.pop("text", {}).get("format")
    left.pop("store", None)
    assert left.pop("include", []) in ([], ["reasoning.encrypted_content"])
    heard = Heard(
        model=left.pop("model"),
        stream=left.pop("stream", False),
        system="|".join(system) or None,
        turns=_items(turns),
        tools=[_tool(each) for each in left.pop("tools", [])],
        choice=_choice(left.pop("tool_choice", None)),
        schema=None if form is None else _schema(form, form),
        effort=reasoning.pop("effort", None),
        shows={None: None, "auto": True}[reasoning.pop("summary", None)],
        max_tokens=left.pop("max_output_tokens", None),
        temperature=left.pop("temperature", None),
    )
    nothing(reasoning)
    nothing(left)
    return heard


def _item_text(item: dict[str, Any]) -> str:
    content = item["content"]
    return content if isinstance(content, str) else "".join(each["text"] for each in content)


def _items(items: list[dict[str, Any]]) -> list[Turn]:
    turns: list[Turn] = []
    open_calls: list[str] = []
    for item in items:
        left = dict(item)
        match left.pop("type", "message"):
            case "message":
                role, content = left.pop("role"), left.pop("content")
                words = {"user": "input_text", "assistant": "output_text"}
                parts = (
                    [("text", content)] if isinstance(content, str) else [_item_part(p, words[role]) for p in content]
                )
            case "function_call":
                role, called = "assistant", left.pop("call_id")
                open_calls.append(called)
                parts = [("call", called, left.pop("name"), json.loads(left.pop("arguments")))]
            case "function_call_output":
                role, called = "tool", left.pop("call_id")
                open_calls.remove(called)
                parts = [("result", called, None, left.pop("output"))]
            case kind:
                raise AssertionError(f"unknown item: {kind}")
        nothing(left)
        if turns and turns[-1][0] == role and role != "user":
            turns[-1][1].extend(parts)
        else:
            turns.append((role, parts))
    assert not open_calls, "calls without results"
    return turns


def _item_part(part: dict[str, Any], word: str) -> Part:
    if part["type"] == "input_image":
        return _image(part["image_url"])
    assert part["type"] == word
    return ("text", part["text"])


def _tool(tool: dict[str, Any]) -> Tool:
    left = dict(tool)
    assert left.pop("type") == "function"
    left.pop("strict", None)
    heard = Tool(left.pop("name"), left.pop("description"), left.pop("parameters"))
    nothing(left)
    return heard


def _usage(completion: Completion) -> dict[str, Any]:
    return {
        "input_tokens": INPUT,
        "input_tokens_details": {"cached_tokens": CACHED},
        "output_tokens": OUTPUT,
        "output_tokens_details": {"reasoning_tokens": THINKING if completion.thought else 0},
        "total_tokens": INPUT + OUTPUT,
    }


def _output(completion: Completion) -> list[dict[str, Any]]:
    """Return the items that a response is made of."""
    output: list[dict[str, Any]] = []
    if completion.thought:
        summary = [{"type": "summary_text", "text": "".join(completion.thought)}]
        output.append({"id": "rs_1", "type": "reasoning", "summary": summary, "encrypted_content": "gAAAAABo"})
    if completion.text:
        content = [{"type": "output_text", "text": "".join(completion.text), "annotations": [], "logprobs": []}]
        status = "incomplete" if completion.finish == "length" else "completed"
        output.append({"id": "msg_1", "type": "message", "status": status, "role": "assistant", "content": content})
    for number, call in enumerate(completion.calls):
        named = {"call_id": call.id, "name": call.name, "arguments": "".join(call.pieces)}
        output.append({"id": f"fc_{number}", "type": "function_call", "status": "completed", **named})
    return output


def _envelope(model: str, **more: Any) -> dict[str, Any]:
    envelope = {
        "id": "resp_5a1",
        "object": "response",
        "created_at": CREATED,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }
    return envelope | more


def response(completion: Completion, model: str) -> dict[str, Any]:
    """Answer with a whole response."""
    cut = completion.finish == "length"
    return _envelope(
        model,
        status="incomplete" if cut else "completed",
        incomplete_details={"reason": "max_output_tokens"} if cut else None,
        output=_output(completion),
        usage=_usage(completion),
    )


def response_stream(completion: Completion, model: str) -> Iterator[Piece]:
    """Answer with the events of a response."""
    numbers = count()

    def event(kind: str, **fields: Any) -> bytes:
        return sse({"type": kind, "sequence_number": next(numbers), **fields}, kind)

    yield Piece(event("response.created", response=_envelope(model)))
    yield Piece(event("response.in_progress", response=_envelope(model)))
    for index, item in enumerate(_output(completion)):
        at = {"item_id": item["id"], "output_index": index}
        match item["type"]:
            case "reasoning":
                yield Piece(event("response.output_item.added", output_index=index, item={**item, "summary": []}))
                part = {"type": "summary_text", "text": ""}
                yield Piece(event("response.reasoning_summary_part.added", **at, summary_index=0, part=part))
                for piece in completion.thought:
                    grown = event("response.reasoning_summary_text.delta", **at, summary_index=0, delta=piece)
                    yield Piece(grown, ("thought", piece))
                text = item["summary"][0]["text"]
                yield Piece(event("response.reasoning_summary_text.done", **at, summary_index=0, text=text))
                yield Piece(
                    event("response.reasoning_summary_part.done", **at, summary_index=0, part=item["summary"][0])
                )
            case "message":
                begun = {**item, "status": "in_progress", "content": []}
                yield Piece(event("response.output_item.added", output_index=index, item=begun))
                part = {**item["content"][0], "text": ""}
                yield Piece(event("response.content_part.added", **at, content_index=0, part=part))
                for piece in completion.text:
                    grown = event("response.output_text.delta", **at, content_index=0, delta=piece, logprobs=[])
                    yield Piece(grown, ("text", piece))
                part = item["content"][0]
                yield Piece(event("response.output_text.done", **at, content_index=0, text=part["text"], logprobs=[]))
                yield Piece(event("response.content_part.done", **at, content_index=0, part=part))
            case "function_call":
                begun = {**item, "status": "in_progress", "arguments": ""}
                yield Piece(event("response.output_item.added", output_index=index, item=begun))
                call = next(each for each in completion.calls if each.id == item["call_id"])
                for piece in call.pieces:
                    yield Piece(event("response.function_call_arguments.delta", **at, delta=piece), ("call", piece))
                whole = {"name": item["name"], "arguments": item["arguments"]}
                yield Piece(event("response.function_call_arguments.done", **at, **whole))
        yield Piece(event("response.output_item.done", output_index=index, item=item))
    whole = response(completion, model)
    yield Piece(event(f"response.{whole['status']}", response=whole))


def response_broken(word: str, message: str) -> bytes:
    """Tell of an error in the middle."""
    failed = _envelope("gpt-5.4", status="failed", error={"code": word, "message": message})
    return sse({"type": "response.failed", "sequence_number": 9, "response": failed}, "response.failed")
