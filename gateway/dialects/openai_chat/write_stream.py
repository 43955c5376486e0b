"""A streamed response as chunks of a chat completion, or of an older completion."""

import msgspec

from gateway.dialects import events
from gateway.dialects.conversation import (
    ChatRequest,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.openai_chat.read_parts import GAP, NAME
from gateway.dialects.openai_chat.write_parts import Json, annotations, uncited, write_call, write_thought
from gateway.dialects.openai_chat.write_response import _WRITTEN_KINDS, _error, _logprobs, _lost, _reason, _usage
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.writer import StreamWriter, part_kind
from gateway.semconv import TEXT_COMPLETION


class ChatStreamWriter(StreamWriter):
    """Writes a stream of chunks, and `[DONE]`."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, request: ChatRequest, now: float) -> None:
        super().__init__()
        self._older = request.operation == TEXT_COMPLETION
        self._usage_wanted = request.include_usage is True
        self._usage: Usage | None = None
        self._ids = ResponseIds(str(int(now)))
        self._head: Json = {
            "id": f"chatcmpl-{int(now)}",
            "object": "text_completion" if self._older else "chat.completion.chunk",
            "created": int(now),
            "model": request.model,
        }
        self._kinds: dict[tuple[int, int], str] = {}
        self._calls: dict[tuple[int, int], int] = {}  # the number of a call among its choice's
        self._silent: set[tuple[int, int]] = set()  # calls without arguments so far
        self._roles: set[int] = set()
        self._sent_length: dict[int, int] = {}  # how long the texts of a choice are so far
        self._cited: dict[int, int] = {}  # how many citations a choice has
        self._proofs: dict[int, int] = {}  # how many details of its reasoning
        self._gaps: dict[tuple[int, int], str] = {}  # text before a part's first piece

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
            case events.UsageUpdated():
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
            call_id = self._ids.id_of(part, event.index, event.choice)
            call = write_call(msgspec.structs.replace(part, id=call_id))
            call[call["type"]]["input" if part.custom else "arguments"] = ""
            return self._chunk(event.choice, {"tool_calls": [{"index": number, **call}]})
        before = self._kinds.get((event.choice, event.index - 1))
        if not isinstance(part, Text | Reasoning | Refusal) or (self._older and not isinstance(part, Text)):
            self._dropped.add_part(part, f"choices[{event.choice}].parts[{event.index}]")
        elif (isinstance(part, Reasoning) and before == "reasoning") or (
            isinstance(part, Text) and before not in _WRITTEN_KINDS and self._sent_length.get(event.choice)
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
                self._sent_length[event.choice] = self._sent_length.get(event.choice, 0) + len(text)
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

    def _call(self, at: tuple[int, int], kind: str, body: Json) -> bytes:
        return self._chunk(at[0], {"tool_calls": [{"index": self._calls[at], kind: body}]})

    def _done(self, event: events.PartDone) -> bytes:
        part, at = event.part, (event.choice, event.index)
        path = f"choices[{event.choice}].parts[{event.index}]"
        self._dropped.foreign(_lost(part), NAME, path)
        match part:
            case ToolCall(custom=False) if at in self._silent:
                self._silent.discard(at)
                return self._call(at, "function", {"arguments": "{}"})  # no text at all is no JSON to its clients
            case Reasoning() if not self._older:
                message: Json = {}
                write_thought(part, message, carries=True)
                message.pop("reasoning_content", None)
                first = self._proofs.get(event.choice, 0)
                numbered = [{"index": n, **each} for n, each in enumerate(message.get("reasoning_details", []), first)]
                self._proofs[event.choice] = first + len(numbered)
                return self._chunk(event.choice, {"reasoning_details": numbered}) if numbered else b""
            case Text():
                before = self._sent_length.get(event.choice, 0) - len(part.content)
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
            item: Json = {"index": choice, "text": delta.get("content", ""), "logprobs": None, "finish_reason": reason}
        else:
            if choice not in self._roles:
                self._roles.add(choice)
                delta = {"role": "assistant", "content": None if "tool_calls" in delta else ""} | delta
            item = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        usage = {"usage": None} if self._usage_wanted else {}
        return _event(self._head | {"choices": [item]} | usage)

    def _end(self) -> bytes:
        data = b""
        if self._usage_wanted and (usage := _usage(self._usage)) is not None:
            data = _event(self._head | {"choices": [], "usage": usage})
        return data + b"data: [DONE]\n\n"


def _event(data: Json) -> bytes:
    return b"data: " + msgspec.json.encode(data) + b"\n\n"
