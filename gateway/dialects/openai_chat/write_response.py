"""A response as a chat completion, or an older completion: whole, as a stream, or an error."""

from functools import partial

import msgspec

from gateway.dialects import events
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
from gateway.dialects.openai_chat.read_request import GAP, NAME
from gateway.dialects.openai_chat.write_parts import Json, annotations, uncited, unsigned, write_call, write_thought
from gateway.dialects.openai_chat.write_request import write_request
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.unsupported import Dropped, part_kind
from gateway.dialects.shared.writer import StreamWriter, Writer
from gateway.errors import Kind
from gateway.semconv import TEXT_COMPLETION

# What keeps texts apart, or is a text.
_SAID = frozenset({"text", "reasoning", "refusal", "tool call", "custom tool call"})
# The vocabulary is this dialect's own; other words than these are none that its clients know.
_REASONS = {"stop", "length", "content_filter", "tool_calls", "function_call"}


def _reason(reason: str | None, word: str | None, dropped: Dropped) -> str | None:
    if word == "function_call":
        return word
    if reason is None or reason in _REASONS:
        return reason
    dropped.add(f"finish_reason: {word or reason}")
    return "stop"


def _usage(usage: Usage | None) -> Json | None:
    """Write what was counted, None where nothing was; the SDK wants the three sums, and no more."""
    if usage is None or (usage.input_tokens is None and usage.output_tokens is None):
        return None
    asked, answered = usage.input_tokens or 0, usage.output_tokens or 0
    prompt = {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens}
    completion = {"reasoning_tokens": usage.reasoning_tokens}
    said: Json = {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": usage.total_tokens if usage.total_tokens is not None else asked + answered,
    }
    for key, details in (("prompt_tokens_details", prompt), ("completion_tokens_details", completion)):
        if known := {name: value for name, value in details.items() if value is not None}:
            said[key] = known
    return said


def _logprobs(logprobs: list[TokenLogprob]) -> Json | None:
    return {"content": [_logprob(each) for each in logprobs], "refusal": None} if logprobs else None


def _logprob(each: TokenLogprob) -> Json:
    top = [{"token": t.token, "logprob": t.logprob, "bytes": list(t.token.encode())} for t in each.top]
    return {"token": each.token, "logprob": each.logprob, "bytes": list(each.token.encode()), "top_logprobs": top}


def write_response(answered: ChatResponse, asked: ChatRequest, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response; an error that came in its place is written as one."""
    dropped = Dropped()
    older = asked.operation == TEXT_COMPLETION
    dropped.foreign(answered.extra, NAME)
    if answered.error_type or answered.error_message:
        error = _error(answered.error_message or "the provider told of an error", answered.error_type)
        return msgspec.json.encode({"error": error}), dropped.names
    created = answered.created or int(now)
    ids = ResponseIds(answered.id or str(created))
    body: Json = {
        "id": answered.id or f"chatcmpl-{created}",
        "object": "text_completion" if older else "chat.completion",
        "created": created,
        "model": answered.model or asked.model,
        "choices": [
            _older_choice(number, message, dropped) if older else _choice(number, message, ids, dropped)
            for number, message in enumerate(answered.output_messages)
        ],
    }
    if (usage := _usage(answered.usage)) is not None:
        body["usage"] = usage
    body |= answered.extra.get(NAME, {})
    return msgspec.json.encode(body), dropped.names


def _choice(number: int, message: Message, ids: ResponseIds, dropped: Dropped) -> Json:
    text = gap = ""
    logprobs: list[TokenLogprob] = []
    said: Json = {"role": "assistant", "content": None, "refusal": None}
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
                    said["annotations"] = said.get("annotations", []) + annotations(
                        part.citations, part.content, len(text)
                    )
                if uncited(part.citations):
                    dropped.add(f"{path}.citations")
                text += part.content
                said["content"] = text
            case Reasoning():
                write_thought(part, said, carries=True)
            case Refusal():
                said["refusal"] = (said["refusal"] or "") + part.content
            case ToolCall():
                call = msgspec.structs.replace(part, id=ids.id_of(part, index, number))
                said.setdefault("tool_calls", []).append(write_call(call))
            case Blob(modality="audio"):
                said["audio"] = {"id": f"audio_{number}", "data": part.content, "expires_at": 0, "transcript": ""}
            case File(modality="audio"):
                said["audio"] = {"id": part.file_id}
            case _:
                dropped.add_part(part, path)
                gap = GAP
    return {
        "index": number,
        "message": said,
        "logprobs": _logprobs(logprobs),
        "finish_reason": _reason(message.finish_reason, message.finish_word, dropped),
    }


def _lost(part: Part) -> Extra:
    """Return what of a part's `extra` is not told to the client in some form."""
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


class ChatStreamWriter(StreamWriter):
    """Writes a stream of chunks, and `[DONE]`."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, asked: ChatRequest, now: float) -> None:
        super().__init__()
        self._older = asked.operation == TEXT_COMPLETION
        self._usage_wanted = asked.include_usage is True
        self._usage: Usage | None = None
        self._ids = ResponseIds(str(int(now)))
        self._head: Json = {
            "id": f"chatcmpl-{int(now)}",
            "object": "text_completion" if self._older else "chat.completion.chunk",
            "created": int(now),
            "model": asked.model,
        }
        self._kinds: dict[tuple[int, int], str] = {}
        self._calls: dict[tuple[int, int], int] = {}  # the number of a call among its choice's
        self._silent: set[tuple[int, int]] = set()  # calls that nothing was said to so far
        self._roles: set[int] = set()
        self._said: dict[int, int] = {}  # how long the texts of a choice are so far
        self._cited: dict[int, int] = {}  # how many citations a choice has
        self._proofs: dict[int, int] = {}  # how many details of its reasoning
        self._gaps: dict[tuple[int, int], str] = {}  # what stands before a part's first text

    def _write(self, event: events.Event) -> bytes:
        match event:
            case events.Begun():
                self._ids.response_id = event.id or str(event.created or self._head["created"])
                self._head["id"] = event.id or self._head["id"]
                self._head["model"] = event.model or self._head["model"]
                self._head["created"] = event.created or self._head["created"]
                self._dropped.foreign(event.extra, NAME)
            case events.PartBegun():
                return self._begin(event)
            case events.PartGrown():
                return self._grow(event)
            case events.PartDone():
                return self._done(event)
            case events.ChoiceDone():
                self._dropped.foreign(event.extra, NAME, f"choices[{event.choice}]")
                reason = _reason(event.finish_reason or "stop", event.finish_word, self._dropped)
                return self._chunk(event.choice, {}, reason)
            case events.UsageTold():
                self._usage = event.usage
            case events.Broken():
                return _event({"error": _error(event.message or "the provider's stream broke off", event.type)})
            case events.Ended():
                return self._end()
        return b""

    def _begin(self, event: events.PartBegun) -> bytes:
        at, part = (event.choice, event.index), event.part
        self._kinds[at] = "custom tool call" if isinstance(part, ToolCall) and part.custom else part_kind(part)
        if isinstance(part, ToolCall) and not self._older:
            number = self._calls[at] = sum(choice == event.choice for choice, _ in self._calls)
            self._silent.add(at)
            made = self._ids.id_of(part, event.index, event.choice)
            call = write_call(msgspec.structs.replace(part, id=made))
            call[call["type"]]["input" if part.custom else "arguments"] = ""
            return self._chunk(event.choice, {"tool_calls": [{"index": number, **call}]})
        said = self._kinds.get((event.choice, event.index - 1))
        if not isinstance(part, Text | Reasoning | Refusal) or (self._older and not isinstance(part, Text)):
            self._dropped.add_part(part, f"choices[{event.choice}].parts[{event.index}]")
        elif (isinstance(part, Reasoning) and said == "reasoning") or (
            isinstance(part, Text) and said not in _SAID and self._said.get(event.choice)
        ):
            self._gaps[at] = GAP
        return b""

    def _grow(self, event: events.PartGrown) -> bytes:
        at = (event.choice, event.index)
        kind = self._kinds.get(at)
        text = self._gaps.pop(at, "") + event.text
        if self._older:
            return self._chunk(event.choice, {"content": text}) if kind == "text" else b""
        match kind:
            case "text":
                self._said[event.choice] = self._said.get(event.choice, 0) + len(text)
                return self._chunk(event.choice, {"content": text})
            case "reasoning":
                return self._chunk(event.choice, {"reasoning_content": text})
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
        part, at = event.part, (event.choice, event.index)
        path = f"choices[{event.choice}].parts[{event.index}]"
        self._dropped.foreign(_lost(part), NAME, path)
        match part:
            case ToolCall(custom=False) if at in self._silent:
                self._silent.discard(at)
                return self._call(at, "function", {"arguments": "{}"})  # no text at all is no JSON to its clients
            case Reasoning() if not self._older:
                said: Json = {}
                write_thought(part, said, carries=True)
                said.pop("reasoning_content", None)
                first = self._proofs.get(event.choice, 0)
                numbered = [{"index": n, **each} for n, each in enumerate(said.get("reasoning_details", []), first)]
                self._proofs[event.choice] = first + len(numbered)
                return self._chunk(event.choice, {"reasoning_details": numbered}) if numbered else b""
            case Text():
                before = self._said.get(event.choice, 0) - len(part.content)
                if uncited(part.citations):
                    self._dropped.add(f"{path}.citations")
                first = self._cited.get(event.choice, 0)
                cited = annotations(part.citations, part.content, before, first)
                self._cited[event.choice] = first + len(cited)
                if (cited or part.logprobs) and not self._older:
                    delta = {"annotations": cited} if cited else {}
                    return self._chunk(event.choice, delta, logprobs=_logprobs(part.logprobs))
        return b""

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
        if self._usage_wanted and (usage := _usage(self._usage)) is not None:
            told = _event(self._head | {"choices": [], "usage": usage})
        return told + b"data: [DONE]\n\n"


def _event(data: Json) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def _error(message: str, word: str | None, kind: Kind = Kind.SERVER) -> Json:
    return {"message": message, "type": kind.fact.openai, "param": None, "code": word or kind.value}


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body."""
    return msgspec.json.encode({"error": _error(message, word, kind)})


CHAT_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=ChatStreamWriter, error=write_error
)
# For providers that take marks of what is to be cached.
MARKING_CHAT_WRITER = msgspec.structs.replace(CHAT_WRITER, request=partial(write_request, marks=True))
