"""A response as a message of Anthropic's: whole, or an error; `anthropic_stream` has the same as a stream."""

from typing import Any

import msgspec

from gateway.dialects.anthropic.read_blocks import NAME
from gateway.dialects.anthropic.vocabulary import STATUS_TYPES, error_type, write_reason, write_usage
from gateway.dialects.anthropic.write_blocks import ID_FORM, shown_citations, write_block
from gateway.dialects.anthropic.write_request import write_request
from gateway.dialects.anthropic.write_stream import MessagesStreamWriter
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Part, Reasoning, Refusal, Text
from gateway.dialects.shared.opaque_state import encode_state, foreign
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.unsupported import Dropped
from gateway.dialects.shared.writer import Writer
from gateway.errors import Kind

Json = dict[str, Any]


def write_response(answered: ChatResponse, asked: ChatRequest, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response: its first choice. An error that came in its place is written as one."""
    dropped = Dropped()
    dropped.foreign(answered.extra, NAME)
    if answered.error_type or answered.error_message:
        told = answered.error_message or "the provider told of an error"
        error = {"type": error_type(answered.error_type), "message": told}
        return msgspec.json.encode({"type": "error", "error": error}), dropped.names
    if len(answered.output_messages) > 1:
        dropped.add("choices[1]")
    message = answered.output_messages[0] if answered.output_messages else Message(role="assistant", parts=[])
    dropped.foreign(message.extra, NAME)
    own = message.extra.get(NAME, {})
    ident = answered.id or f"msg_{int(now)}"
    parts = ResponseIds(ident, ID_FORM).identified(message.parts)
    body: Json = {
        "id": ident,
        "type": "message",
        "role": "assistant",
        "model": answered.model or asked.model,
        "content": [block for i, part in enumerate(parts) if (block := _block(part, i, dropped)) is not None],
        "stop_reason": write_reason(message.finish_reason, message.finish_word, dropped),
        "stop_sequence": own.get("stop_sequence"),
        "usage": write_usage(answered.usage),
    }
    if "stop_details" in own:
        body["stop_details"] = own["stop_details"]
    return msgspec.json.encode(body), dropped.names


def _block(part: Part, index: int, dropped: Dropped) -> Json | None:
    path = f"content[{index}]"
    if isinstance(part, Reasoning) and not part.extra.get(NAME):
        others = foreign(part.extra, NAME)
        signature = encode_state(others) if others else ""
        thinking = {"type": "thinking", "thinking": part.content, "signature": signature}
        return thinking if part.content or others else None
    dropped.foreign(getattr(part, "extra", {}), NAME, path)
    match part:
        case Text() if not part.extra.get(NAME):
            if part.logprobs:
                dropped.add("logprobs")
            citations = shown_citations(part.citations)
            if len(citations) < len(part.citations):
                dropped.add(f"{path}.citations")
            # A null here is none that all clients take.
            return {"type": "text", "text": part.content} | ({"citations": citations} if citations else {})
        case Refusal():
            return {"type": "text", "text": part.content}
    block = write_block(part, path, dropped)
    if block is None:
        dropped.add_part(part, path)
    return block


def write_error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body. Its type is what the status says, since that is what clients go by."""
    error = {"type": STATUS_TYPES.get(status, kind.fact.anthropic), "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


MESSAGES_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=MessagesStreamWriter, error=write_error
)
