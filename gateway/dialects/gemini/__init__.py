"""Gemini's generateContent and streamGenerateContent, of the Gemini API and of Vertex."""

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatResponse
from gateway.dialects.gemini.fields import NAME
from gateway.dialects.gemini.read_request import model_in, read_conversation, read_request
from gateway.dialects.gemini.read_response import DECODER, read_whole
from gateway.dialects.gemini.read_stream import GeminiReader
from gateway.dialects.wire.json import decode

__all__ = ["GEMINI", "model_in"]


def _read_response(body: bytes) -> ChatResponse:
    """Read a whole response, or a stream that came as a JSON array, as its errors do too: both have the same type."""
    if body.lstrip()[:1] == b"[":
        reader = GeminiReader()
        reader.feed(body)
        return reader.answered()
    whole = decode(body, DECODER)
    return ChatResponse() if whole is None else read_whole(whole)


GEMINI = Dialect(
    name=NAME,
    read_request=read_request,
    read_response=_read_response,
    stream_reader=GeminiReader,
    read_conversation=read_conversation,
)
