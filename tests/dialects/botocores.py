"""Botocore's model of Bedrock's Converse: a check of requests, and parsers of responses and streams."""

import re
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.eventstream import EventStream
from botocore.model import OperationModel, Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from gateway.dialects.wire.eventstream import event, exception

MODEL = botocore.session.Session().get_service_model("bedrock-runtime")


def operation(*, stream: bool) -> OperationModel:
    """Return Converse's model, or ConverseStream's."""
    return MODEL.operation_model("ConverseStream" if stream else "Converse")


def checked(body: dict[str, Any], model: str, *, stream: bool) -> dict[str, Any]:
    """Check a request by botocore's parameter validation and by the model's bounds; return what botocore would send."""
    shape = operation(stream=stream).input_shape
    parameters = given(shape, {"modelId": model, **body})
    report = ParamValidator().validate(parameters, shape)
    assert not report.has_errors(), report.generate_report()
    serializer = create_serializer("rest-json", include_validation=False)
    sent: dict[str, Any] = serializer.serialize_to_request(parameters, operation(stream=stream))
    return sent


def given(shape: Shape, value: Any) -> Any:
    """Return JSON as the Python values that botocore is given, after a check of patterns, words and lengths."""
    if getattr(shape, "is_document_type", False):
        return value
    match shape.type_name:
        case "structure":
            assert not getattr(shape, "is_tagged_union", False) or len(value) == 1, value
            assert value.keys() <= shape.members.keys(), (shape.name, value)
            return {key: given(shape.members[key], each) for key, each in value.items()}
        case "list":
            return [given(shape.member, each) for each in value]
        case "map":
            return {given(shape.key, key): given(shape.value, each) for key, each in value.items()}
        case "blob":
            return b64decode(value, validate=True)
        case "string":
            assert not shape.enum or value in shape.enum, (shape.name, value)
            pattern = shape.metadata.get("pattern")
            assert not pattern or re.fullmatch(pattern, value), (shape.name, value)
            assert len(value) <= shape.metadata.get("max", len(value)), (shape.name, value)
        case "integer" | "float":
            assert value <= shape.metadata.get("max", value), (shape.name, value)
    return value


def parsed(body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Read a response as botocore's client does."""
    response = {"status_code": status, "headers": headers or {}, "body": body}
    found: dict[str, Any] = create_parser("rest-json").parse(response, operation(stream=False).output_shape)
    return found


class Raw:
    """Bytes as botocore's event stream wants them."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def stream(self) -> Iterator[bytes]:
        """Give the pieces."""
        yield from self._pieces

    def close(self) -> None:
        """Have nothing to close."""


def streamed(*pieces: bytes) -> list[dict[str, Any]]:
    """Read a stream as botocore's client does; raises its EventStreamError for an exception."""
    shape = operation(stream=True).output_shape.members["stream"]
    parser = create_parser("rest-json")
    return list(EventStream(Raw(list(pieces)), shape, parser._event_stream_parser, "ConverseStream"))


def framed(events: bytes) -> list[bytes]:
    """Return the frames of a fixture, which has an event a line: its name and its payload; `!` before an exception."""
    lines = [line.partition(b" ") for line in events.splitlines()]
    return [
        exception(name[1:].decode(), payload) if name.startswith(b"!") else event(name.decode(), payload)
        for name, _, payload in lines
    ]
