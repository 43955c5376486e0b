"""Anthropic's messages: content as typed blocks, streamed block by block."""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from gateway.dialects import Dialect
from gateway.dialects import parameters as name
from gateway.dialects.anthropic_blocks import read_block, read_blocks
from gateway.dialects.conversation import Answered, Asked, Message, ToolCallResponse, Usage
from gateway.dialects.framing import Event
from gateway.dialects.lenient import count, decode, definitions, error_of, fields, json_value, objects, text
from gateway.dialects.parameters import output_type, parameters
from gateway.dialects.streamed import EventReader
from gateway.semconv import CHAT

__all__ = ["MESSAGES"]


class _Request(Struct, gc=False):
    model: Any = None
    stream: Any = None
    system: Any = None
    messages: Any = None
    tools: Raw = Raw()
    max_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    stop_sequences: Any = None
    thinking: Any = None
    output_config: Any = None
    output_format: Any = None
    metadata: Any = None


_REQUEST = msgspec.json.Decoder(_Request)


def _read_request(body: bytes) -> Asked:
    request = decode(body, _REQUEST)
    if request is None:
        return Asked(operation=CHAT)
    return Asked(
        operation=CHAT,
        model=text(request.model),
        stream=request.stream is True,
        system_instructions=read_blocks(request.system),
        input_messages=[m for message in objects(request.messages) for m in _messages(message)],
        tool_definitions=definitions(request.tools),
        parameters=_parameters(request),
        user=text(fields(request.metadata).get("user_id")),
    )


def _parameters(request: _Request) -> name.Parameters:
    config = fields(request.output_config)
    form = fields(config.get("format")) or fields(request.output_format)
    return parameters(
        {
            name.MAX_TOKENS: request.max_tokens,
            name.TEMPERATURE: request.temperature,
            name.TOP_P: request.top_p,
            name.TOP_K: request.top_k,
            name.STOP_SEQUENCES: request.stop_sequences,
            name.STREAM: request.stream,
            # an effort is the level; without one, how thinking is switched says the most
            name.REASONING_LEVEL: config.get("effort") or fields(request.thinking).get("type"),
            name.OUTPUT_TYPE: output_type(form.get("type")),
        }
    )


def _messages(message: dict[str, Any]) -> list[Message]:
    """Read one turn; tool results, which stand in the user's, become turns of the role tool."""
    role = text(message.get("role")) or "user"
    messages: list[Message] = []
    for part in read_blocks(message.get("content")):
        part_role = "tool" if isinstance(part, ToolCallResponse) else role
        if not messages or messages[-1].role != part_role:
            messages.append(Message(role=part_role, parts=[]))
        messages[-1].parts.append(part)
    return messages or [Message(role=role, parts=[])]


class _Message(Struct, gc=False):
    """A whole response, or the `message` of a stream's first event; an error body too."""

    id: Any = None
    model: Any = None
    content: Any = None
    stop_reason: Any = None
    usage: Any = None
    error: Any = None


_MESSAGE = msgspec.json.Decoder(_Message)

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def _finish_reason(reason: Any) -> str | None:
    word = text(reason)
    return None if word is None else _FINISH_REASONS.get(word, word)


def _usage(reported: dict[str, Any]) -> Usage | None:
    """Read Anthropic's usage, whose input leaves out what the cache gave and took."""
    if not reported:
        return None
    input_tokens = count(reported.get("input_tokens"))
    output_tokens = count(reported.get("output_tokens"))
    cache_read = count(reported.get("cache_read_input_tokens"))
    cache_write = count(reported.get("cache_creation_input_tokens"))
    if input_tokens is not None:
        input_tokens += (cache_read or 0) + (cache_write or 0)
    known = input_tokens is not None and output_tokens is not None
    return Usage(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=(input_tokens or 0) + (output_tokens or 0) if known else None,
        cache_read_tokens=cache_read,
        cache_write_tokens=cache_write,
        reasoning_tokens=count(fields(reported.get("output_tokens_details")).get("thinking_tokens")),
    )


def _read_response(body: bytes) -> Answered:
    whole = decode(body, _MESSAGE)
    if whole is None:
        return Answered()
    return _answered(whole, read_blocks(whole.content), fields(whole.usage), error_of(whole.error))


def _answered(
    message: _Message, parts: list[Any], usage: dict[str, Any], error: tuple[str | None, str | None]
) -> Answered:
    reason = _finish_reason(message.stop_reason)
    answers = bool(parts) or reason is not None
    return Answered(
        id=text(message.id),
        model=text(message.model),
        finish_reasons=[reason] if reason else [],
        output_messages=[Message(role="assistant", parts=parts, finish_reason=reason)] if answers else [],
        usage=_usage(usage),
        error_type=error[0],
        error_message=error[1],
    )


class _Event(Struct, gc=False):
    type: Any = None
    index: Any = 0
    delta: Any = None
    content_block: Any = None
    message: _Message | None = None
    usage: Any = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)

# Which field of a block the pieces of a delta add to, and where in the delta they stand.
_DELTAS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "input_json_delta": ("input", "partial_json"),
    "compaction_delta": ("content", "content"),
}


class _Block:
    """A content block as far as its deltas have come."""

    __slots__ = ("field", "pieces", "start")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = start
        self.field = ""
        self.pieces: list[str] = []

    def whole(self) -> dict[str, Any]:
        """Return the block as a response that was not streamed would have it."""
        if not self.pieces:
            return self.start
        joined = "".join(self.pieces)
        if self.field == "input":
            return {**self.start, "input": json_value(joined)}
        return {**self.start, self.field: (text(self.start.get(self.field)) or "") + joined}


class _MessageReader(EventReader):
    """Reads events from `message_start` to `message_stop`."""

    def __init__(self) -> None:
        super().__init__()
        self._message = _Message()
        self._blocks: dict[int, _Block] = {}
        self._usage: dict[str, Any] = {}
        self._error: tuple[str | None, str | None] = (None, None)

    def _take(self, event: Event) -> bool:
        read = decode(event.data, _EVENT)
        if read is None:
            return False
        match read.type:
            case "content_block_delta":
                self._take_delta(count(read.index) or 0, fields(read.delta))
            case "content_block_start":
                block = fields(read.content_block)
                if self._has_room(len(event.data)):
                    self._blocks[count(read.index) or 0] = _Block(block)
                begins_empty = text(block.get("type")) in {"text", "thinking"}
                self.first_output = self.first_output or not begins_empty
            case "message_start" if read.message is not None:
                self._message = read.message
                # the first event's output tokens are a place-holder: a stream that breaks has told none
                self._take_usage({k: v for k, v in fields(read.message.usage).items() if k != "output_tokens"})
            case "message_delta":
                self._message.stop_reason = fields(read.delta).get("stop_reason") or self._message.stop_reason
                self._take_usage(fields(read.usage))
            case "message_stop":
                self.ended = True
            case "error":
                self._error = error_of(read.error)
                self.ended = True
        return True

    def _take_delta(self, index: int, delta: dict[str, Any]) -> None:
        known = _DELTAS.get(text(delta.get("type")) or "")
        if known is None:
            return
        block = self._blocks.get(index)
        if block is None:
            if not self._has_room(0):
                return
            block = self._blocks[index] = _Block({"type": known[0]})
        block.field = known[0]
        self._keep(block.pieces, delta.get(known[1]))

    def _take_usage(self, usage: dict[str, Any]) -> None:
        self._usage.update({k: v for k, v in usage.items() if v is not None})

    def answered(self) -> Answered:
        """Return what was read so far."""
        parts = [read_block(block.whole()) for _, block in sorted(self._blocks.items())]
        return _answered(self._message, parts, self._usage, self._error)


MESSAGES = Dialect(
    name="anthropic-messages",
    read_request=_read_request,
    read_response=_read_response,
    stream_reader=_MessageReader,
)
