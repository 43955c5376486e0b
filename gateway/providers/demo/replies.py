"""The demo provider's responses, in the shapes of OpenAI's and Anthropic's APIs. Pure and deterministic."""

import base64
import random
import struct
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

_WORDS = (
    "a gateway sees every call and keeps what it saw so that you can ask later which model was slow what it cost who "
    "asked and why it tried twice spans rows tokens streams and traces are there a moment after the last byte"
).split()
_CREATED = 1_767_225_600  # a fixed time: replies do not change from run to run

Json = dict[str, Any]


class Reply(Struct, frozen=True, kw_only=True):
    """One response, in no API's shape yet. `tool`: a call (name, arguments as JSON) instead of text."""

    ident: str
    model: str
    text: str
    tool: tuple[str, str] | None
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cached_tokens: int

    @property
    def pieces(self) -> list[str]:
        """The text in pieces for a stream, one word each."""
        words = self.text.split(" ")
        return [word + " " for word in words[:-1]] + words[-1:]


def generate(body: Json, model: str) -> Reply:
    """Return the reply to a request of any of the APIs."""
    messages = _messages(body)
    prompt = _text(messages[-1].get("content")) if messages else ""
    rng = random.Random(repr(messages))
    tool = _tool_call(body, messages, prompt)
    if model == "echo":
        text = prompt or "(nothing to repeat)"
    else:
        text = " ".join(rng.choice(_WORDS) for _ in range(rng.randint(8, 24))).capitalize() + "."
    thinks = model == "reasoning"
    return Reply(
        ident=f"{rng.getrandbits(64):016x}",
        model=f"demo-{model}-1",
        text=text,
        tool=tool,
        input_tokens=max(1, sum(len(_text(message.get("content"))) for message in messages) // 4),
        output_tokens=(len(tool[1]) if tool else len(text)) // 4 + 1 + (64 if thinks else 0),
        reasoning_tokens=64 if thinks else 0,
        cached_tokens=0,
    )


def _messages(body: Json) -> list[Json]:
    given = body.get("messages", body.get("input", body.get("prompt", "")))
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(_text(part.get("text", "")) for part in content if isinstance(part, dict))
    return ""


def _tool_call(body: Json, messages: list[Json], prompt: str) -> tuple[str, str] | None:
    """Return a call of an offered tool if the last user message names one or "tool"; None after its result."""
    if not messages or messages[-1].get("role") != "user" or "tool_result" in str(messages[-1].get("content")):
        return None
    for tool in body.get("tools") or ():
        function = tool.get("function") or tool
        name = function.get("name", "")
        if name and ("tool" in prompt.lower() or name in prompt):
            schema = function.get("parameters") or function.get("input_schema") or {}
            values = {"integer": 7, "number": 2.5, "boolean": True, "array": [], "object": {}}
            properties = schema.get("properties") or {}
            arguments = {key: values.get(value.get("type"), "Lisbon") for key, value in properties.items()}
            return name, msgspec.json.encode(arguments).decode()
    return None


def chat(reply: Reply) -> Json:
    """Return a chat completion."""
    message: Json = {"role": "assistant", "content": None if reply.tool else reply.text, "refusal": None}
    if reply.tool:
        message["tool_calls"] = [_chat_call(reply)]
    return {
        "id": f"chatcmpl-{reply.ident}",
        "object": "chat.completion",
        "created": _CREATED,
        "model": reply.model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if reply.tool else "stop"}
        ],
        "usage": _chat_usage(reply),
    }


def _chat_call(reply: Reply) -> Json:
    name, arguments = reply.tool or ("", "")
    return {"id": f"call_{reply.ident}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _chat_usage(reply: Reply) -> Json:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
    }


def chat_events(reply: Reply, *, usage: bool) -> Iterator[Json | str]:
    """Yield the chunks of a streamed chat completion, then `[DONE]`."""

    def chunk(delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**head, "choices": [choice]} | ({"usage": None} if usage else {})

    head = {
        "id": f"chatcmpl-{reply.ident}",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": reply.model,
    }
    yield chunk({"role": "assistant", "content": None if reply.tool else ""})
    if reply.tool:
        call = _chat_call(reply)
        yield chunk({"tool_calls": [{"index": 0, **call, "function": {"name": reply.tool[0], "arguments": ""}}]})
        for piece in _halves(reply.tool[1]):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    else:
        for piece in reply.pieces:
            yield chunk({"content": piece})
    yield chunk({}, "tool_calls" if reply.tool else "stop")
    if usage:
        yield {**head, "choices": [], "usage": _chat_usage(reply)}
    yield "[DONE]"


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def completion(reply: Reply) -> Json:
    """Return a text completion of the legacy API."""
    return {
        "id": f"cmpl-{reply.ident}",
        "object": "text_completion",
        "created": _CREATED,
        "model": reply.model,
        "choices": [{"index": 0, "text": reply.text, "logprobs": None, "finish_reason": "stop"}],
        "usage": _chat_usage(reply),
    }


def response(reply: Reply, status: str = "completed") -> Json:
    """Return a response of the Responses API."""
    done = status == "completed"
    return {
        "id": f"resp_{reply.ident}",
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": reply.model,
        "output": [_item(reply)] if done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": {
            "input_tokens": reply.input_tokens,
            "input_tokens_details": {"cached_tokens": reply.cached_tokens},
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
            "total_tokens": reply.input_tokens + reply.output_tokens,
        }
        if done
        else None,
    }


def _item(reply: Reply) -> Json:
    if reply.tool:
        name, arguments = reply.tool
        return {
            "type": "function_call",
            "id": f"fc_{reply.ident}",
            "call_id": f"call_{reply.ident}",
            "name": name,
            "arguments": arguments,
            "status": "completed",
        }
    return {
        "type": "message",
        "id": f"msg_{reply.ident}",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": reply.text, "annotations": []}],
    }


def response_events(reply: Reply) -> Iterator[Json]:
    """Yield the events of a streamed response."""
    item = _item(reply)
    started: Json = {**item, "status": "in_progress"}
    started["arguments" if reply.tool else "content"] = "" if reply.tool else []
    at: Json = {"item_id": item["id"], "output_index": 0}
    yield {"type": "response.created", "response": response(reply, "in_progress")}
    yield {"type": "response.in_progress", "response": response(reply, "in_progress")}
    yield {"type": "response.output_item.added", "output_index": 0, "item": started}
    if reply.tool:
        for piece in _halves(reply.tool[1]):
            yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
        yield {"type": "response.function_call_arguments.done", **at, "name": reply.tool[0], "arguments": reply.tool[1]}
    else:
        at["content_index"] = 0
        empty = {"type": "output_text", "text": "", "annotations": []}
        yield {"type": "response.content_part.added", **at, "part": empty}
        for piece in reply.pieces:
            yield {"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **at, "text": reply.text, "logprobs": []}
        yield {"type": "response.content_part.done", **at, "part": item["content"][0]}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {"type": "response.completed", "response": response(reply)}


def message(reply: Reply) -> Json:
    """Return a message of Anthropic's API."""
    return {
        "id": f"msg_{reply.ident}",
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": [_block(reply)],
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": _message_usage(reply),
    }


def _block(reply: Reply) -> Json:
    if reply.tool:
        name, arguments = reply.tool
        return {"type": "tool_use", "id": f"toolu_{reply.ident}", "name": name, "input": msgspec.json.decode(arguments)}
    return {"type": "text", "text": reply.text}


def _message_usage(reply: Reply) -> Json:
    return {
        "input_tokens": reply.input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": reply.cached_tokens,
        "output_tokens": reply.output_tokens,
    }


def message_events(reply: Reply) -> Iterator[Json]:
    """Yield the events of a streamed message."""
    started = message(reply) | {
        "content": [],
        "stop_reason": None,
        "usage": {**_message_usage(reply), "output_tokens": 1},
    }
    yield {"type": "message_start", "message": started}
    if reply.tool:
        yield {"type": "content_block_start", "index": 0, "content_block": {**_block(reply), "input": {}}}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in _halves(reply.tool[1])]
    else:
        yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        deltas = [{"type": "text_delta", "text": piece} for piece in reply.pieces]
    yield {"type": "ping"}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    stopped = {"stop_reason": "tool_use" if reply.tool else "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": stopped, "usage": {"output_tokens": reply.output_tokens}}
    yield {"type": "message_stop"}


def embeddings(body: Json, model: str) -> Json:
    """Return embeddings of eight numbers, as floats or base64 by `encoding_format`."""
    given = body.get("input", "")
    texts = given if isinstance(given, list) else [given]
    data = []
    for index, text in enumerate(texts):
        rng = random.Random(repr(text))
        vector = [round(rng.uniform(-1, 1), 6) for _ in range(8)]
        as_text = base64.b64encode(struct.pack("<8f", *vector)).decode()
        embedding = as_text if body.get("encoding_format") == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    tokens = max(1, sum(len(str(text)) for text in texts) // 4)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": f"demo-{model}-1", "usage": usage}
