"""Bedrock's Converse and ConverseStream: content as typed blocks, streamed block by block in AWS's binary events.

InvokeModel, whose bodies are each model maker's own, and CountTokens are read for the trace (`invoke`).
"""

import re
from urllib.parse import quote

from msgspec import structs

from gateway.dialects import Dialect
from gateway.dialects.bedrock.invoke import INVOCATIONS, invocation, read_counted
from gateway.dialects.bedrock.read_parts import NAME
from gateway.dialects.bedrock.read_request import model_in, read_conversation, read_request
from gateway.dialects.bedrock.read_response import read_failure, read_response
from gateway.dialects.bedrock.read_stream import ConverseStreamReader
from gateway.dialects.bedrock.write_request import write_request
from gateway.dialects.bedrock.write_response import error_type, write_error, write_response
from gateway.dialects.bedrock.write_stream import ConverseStreamWriter
from gateway.dialects.conversation import ChatRequest
from gateway.dialects.endpoint import Endpoint, PathOperation
from gateway.dialects.events import Broken
from gateway.dialects.shared.usage import counting
from gateway.dialects.shared.writer import Writer
from gateway.errors import Kind
from gateway.semconv import CHAT

__all__ = ["CONVERSE", "ENDPOINT", "model_in"]


CONVERSE = Dialect(
    name=NAME,
    read_request=read_request,
    read_response=read_response,
    stream_reader=ConverseStreamReader,
    read_conversation=read_conversation,
)


COUNT_TOKENS = structs.replace(counting(CONVERSE, "bedrock-count-tokens", "inputTokens"), read_request=read_counted)


CONVERSE_WRITER = Writer(
    name=NAME,
    request=write_request,
    response=write_response,
    stream=ConverseStreamWriter,
    error=write_error,
)


def _operation(method: str, path: str) -> PathOperation | None:
    if "/model/" not in path or (called := model_in(path)) is None:
        return None
    model, operation = called
    if operation.startswith("converse"):
        dialect = CONVERSE
    else:
        dialect = COUNT_TOKENS if operation == "count-tokens" else invocation(model)
    return PathOperation(NAME, dialect if method == "POST" else None, model, operation.endswith("stream"))


def _with_model(path: str, model: str) -> str:
    """Return a path with another model.

    >>> _with_model("/model/bedrock%2Fa.b:0/converse", "a.b:0")
    '/model/a.b%3A0/converse'
    """
    return f"/model/{quote(model, safe='')}/{path.rstrip('/').rpartition('/')[2]}"


def _error_frame(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    stream = CONVERSE_WRITER.stream(ChatRequest(operation=CHAT, stream=True), 0.0)
    return stream.write(Broken(type=word, message=message))


ENDPOINT = Endpoint(
    name=NAME,
    dialect=NAME,
    writer=CONVERSE_WRITER,
    provider="aws-bedrock",
    path_operations=(CONVERSE, *INVOCATIONS, COUNT_TOKENS),
    read_path=_operation,
    write_path=_with_model,
    paths=re.compile(r"^/+model/"),
    stream_type="application/vnd.amazon.eventstream",
    framed=True,
    header_prefixes=(b"x-amz-", b"amz-"),
    error=write_error,
    error_event=_error_frame,
    error_headers=lambda kind, status: {"x-amzn-ErrorType": error_type(kind, status)},
    read_failure=read_failure,
)
