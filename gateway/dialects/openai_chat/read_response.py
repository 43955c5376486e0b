"""OpenAI's chat completions, older completions and embeddings: the wire format most providers speak."""

import re
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from gateway.dialects.conversation import ChatResponse, Message, Part, Text, TokenLogprob, ToolCall
from gateway.dialects.openai_chat.read_parts import message_parts
from gateway.dialects.shared.failure import Failure, wait_in, words
from gateway.dialects.shared.reported_error import NO_ERROR, ReportedError, error_of, is_failure
from gateway.dialects.shared.usage import chat_usage, usage_of
from gateway.dialects.wire.json import count, decode, fields, objects, text


class _Whole(Struct, gc=False):
    id: Any = None
    model: Any = None
    created: Any = None
    choices: Any = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None
    type: Any = None
    code: Any = None
    message: Any = None
    detail: Any = None
    base_resp: Any = None  # MiniMax


_WHOLE = msgspec.json.Decoder(_Whole)


def read_finish(reason: Any, *, called: bool) -> tuple[str | None, str | None]:
    """Return the finish reason in the common vocabulary, and the provider's word if it is another.

    A call that the client asked for by name ends with `stop`, as do all calls of some providers.
    """
    if reason == "function_call" or (reason == "stop" and called):
        return "tool_calls", str(reason)
    word = text(reason)
    return ("error", word) if is_failure(word) else (word, None)


def read_logprobs(logprobs: Any) -> list[TokenLogprob]:
    """Read the log probabilities of a choice's content."""
    return [
        TokenLogprob(token=token, logprob=float(value), top=read_logprobs({"content": each.get("top_logprobs")}))
        for each in objects(fields(logprobs).get("content"))
        if isinstance(token := each.get("token"), str) and isinstance(value := each.get("logprob"), int | float)
    ]


def read_error(reported: Any, message: Any = None) -> ReportedError:
    """Read the error of a response or a chunk, in any shape; it is one if `reported` is not empty."""
    error = error_of(reported or {"message": message})
    if error.type is None and error.message is None:
        return error._replace(message=text(message) or "the provider reported an error")
    return error


# MiniMax's codes and the statuses that others send with the same errors. Source: its list of error codes.
_MINIMAX = {1001: 504, 1002: 429, 1004: 401, 1008: 402, 1039: 429, 2013: 400, 2049: 401, 2056: 429}


class _Top(Protocol):
    """The fields of an error without an object of its own."""

    choices: Any
    type: Any
    code: Any
    message: Any
    detail: Any
    base_resp: Any


def top_error(whole: _Top) -> ReportedError:
    """Read an error whose fields are at the top, as vLLM writes them, or MiniMax's, of a body without choices."""
    result = fields(whole.base_resp)
    if code := count(result.get("status_code")):
        return ReportedError(str(code), text(result.get("status_msg")), _MINIMAX.get(code))
    message = text(whole.message) or text(whole.detail)
    if isinstance(whole.choices, list) or message is None:
        return NO_ERROR
    return error_of({"type": whole.type, "code": whole.code, "message": message})


def _error(whole: _Whole) -> ReportedError:
    reported = whole.error or next((choice["error"] for choice in objects(whole.choices) if choice.get("error")), None)
    if reported:
        return read_error(reported, whole.message)
    return NO_ERROR if whole.choices else top_error(whole)


def read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or an error body."""
    whole = decode(body, _WHOLE)
    if whole is None:
        return ChatResponse()
    error = _error(whole)
    reported = chat_usage(whole.usage, whole.x_groq, (each.get("usage") for each in objects(whole.choices)))
    messages = []
    for choice in sorted(objects(whole.choices), key=lambda c: count(c.get("index")) or 0):
        parts: list[Part] = message_parts(fields(choice.get("message")))
        if completion := text(choice.get("text")):
            parts.append(Text(content=completion))
        if logprobs := read_logprobs(choice.get("logprobs")):
            parts = [msgspec.structs.replace(p, logprobs=logprobs) if isinstance(p, Text) else p for p in parts]
        called = any(isinstance(part, ToolCall) for part in parts)
        reason, word = read_finish(choice.get("finish_reason"), called=called)
        messages.append(Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word))
    return ChatResponse(
        id=text(whole.id),
        model=text(whole.model),
        finish_reasons=[m.finish_reason for m in messages if m.finish_reason],
        output_messages=messages,
        usage=usage_of(reported),
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
        created=count(whole.created),
    )


# Words of OpenAI, Moonshot, DeepSeek, Zhipu (1113), DashScope, the backend of ChatGPT's plans, and LiteLLM.
_EXHAUSTED = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "exceeded_current_quota_error",
        "insufficient_balance",
        "insufficient_credits",
        "1113",
        "Arrearage",
        "usage_limit_reached",
        "usage_not_included",
        "budget_exceeded",
    }
)
# Of hosts without a word for it: xAI, OpenRouter's free models, Cohere's trial keys.
_EXHAUSTED_MESSAGE = re.compile(
    r"your team .{0,100}(used all available credits|spending limit)|rate limit exceeded: free-models-per-day"
    r"|you are using a trial key, which is limited to .{0,40}/ month|insufficient (balance|credits)",
    re.IGNORECASE,
)


def read_failure(error: Mapping[str, Any], message: str) -> Failure:
    """Read a quota that is used up, and a wait that stands in the message."""
    exhausted = not _EXHAUSTED.isdisjoint(words(error)) or _EXHAUSTED_MESSAGE.match(message) is not None
    return Failure(exhausted=exhausted, wait=wait_in(message))
