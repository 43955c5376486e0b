"""A response as one of OpenAI's Responses: whole, as a stream, or an error."""

from typing import Any

import msgspec

from gateway.dialects import events
from gateway.dialects import parameters as name
from gateway.dialects.conversation import (
    Answered,
    Asked,
    Citation,
    Message,
    Part,
    Reasoning,
    Refusal,
    ServerToolCallResponse,
    Text,
    TokenLogprob,
    ToolCall,
    Usage,
)
from gateway.dialects.dropping import Dropped
from gateway.dialects.responses_items import NAME
from gateway.dialects.responses_write import Json, write_item, write_request
from gateway.dialects.turns import word_of
from gateway.dialects.writing import Writer
from gateway.errors import Kind


def _usage(usage: Usage) -> Json:
    asked, answered = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "input_tokens": asked,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens or 0}
        | ({} if usage.cache_write_tokens is None else {"cache_write_tokens": usage.cache_write_tokens}),
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens if usage.total_tokens is not None else asked + answered,
    }


def _annotations(citations: list[Citation], path: str, dropped: Dropped) -> list[Json]:
    written = []
    for each in citations:
        if own := each.extra.get(NAME):
            written.append(own)
        elif each.uri:
            places = {"start_index": each.start or 0, "end_index": each.end or 0}
            written.append({"type": "url_citation", "url": each.uri, "title": each.title or each.uri, **places})
        else:
            dropped.add(f"{path}.citations")
    return written


def _logprobs(logprobs: list[TokenLogprob]) -> list[Json]:
    return [
        {
            "token": each.token,
            "logprob": each.logprob,
            "bytes": list(each.token.encode()),
            "top_logprobs": [
                {"token": t.token, "logprob": t.logprob, "bytes": list(t.token.encode())} for t in each.top
            ],
        }
        for each in logprobs
    ]


def _part(part: Text | Refusal, path: str, dropped: Dropped) -> Json:
    """Write what stands in a message's content."""
    dropped.foreign(part.extra, NAME, path)
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.content}
    return {
        "type": "output_text",
        "text": part.content,
        "annotations": _annotations(part.citations, path, dropped),
        "logprobs": _logprobs(part.logprobs),
    }


def _item(part: Part, number: int, response_id: str, dropped: Dropped) -> Json | None:
    """Write a part as an output item; None where there is no word for it."""
    path = f"output[{number}]"
    ident = f"{response_id.removeprefix('resp_')}_{number}"
    match part:
        case Text() | Refusal():
            content = [_part(part, path, dropped)]
            return {
                "type": "message",
                "id": f"msg_{ident}",
                "status": "completed",
                "role": "assistant",
                "content": content,
            }
        case Reasoning():
            own = part.extra.get(NAME, {})
            dropped.foreign(part.extra, NAME, path)
            summary = [{"type": "summary_text", "text": part.content}] if part.content else []
            return {"type": "reasoning", "id": f"rs_{ident}", "summary": summary, **own}
        case ToolCall():
            item = write_item(part, number, path, dropped) or {}
            return item if "id" in item else {**item, "id": f"fc_{ident}", "status": "completed"}
        case ServerToolCallResponse():
            return {}
    written = write_item(part, number, path, dropped)
    if written is None:
        dropped.add(f"{path}: {word_of(part)}")
    return written


def _status(reason: str | None) -> tuple[str, Json | None]:
    match reason:
        case "length":
            return "incomplete", {"reason": "max_output_tokens"}
        case "content_filter":
            return "incomplete", {"reason": "content_filter"}
        case "error":
            return "failed", None
    return "completed", None


def _envelope(asked: Asked, ident: str, model: str | None, created: int) -> Json:
    """Return all that a response repeats of its request; its SDKs want most of it to be there."""
    system = "\n\n".join(part.content for part in asked.system_instructions if isinstance(part, Text))
    return {
        "id": ident,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": system or None,
        "max_output_tokens": asked.parameters.get(name.MAX_TOKENS),
        "metadata": asked.metadata,
        "model": model or asked.model,
        "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": asked.parameters.get(name.PREVIOUS_RESPONSE_ID),
        "reasoning": {"effort": asked.parameters.get(name.REASONING_LEVEL), "summary": None},
        "store": False,
        "temperature": asked.parameters.get(name.TEMPERATURE, 1.0),
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": asked.parameters.get(name.TOP_P, 1.0),
        "truncation": "disabled",
        "usage": None,
        "user": asked.user,
    }


def write_response(answered: Answered, asked: Asked, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response: its first choice."""
    dropped = Dropped()
    dropped.foreign(answered.extra, NAME)
    if len(answered.output_messages) > 1:
        dropped.add("choices[1]")
    message = answered.output_messages[0] if answered.output_messages else Message(role="assistant", parts=[])
    ident = answered.id or "resp_0"
    body = _envelope(asked, ident, answered.model, answered.created or int(now))
    items = (_item(part, number, ident, dropped) for number, part in enumerate(message.parts))
    body["output"] = [item for item in items if item]
    body["status"], body["incomplete_details"] = _status(message.finish_reason)
    body["usage"] = None if answered.usage is None else _usage(answered.usage)
    if answered.conversation_id:
        body["conversation"] = {"id": answered.conversation_id}
    return msgspec.json.encode(body), dropped.names


class ResponseStream:
    """Writes the events of one response; each part of the answer is an item of its own."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, asked: Asked, now: float) -> None:
        self._asked = asked
        self._now = int(now)
        self._body: Json | None = None
        self._sequence = 0
        self._items: dict[int, int] = {}  # the number of a part -> that of its item
        self._kinds: dict[int, Part] = {}
        self._output: dict[int, Json] = {}
        self._usage: Usage | None = None
        self._reason: events.ChoiceDone | None = None
        self._names = Dropped()

    @property
    def dropped(self) -> list[str]:
        """What could not be said so far."""
        return self._names.names

    def write(self, event: events.Event) -> bytes:
        """Take the next event."""
        match event:
            case events.Begun():
                self._names.foreign(event.extra, NAME)
                return self._begin(event)
            case events.PartBegun(choice=0):
                return self._begin(None) + self._begin_part(event)
            case events.PartGrown(choice=0):
                return self._grow(event)
            case events.PartDone(choice=0):
                return self._done(event)
            case events.PartBegun():
                self._names.add(f"choices[{event.choice}]")
            case events.ChoiceDone(choice=0):
                self._reason = event
            case events.UsageTold():
                self._usage = event.usage
            case events.Broken():
                message = event.message or "the provider's stream broke off"
                said = {"code": event.type or "server_error", "message": message}
                return self._begin(None) + self._end("failed", error=said)
            case events.Ended():
                return self._begin(None) + self._end()
        return b""

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return f"event: {kind}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"

    def _begin(self, begun: events.Begun | None) -> bytes:
        if self._body is not None:
            return b""
        said = begun or events.Begun()
        self._body = _envelope(self._asked, said.id or "resp_0", said.model, said.created or self._now)
        return self._event("response.created", response=self._body) + self._event(
            "response.in_progress", response=self._body
        )

    def _ident(self) -> str:
        return str((self._body or {}).get("id") or "resp_0")

    def _begin_part(self, event: events.PartBegun) -> bytes:
        part = event.part
        number = len(self._items)
        item = _item(part, number, self._ident(), self._names)
        if not item:
            return b""
        self._items[event.index] = number
        self._kinds[event.index] = part
        at = {"item_id": item["id"], "output_index": number}
        begun: Json = {**item, "status": "in_progress"}
        match part:
            case Text() | Refusal():
                begun["content"] = []
            case Reasoning():
                begun = {**item, "summary": []}
            case ToolCall():
                begun["input" if part.custom else "arguments"] = ""
        told = self._event("response.output_item.added", output_index=number, item=begun)
        if isinstance(part, Text | Refusal):
            told += self._event("response.content_part.added", **at, content_index=0, part=item["content"][0])
        elif isinstance(part, Reasoning):
            empty = {"type": "summary_text", "text": ""}
            told += self._event("response.reasoning_summary_part.added", **at, summary_index=0, part=empty)
        return told

    def _at(self, index: int) -> Json | None:
        number = self._items.get(index)
        if number is None:
            return None
        item = _item(self._kinds[index], number, self._ident(), Dropped()) or {}
        return {"item_id": item.get("id"), "output_index": number}

    def _grow(self, event: events.PartGrown) -> bytes:
        at = self._at(event.index)
        if at is None:
            return b""
        match self._kinds[event.index]:
            case Text():
                return self._event("response.output_text.delta", **at, content_index=0, delta=event.text, logprobs=[])
            case Refusal():
                return self._event("response.refusal.delta", **at, content_index=0, delta=event.text)
            case Reasoning():
                return self._event("response.reasoning_summary_text.delta", **at, summary_index=0, delta=event.text)
            case ToolCall(custom=True):
                return self._event("response.custom_tool_call_input.delta", **at, delta=event.text)
            case ToolCall():
                return self._event("response.function_call_arguments.delta", **at, delta=event.text)
        return b""

    def _done(self, event: events.PartDone) -> bytes:
        at, part = self._at(event.index), event.part
        if at is None:
            return b""
        number: int = at["output_index"]
        item = _item(part, number, self._ident(), self._names)
        if not item:
            return b""
        item["id"] = at["item_id"]
        self._output[number] = item
        told = b""
        match part:
            case Text():
                said = item["content"][0]
                told = self._event(
                    "response.output_text.done", **at, content_index=0, text=part.content, logprobs=said["logprobs"]
                )
                for place, each in enumerate(said["annotations"]):
                    told += self._event(
                        "response.output_text.annotation.added",
                        **at,
                        content_index=0,
                        annotation_index=place,
                        annotation=each,
                    )
                told += self._event("response.content_part.done", **at, content_index=0, part=said)
            case Refusal():
                told = self._event("response.refusal.done", **at, content_index=0, refusal=part.content)
                told += self._event("response.content_part.done", **at, content_index=0, part=item["content"][0])
            case Reasoning():
                said = {"type": "summary_text", "text": part.content}
                told = self._event("response.reasoning_summary_text.done", **at, summary_index=0, text=part.content)
                told += self._event("response.reasoning_summary_part.done", **at, summary_index=0, part=said)
            case ToolCall(custom=True):
                told = self._event("response.custom_tool_call_input.done", **at, input=item["input"])
            case ToolCall() if "arguments" in item:
                told = self._event(
                    "response.function_call_arguments.done", **at, name=part.name, arguments=item["arguments"]
                )
        return told + self._event("response.output_item.done", output_index=number, item=item)

    def _end(self, status: str | None = None, error: Json | None = None) -> bytes:
        reason = self._reason or events.ChoiceDone(finish_reason=None)
        said, details = _status(reason.finish_reason)
        body = {
            **(self._body or {}),
            "status": status or said,
            "incomplete_details": details,
            "error": error,
            "output": [item for _, item in sorted(self._output.items())],
            "usage": None if self._usage is None else _usage(self._usage),
        }
        return self._event(f"response.{body['status']}", response=body)


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body."""
    error = {"message": message, "type": kind.fact.openai, "param": None, "code": word or kind.value}
    return msgspec.json.encode({"error": error})


RESPONSES_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=ResponseStream, error=write_error
)
