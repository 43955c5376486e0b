"""A response as a chat completion, or an older completion: whole, as a stream, or an error."""

import msgspec

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    ChatResponse,
    Extra,
    File,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_chat.read_parts import GAP, NAME
from gateway.dialects.openai_chat.write_parts import Json, annotations, uncited, unsigned, write_call, write_thought
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.writer import Dropped
from gateway.errors import Kind
from gateway.semconv import TEXT_COMPLETION

# Kinds of parts that are a text, or keep texts apart.
_WRITTEN_KINDS = frozenset({"text", "reasoning", "refusal", "tool call", "custom tool call"})


# The vocabulary is this dialect's own; any other word stays the provider's, since each of these would be untrue.
_REASONS = {"stop", "length", "content_filter", "tool_calls", "function_call"}


def _reason(reason: str | None, word: str | None, dropped: Dropped) -> str | None:
    if word == "function_call":
        return word
    if reason is None or reason in _REASONS:
        return reason
    dropped.add(f"finish_reason: {word or reason}")
    return word or reason


def _usage(usage: Usage | None) -> Json | None:
    """Write token counts, None if there are none; the SDK requires the three sums only."""
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    input_tokens, output_tokens = usage.input_tokens or 0, usage.output_tokens or 0
    prompt = {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens}
    completion = {"reasoning_tokens": usage.reasoning_tokens}
    members: Json = {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": usage.total_tokens if usage.total_tokens is not None else input_tokens + output_tokens,
    }
    for key, details in (("prompt_tokens_details", prompt), ("completion_tokens_details", completion)):
        if known := {name: value for name, value in details.items() if value is not None}:
            members[key] = known
    return members


def _logprobs(logprobs: list[TokenLogprob]) -> Json | None:
    return {"content": [_logprob(each) for each in logprobs], "refusal": None} if logprobs else None


def _logprob(each: TokenLogprob) -> Json:
    top = [{"token": t.token, "logprob": t.logprob, "bytes": list(t.token.encode())} for t in each.top]
    return {"token": each.token, "logprob": each.logprob, "bytes": list(each.token.encode()), "top_logprobs": top}


def write_response(response: ChatResponse, request: ChatRequest, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response; an error that came in its place is written as one."""
    dropped = Dropped()
    older = request.operation == TEXT_COMPLETION
    dropped.foreign(response.extra, NAME)
    if response.error_type or response.error_message:
        error = _error(response.error_message or "the provider reported an error", response.error_type)
        return msgspec.json.encode({"error": error}), dropped.names
    created = response.created or int(now)
    ids = ResponseIds(response.id or str(created))
    body: Json = {
        "id": response.id or f"chatcmpl-{created}",
        "object": "text_completion" if older else "chat.completion",
        "created": created,
        "model": response.model or request.model,
        "choices": [
            _older_choice(number, message, dropped) if older else _choice(number, message, ids, dropped)
            for number, message in enumerate(response.output_messages)
        ],
    }
    if (usage := _usage(response.usage)) is not None:
        body["usage"] = usage
    body |= response.extra.get(NAME, {})
    return msgspec.json.encode(body), dropped.names


def _choice(number: int, message: Message, ids: ResponseIds, dropped: Dropped) -> Json:
    text = gap = ""
    logprobs: list[TokenLogprob] = []
    members: Json = {"role": "assistant", "content": None, "refusal": None}
    dropped.foreign(message.extra, NAME, f"choices[{number}]")
    for index, part in enumerate(message.parts):
        path = f"choices[{number}].parts[{index}]"
        dropped.foreign(_lost(part), NAME, path)
        match part:
            case Text():
                text += gap if text else ""
                gap = ""
                logprobs += part.logprobs
                if part.citations:
                    members["annotations"] = members.get("annotations", []) + annotations(
                        part.citations, part.content, len(text)
                    )
                if uncited(part.citations):
                    dropped.add(f"{path}.citations")
                text += part.content
                members["content"] = text
            case Reasoning():
                write_thought(part, members, carries=True)
            case Refusal():
                members["refusal"] = (members["refusal"] or "") + part.content
            case ToolCall():
                call = msgspec.structs.replace(part, id=ids.id_of(part, index, number))
                members.setdefault("tool_calls", []).append(write_call(call))
            case Blob(modality="audio"):
                members["audio"] = {"id": f"audio_{number}", "data": part.content, "expires_at": 0, "transcript": ""}
            case File(modality="audio"):
                members["audio"] = {"id": part.file_id}
            case _:
                dropped.add_part(part, path)
                gap = GAP
    return {
        "index": number,
        "message": members,
        "logprobs": _logprobs(logprobs),
        "finish_reason": _reason(message.finish_reason, message.finish_word, dropped),
    }


def _lost(part: Part) -> Extra:
    """Return the fields of a part's `extra` that the client gets in no form."""
    extra: Extra = {} if isinstance(part, Reasoning) else getattr(part, "extra", {})
    return unsigned(extra) if isinstance(part, ToolCall) else extra


def _older_choice(number: int, message: Message, dropped: Dropped) -> Json:
    for index, part in enumerate(message.parts):
        if not isinstance(part, Text):
            dropped.add_part(part, f"choices[{number}].parts[{index}]")
    return {
        "index": number,
        "text": "".join(part.content for part in message.parts if isinstance(part, Text)),
        "logprobs": None,
        "finish_reason": _reason(message.finish_reason, message.finish_word, dropped),
    }


def _error(message: str, word: str | None, kind: Kind = Kind.SERVER) -> Json:
    return {"message": message, "type": kind.fact.openai, "param": None, "code": word or kind.value}


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body."""
    return msgspec.json.encode({"error": _error(message, word, kind)})
