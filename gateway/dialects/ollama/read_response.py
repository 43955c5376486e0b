"""Ollama's own API: chats, completions of a prompt and embeddings, streamed one JSON object a line."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.conversation import ChatResponse, Message, Part, Reasoning, Text, Usage
from gateway.dialects.ollama.read_parts import NAME, images, logprobs, tool_call
from gateway.dialects.shared.extra import own
from gateway.dialects.shared.failure import Failure
from gateway.dialects.shared.reported_error import ReportedError, error_of, is_failure
from gateway.dialects.shared.tool_ids import made_id
from gateway.dialects.wire.json import count, decode, objects, text

_OBJECT = msgspec.json.Decoder(dict[str, Any])


# Fields of a response that have a place in the form; all others stay this dialect's own.
_TOLD = frozenset(
    {
        "model",
        "created_at",
        "message",
        "response",
        "thinking",
        "image",
        "tool_calls",
        "done",
        "done_reason",
        "prompt_eval_count",
        "eval_count",
        "logprobs",
        "error",
    }
)


class _Line(Struct, gc=False):
    """A whole response, or one line of a stream: a chat has `message`, a completion its members at the top."""

    model: Any = None
    created_at: Any = None
    message: Any = None
    response: Any = None
    thinking: Any = None
    image: Any = None
    tool_calls: Any = None
    done: Any = None
    done_reason: Any = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    logprobs: Any = None
    error: Any = None

    def message_fields(self) -> dict[str, Any]:
        """Return the message of this line, under the names that a chat has."""
        if isinstance(self.message, dict):
            return self.message
        return {
            "content": self.response,
            "thinking": self.thinking,
            "images": [self.image],
            "tool_calls": self.tool_calls,
        }


_LINE = msgspec.json.Decoder(_Line)


def _created(at: Any) -> int | None:
    """Return the Unix time of an RFC 3339 date."""
    try:
        date = datetime.fromisoformat(at)
        return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def _usage(line: _Line) -> Usage | None:
    input_tokens, output_tokens = count(line.prompt_eval_count), count(line.eval_count)
    if input_tokens is None and output_tokens is None:
        return None
    known = input_tokens is not None and output_tokens is not None
    total_tokens = (input_tokens or 0) + (output_tokens or 0) if known else None
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=total_tokens)


def read_finish(line: _Line, called: bool) -> tuple[str | None, str | None]:
    """Return the finish reason in the common vocabulary, and the provider's own word if it is another."""
    if line.done is not True:
        return None, None
    word = text(line.done_reason)
    if called and word in {None, "stop"}:
        return "tool_calls", word
    return ("error", word) if is_failure(word) else (word or "stop", None)


def _rest(data: bytes) -> dict[str, Any]:
    """Return the fields of this dialect only: durations, the context, the remote model."""
    whole = decode(data, _OBJECT) or {}
    return {k: v for k, v in whole.items() if k not in _TOLD and v is not None}


def read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or an error body."""
    line = decode(body, _LINE)
    if line is None:
        return ChatResponse()
    message = line.message_fields()
    parts: list[Part] = [Reasoning(content=thought)] if (thought := text(message.get("thinking"))) else []
    rest = _rest(body)
    likely = logprobs(line.logprobs)
    if content := text(message.get("content")):
        parts.append(Text(content=content, logprobs=likely))
    elif likely:
        rest["logprobs"] = line.logprobs
    parts += images(message.get("images"))
    calls = list(objects(message.get("tool_calls")))
    parts += [tool_call(call, made_id(text(line.created_at) or "", n)) for n, call in enumerate(calls)]
    finish = read_finish(line, bool(calls))
    return chat_response(line, parts, finish, usage=_usage(line), error=error_of(line.error), rest=rest)


def chat_response(
    first: _Line,
    parts: list[Part],
    finish: tuple[str | None, str | None],
    *,
    usage: Usage | None,
    error: ReportedError,
    rest: dict[str, Any],
) -> ChatResponse:
    """Return a response from its fields, read whole or streamed."""
    reason, word = finish
    answer = Message(role="assistant", parts=parts, finish_reason=reason, finish_word=word)
    return ChatResponse(
        model=text(first.model),
        finish_reasons=[reason] if reason else [],
        output_messages=[answer] if parts or reason else [],
        usage=usage,
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
        created=_created(first.created_at),
        extra=own(NAME, rest),
    )


def read_embedded(body: bytes) -> ChatResponse:
    """Read an embeddings response; its vectors are not recorded."""
    line = decode(body, _LINE)
    if line is None:
        return ChatResponse()
    input_tokens = count(line.prompt_eval_count)
    error = error_of(line.error)
    return ChatResponse(
        model=text(line.model),
        usage=None if input_tokens is None else Usage(input_tokens=input_tokens, total_tokens=input_tokens),
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
    )


_EXHAUSTED_MESSAGE = re.compile(
    r"you.{0,60} reached your (session|hourly|daily|weekly|monthly) usage limit", re.IGNORECASE
)


def read_failure(error: Mapping[str, Any], message: str) -> Failure:  # noqa: ARG001
    """Read a limit of Ollama's cloud that lasts for hours."""
    return Failure(exhausted=_EXHAUSTED_MESSAGE.match(message) is not None)
