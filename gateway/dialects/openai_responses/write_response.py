"""A response as one of OpenAI's Responses: whole, or an error; `responses_stream` has the same as a stream."""

from collections.abc import Iterator

import msgspec

from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Part, Reasoning, Refusal, Text
from gateway.dialects.openai_responses.read_items import NAME
from gateway.dialects.openai_responses.vocabulary import (
    content_part,
    envelope,
    message_item,
    own_item,
    prove,
    reasoning_item,
    write_error_of,
    write_status,
    write_usage,
)
from gateway.dialects.openai_responses.write_items import Json, result_of, write_reasoning
from gateway.dialects.openai_responses.write_request import write_request
from gateway.dialects.openai_responses.write_stream import ResponsesStreamWriter
from gateway.dialects.shared.tool_ids import ResponseIds
from gateway.dialects.shared.unsupported import Dropped
from gateway.dialects.shared.writer import Writer
from gateway.errors import Kind


def write_response(answered: ChatResponse, asked: ChatRequest, now: float) -> tuple[bytes, list[str]]:
    """Write a whole response: its first choice. An error that came in its place is a response that failed."""
    dropped = Dropped()
    dropped.foreign(answered.extra, NAME)
    if len(answered.output_messages) > 1:
        dropped.add("choices[1]")
    message = answered.output_messages[0] if answered.output_messages else Message(role="assistant", parts=[])
    dropped.foreign(message.extra, NAME)
    ident = answered.id or f"resp_{int(now)}"
    body = envelope(asked, ident, answered.model, answered.created or int(now))
    body["output"] = list(_output(message.parts, ResponseIds(ident), dropped))
    body["status"], body["incomplete_details"] = write_status(message.finish_reason, message.finish_word, dropped)
    if answered.error_type or answered.error_message or body["status"] == "failed":
        body["status"] = "failed"
        body["error"] = write_error_of(answered.error_type, answered.error_message)
    body["usage"] = write_usage(answered.usage)
    if answered.conversation_id:
        body["conversation"] = {"id": answered.conversation_id}
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
    """Add a part to the item that the one before it is in, where it belongs there."""
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


RESPONSES_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=ResponsesStreamWriter, error=write_error
)
