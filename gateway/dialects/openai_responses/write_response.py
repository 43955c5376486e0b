"""A response as one of OpenAI's Responses: whole, or an error; `responses_stream` has the same as a stream."""

from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.dialects.conversation import (
    ChatRequest,
    ChatResponse,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_responses.read_parts import NAME
from gateway.dialects.openai_responses.write_parts import (
    Json,
    result_of,
    write_annotations,
    write_item,
    write_reasoning,
)
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.extra import encode_state, foreign
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.writer import Dropped
from gateway.errors import Kind


def write_response(response: ChatResponse, request: ChatRequest, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response: its first choice. An error that came in its place is a response that failed."""
    dropped = Dropped()
    dropped.foreign(response.extra, NAME)
    if len(response.output_messages) > 1:
        dropped.add("choices[1]")
    message = response.output_messages[0] if response.output_messages else Message(role="assistant", parts=[])
    dropped.foreign(message.extra, NAME)
    ident = response.id or f"resp_{int(now)}"
    body = envelope(request, ident, response.model, response.created or int(now))
    body["output"] = list(_output(message.parts, ResponseIds(ident), dropped))
    body["status"], body["incomplete_details"] = write_status(message.finish_reason, message.finish_word, dropped)
    if response.error_type or response.error_message or body["status"] == "failed":
        body["status"] = "failed"
        body["error"] = write_error_of(response.error_type, response.error_message)
    body["usage"] = write_usage(response.usage)
    if response.conversation_id:
        body["conversation"] = {"id": response.conversation_id}
    return msgspec.json.encode(body), dropped.names


def _output(parts: list[Part], ids: ResponseIds, dropped: Dropped) -> Iterator[Json]:
    """Write parts as items: texts that follow each other are one message, reasoning likewise."""
    last: Json | None = None
    number = 0
    for index, part in enumerate(parts):
        path = f"output[{index}]"
        if last is not None and _joins(last, parts[index - 1], part, path, dropped):
            continue
        if last is not None:
            yield last
        last = _begun(part, index, ids, number, dropped)
        number += last is not None
    if last is not None:
        yield last


def _begun(part: Part, index: int, ids: ResponseIds, number: int, dropped: Dropped) -> Json | None:
    path = f"output[{index}]"
    match part:
        case Text() | Refusal():
            item = message_item(part, ids.response_id, number)
            item["content"] = [content_part(part, path, dropped)]
            return item
        case Reasoning():
            return reasoning_item(part, ids.response_id, number)
    return own_item(part, index, ids, number, dropped)


def _joins(last: Json, before: Part, part: Part, path: str, dropped: Dropped) -> bool:
    """Add a part to the item of the part before it, if it belongs there; return whether it does."""
    match part:
        case Text() | Refusal() if last["type"] == "message" and not part.extra.get(NAME):
            last["content"].append(content_part(part, path, dropped))
        case Reasoning() if isinstance(before, Reasoning) and not before.extra:
            last |= {**prove(part), "summary": last["summary"] + write_reasoning(part)["summary"]}
        case _ if (result := result_of(last, part)) is not None:
            last |= result
        case _:
            return False
    return True


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body."""
    error = {"message": message, "type": kind.fact.openai, "param": None, "code": word or kind.value}
    return msgspec.json.encode({"error": error})


_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter", "steered": "steered"}


_COMPLETE = {None, "stop", "tool_calls"}


_ERRORS = frozenset({"server_error", "rate_limit_exceeded", "invalid_prompt", "invalid_image", "image_too_large"})


# Other dialects' words, and this one's for the same.
_SAME = {
    "rate_limit_error": "rate_limit_exceeded",
    "RESOURCE_EXHAUSTED": "rate_limit_exceeded",
    "ThrottlingException": "rate_limit_exceeded",
    "invalid_request_error": "invalid_prompt",
    "INVALID_ARGUMENT": "invalid_prompt",
}


def write_status(reason: str | None, word: str | None, dropped: Dropped) -> tuple[str, Json | None]:
    """Return the status of a response that ended so, and the details of one that is incomplete."""
    if reason == "error":
        return "failed", None
    if reason in _INCOMPLETE:
        return "incomplete", {"reason": _INCOMPLETE[reason]}
    if reason not in _COMPLETE:
        dropped.add(f"finish_reason: {word or reason}")
        return "incomplete", {"reason": word or reason}
    return "completed", None


def write_error_of(word: str | None, message: str | None) -> Json:
    """Return the error of a response that failed. Its codes are few: the provider's word is added beside them."""
    code = word if word in _ERRORS else _SAME.get(word or "", "server_error")
    error = {"code": code, "message": message or "the provider reported an error"}
    return error if word in {None, code} else error | {"type": word}


def write_usage(usage: Usage | None) -> Json | None:
    """Write token counts, None if there are none. The SDKs require every number."""
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    input_tokens, output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens if usage.total_tokens is not None else input_tokens + output_tokens,
    }


def envelope(request: ChatRequest, ident: str, model: str | None, created: int) -> Json:
    """Return all that a response repeats of its request; its SDKs want most of it to be there."""
    system = "\n\n".join(part.content for part in request.system_instructions if isinstance(part, Text))
    return {
        "id": ident,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": system or None,
        "max_output_tokens": request.parameters.get(name.MAX_TOKENS),
        "metadata": request.metadata,
        "model": model or request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.parameters.get(name.PREVIOUS_RESPONSE_ID),
        "reasoning": {"effort": request.parameters.get(name.REASONING_LEVEL), "summary": None},
        "store": False,
        "temperature": request.parameters.get(name.TEMPERATURE, 1.0),
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": request.parameters.get(name.TOP_P, 1.0),
        "truncation": "disabled",
        "usage": None,
        "user": request.user,
    }


def content_part(part: Text | Refusal, path: str, dropped: Dropped) -> Json:
    """Write a part of a message's content."""
    dropped.foreign(part.extra, NAME, path)
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.content}
    return {
        "type": "output_text",
        "text": part.content,
        "annotations": write_annotations(part, path, dropped),
        "logprobs": _logprobs(part.logprobs),
    }


def _logprobs(logprobs: list[TokenLogprob]) -> list[Json]:
    return [{**_logprob(each), "top_logprobs": [_logprob(top) for top in each.top]} for each in logprobs]


def _logprob(each: TokenLogprob) -> Json:
    return {"token": each.token, "logprob": each.logprob, "bytes": list(each.token.encode())}


def message_item(part: Text | Refusal, ident: str, number: int) -> Json:
    """Return the item of a message that begins with this part, without its content."""
    item: Json = {"type": "message", "id": f"msg_{_made(ident, number)}", "status": "completed", "role": "assistant"}
    return item | part.extra.get(NAME, {})


def reasoning_item(part: Reasoning, ident: str, number: int) -> Json:
    """Return the item of reasoning that begins with this part."""
    item = {"id": f"rs_{_made(ident, number)}", **write_reasoning(part)}
    return {**item, **prove(part)}


def prove(part: Reasoning) -> Json:
    """Return the proof that a part adds to its item, or carries for the provider of another dialect."""
    own: Json = part.extra.get(NAME, {})
    others = foreign(part.extra, NAME)
    if others and not own:
        own = {"encrypted_content": encode_state(others)}
    return own


def own_item(part: Part, index: int, ids: ResponseIds, number: int, dropped: Dropped) -> Json | None:
    """Write a part that is an item of its own; None, and named as dropped, if the dialect has no such item."""
    if isinstance(part, ToolCall):
        part = msgspec.structs.replace(part, id=ids.id_of(part, index))
    item = write_item(part, f"output[{index}]", dropped)
    if item is None or not isinstance(part, ToolCall):
        return item
    kind = "ctc" if part.custom else "fc"
    return {"id": f"{kind}_{_made(ids.response_id, number)}", "status": "completed", **item}


def _made(ident: str, number: int) -> str:
    return f"{ident.removeprefix('resp_')}_{number}"


def event_position(item: Json, number: int, **fields: Any) -> Json:
    """Return the position of an event: its item's id and number."""
    return {"item_id": item.get("id"), "output_index": number, **fields}
