"""A response as a chat completion, or an older completion: whole, as a stream, or an error."""

import msgspec

from gateway.dialects import events
from gateway.dialects.conversation import (
    Answered,
    Asked,
    Blob,
    Citation,
    File,
    Message,
    Reasoning,
    Refusal,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.dropping import Dropped
from gateway.dialects.openai_chat_write import Json, write_call, write_request
from gateway.dialects.openai_request import NAME
from gateway.dialects.turns import word_of
from gateway.dialects.writing import Writer
from gateway.errors import Kind
from gateway.semconv import TEXT_COMPLETION

# The vocabulary is this dialect's own; other words than these are none that its clients know.
_REASONS = {"stop", "length", "content_filter", "tool_calls", "function_call"}


def _reason(reason: str | None, word: str | None) -> str | None:
    if word == "function_call":
        return word
    return reason if reason is None or reason in _REASONS else "stop"


def _usage(usage: Usage) -> Json:
    asked, answered = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": usage.total_tokens if usage.total_tokens is not None else asked + answered,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens or 0}
        | ({} if usage.cache_write_tokens is None else {"cache_write_tokens": usage.cache_write_tokens}),
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
    }


def _logprobs(logprobs: list[TokenLogprob]) -> Json | None:
    return {"content": [_logprob(each) for each in logprobs], "refusal": None} if logprobs else None


def _logprob(each: TokenLogprob) -> Json:
    top = [{"token": t.token, "logprob": t.logprob, "bytes": list(t.token.encode())} for t in each.top]
    return {"token": each.token, "logprob": each.logprob, "bytes": list(each.token.encode()), "top_logprobs": top}


def _annotations(citations: list[Citation]) -> list[Json]:
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "url": each.uri,
                "title": each.title or each.uri,
                "start_index": each.start or 0,
                "end_index": each.end or 0,
            }
            | ({"content": each.quote} if each.quote else {}),
        }
        for each in citations
        if each.uri
    ]


def write_response(answered: Answered, asked: Asked, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response."""
    dropped = Dropped()
    older = asked.operation == TEXT_COMPLETION
    dropped.foreign(answered.extra, NAME)
    body: Json = {
        "id": answered.id or "chatcmpl-0",
        "object": "text_completion" if older else "chat.completion",
        "created": answered.created or int(now),
        "model": answered.model or asked.model,
        "choices": [
            (_older_choice if older else _choice)(number, message, dropped)
            for number, message in enumerate(answered.output_messages)
        ],
    }
    if answered.usage is not None:
        body["usage"] = _usage(answered.usage)
    body |= answered.extra.get(NAME, {})
    return msgspec.json.encode(body), dropped.names


def _choice(number: int, message: Message, dropped: Dropped) -> Json:
    texts: list[str] = []
    logprobs: list[TokenLogprob] = []
    said: Json = {"role": "assistant", "content": None, "refusal": None}
    for index, part in enumerate(message.parts):
        dropped.foreign(getattr(part, "extra", {}), NAME, f"choices[{number}].parts[{index}]")
        match part:
            case Text():
                texts.append(part.content)
                logprobs += part.logprobs
                if part.citations:
                    said["annotations"] = said.get("annotations", []) + _annotations(part.citations)
            case Reasoning():
                if part.content:
                    said["reasoning_content"] = said.get("reasoning_content", "") + part.content
                said |= part.extra.get(NAME, {})
            case Refusal():
                said["refusal"] = part.content
            case ToolCall():
                said.setdefault("tool_calls", []).append(write_call(part, index))
            case Blob(modality="audio"):
                said["audio"] = {"id": f"audio_{number}", "data": part.content, "expires_at": 0, "transcript": ""}
            case File(modality="audio"):
                said["audio"] = {"id": part.file_id}
            case _:
                dropped.add(f"choices[{number}].parts[{index}]: {word_of(part)}")
    if texts:
        said["content"] = "".join(texts)
    return {
        "index": number,
        "message": said,
        "logprobs": _logprobs(logprobs),
        "finish_reason": _reason(message.finish_reason, message.finish_word),
    }


def _older_choice(number: int, message: Message, dropped: Dropped) -> Json:
    for index, part in enumerate(message.parts):
        if not isinstance(part, Text):
            dropped.add(f"choices[{number}].parts[{index}]: {word_of(part)}")
    return {
        "index": number,
        "text": "".join(part.content for part in message.parts if isinstance(part, Text)),
        "logprobs": None,
        "finish_reason": _reason(message.finish_reason, message.finish_word),
    }


class ChatStream:
    """Writes a stream of chunks, and `[DONE]`."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, asked: Asked, now: float) -> None:
        self._older = asked.operation == TEXT_COMPLETION
        self._usage_wanted = asked.include_usage is True
        self._usage: Usage | None = None
        self._head: Json = {
            "id": "chatcmpl-0",
            "object": "text_completion" if self._older else "chat.completion.chunk",
            "created": int(now),
            "model": asked.model,
        }
        self._kinds: dict[tuple[int, int], str] = {}
        self._calls: dict[tuple[int, int], int] = {}  # the number of a call among its choice's
        self._silent: set[tuple[int, int]] = set()  # calls that nothing was said to so far
        self._roles: set[int] = set()
        self._names = Dropped()

    @property
    def dropped(self) -> list[str]:
        """What could not be said so far."""
        return self._names.names

    def write(self, event: events.Event) -> bytes:
        """Take the next event."""
        match event:
            case events.Begun():
                self._head["id"] = event.id or self._head["id"]
                self._head["model"] = event.model or self._head["model"]
                self._head["created"] = event.created or self._head["created"]
                self._names.foreign(event.extra, NAME)
            case events.PartBegun():
                return self._begin(event)
            case events.PartGrown():
                return self._grow(event)
            case events.PartDone():
                return self._done(event)
            case events.ChoiceDone():
                return self._chunk(event.choice, {}, _reason(event.finish_reason or "stop", event.finish_word))
            case events.UsageTold():
                self._usage = event.usage
            case events.Broken():
                return _event({"error": _error(event.message or "the provider's stream broke off", event.type)})
            case events.Ended():
                return self._end()
        return b""

    def _begin(self, event: events.PartBegun) -> bytes:
        at, part = (event.choice, event.index), event.part
        self._kinds[at] = "custom tool call" if isinstance(part, ToolCall) and part.custom else word_of(part)
        if isinstance(part, ToolCall) and not self._older:
            number = self._calls[at] = sum(choice == event.choice for choice, _ in self._calls)
            self._silent.add(at)
            call = write_call(part, event.index)
            call[call["type"]]["input" if part.custom else "arguments"] = ""
            return self._chunk(event.choice, {"tool_calls": [{"index": number, **call}]})
        if not isinstance(part, Text | Reasoning | Refusal) or (self._older and not isinstance(part, Text)):
            self._names.add(f"choices[{event.choice}].parts[{event.index}]: {word_of(part)}")
        return b""

    def _grow(self, event: events.PartGrown) -> bytes:
        at = (event.choice, event.index)
        kind = self._kinds.get(at)
        if self._older:
            return self._chunk(event.choice, {"content": event.text}) if kind == "text" else b""
        match kind:
            case "text":
                return self._chunk(event.choice, {"content": event.text})
            case "reasoning":
                return self._chunk(event.choice, {"reasoning_content": event.text})
            case "refusal":
                return self._chunk(event.choice, {"refusal": event.text})
            case "tool call":
                self._silent.discard(at)
                return self._call(at, "function", {"arguments": event.text})
            case "custom tool call":
                return self._call(at, "custom", {"input": event.text})
        return b""

    def _call(self, at: tuple[int, int], kind: str, said: Json) -> bytes:
        return self._chunk(at[0], {"tool_calls": [{"index": self._calls[at], kind: said}]})

    def _done(self, event: events.PartDone) -> bytes:
        part = event.part
        if isinstance(part, Text | Reasoning | Refusal | ToolCall):
            self._names.foreign(part.extra, NAME, f"choices[{event.choice}].parts[{event.index}]")
        at = (event.choice, event.index)
        if at in self._silent and not (isinstance(part, ToolCall) and part.custom):
            self._silent.discard(at)
            return self._call(at, "function", {"arguments": "{}"})  # no text at all is no JSON to its clients
        if not isinstance(part, Text) or self._older or not (part.citations or part.logprobs):
            return b""
        cited = {"annotations": _annotations(part.citations)} if part.citations else {}
        return self._chunk(event.choice, cited, logprobs=_logprobs(part.logprobs))

    def _chunk(self, choice: int, delta: Json, reason: str | None = None, logprobs: Json | None = None) -> bytes:
        if self._older:
            said: Json = {"index": choice, "text": delta.get("content", ""), "logprobs": None, "finish_reason": reason}
        else:
            if choice not in self._roles:
                self._roles.add(choice)
                delta = {"role": "assistant", "content": None if "tool_calls" in delta else ""} | delta
            said = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        usage = {"usage": None} if self._usage_wanted else {}
        return _event(self._head | {"choices": [said]} | usage)

    def _end(self) -> bytes:
        told = b""
        if self._usage_wanted and self._usage is not None:
            told = _event(self._head | {"choices": [], "usage": _usage(self._usage)})
        return told + b"data: [DONE]\n\n"


def _event(data: Json) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def _error(message: str, word: str | None, kind: Kind = Kind.SERVER) -> Json:
    return {"message": message, "type": kind.fact.openai, "param": None, "code": word or kind.value}


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body."""
    return msgspec.json.encode({"error": _error(message, word, kind)})


CHAT_WRITER = Writer(name=NAME, request=write_request, response=write_response, stream=ChatStream, error=write_error)
