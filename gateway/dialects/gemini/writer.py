"""Gemini's generateContent and streamGenerateContent as they are written."""

from gateway.dialects.gemini.errors import write_error
from gateway.dialects.gemini.fields import NAME
from gateway.dialects.gemini.write_request import write_request
from gateway.dialects.gemini.write_response import array_stream, stream, write_response
from gateway.dialects.shared.writer import Writer
from gateway.errors import Kind

__all__ = ["GEMINI_ARRAY_WRITER", "GEMINI_WRITER"]


def _error(kind: Kind, status: int, message: str, word: str | None, request_id: str) -> bytes:  # noqa: ARG001
    """Write an error body; the clients tell errors apart by their status alone."""
    return write_error(status, message, word, request_id)


GEMINI_WRITER = Writer(name=NAME, request=write_request, response=write_response, stream=stream, error=_error)

# For a client whose path has no `alt=sse`: its stream is one JSON array.
GEMINI_ARRAY_WRITER = Writer(
    name=NAME, request=write_request, response=write_response, stream=array_stream, error=_error
)
