"""OpenAI's transcriptions and images: the texts, the addresses of images, and the tokens, whole and streamed.

A request is a form with a file, or JSON. Nothing of it is read but the model (`wire.multipart`) and, of JSON, the
prompt; nothing is translated. Inline images are not recorded. Source: openai 3.57 (types/audio, types/image*).
"""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects import Dialect
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Part, Text, Uri, Usage
from gateway.dialects.openai_chat.read_parts import NAME
from gateway.dialects.shared.reported_error import NO_ERROR, ReportedError, error_of
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.shared.usage import usage_of
from gateway.dialects.wire.json import decode, objects, text
from gateway.dialects.wire.sse import Event
from gateway.semconv import GENERATE_CONTENT, TRANSCRIPTION


class _Request(Struct, gc=False):
    model: Any = None
    prompt: Any = None


class _Response(Struct, gc=False):
    """A whole response, the last event of a stream, or an error body."""

    type: Any = None
    text: Any = None
    delta: Any = None
    data: Any = None
    usage: Any = None
    error: Any = None


_REQUEST = msgspec.json.Decoder(_Request)
_RESPONSE = msgspec.json.Decoder(_Response)


def _read_request(body: bytes) -> ChatRequest:
    """Read a request to generate an image."""
    request = decode(body, _REQUEST)
    if request is None:
        return ChatRequest(operation=GENERATE_CONTENT)
    prompt = text(request.prompt)
    messages = [Message(role="user", parts=[Text(content=prompt)])] if prompt else []
    return ChatRequest(operation=GENERATE_CONTENT, model=text(request.model), input_messages=messages)


def _usage(reported: Any) -> Usage | None:
    """Read usage in tokens; that of transcriptions by the minute is in seconds."""
    usage = usage_of(reported)
    return usage if usage is not None and usage.input_tokens is not None else None


def _read_response(body: bytes) -> ChatResponse:
    """Read a whole response. A transcription may be plain text, or subtitles."""
    whole = decode(body, _RESPONSE)
    if whole is None:
        return ChatResponse() if body[:1] in b"{[<" else _response(body.decode("utf-8", "replace"), None, NO_ERROR)
    return _response(text(whole.text), whole, error_of(whole.error))


def _response(spoken: str | None, whole: _Response | None, error: ReportedError) -> ChatResponse:
    parts: list[Part] = [Text(content=spoken)] if spoken else []
    data = whole.data if whole is not None else None
    parts += [Uri(modality="image", uri=uri) for each in objects(data) if (uri := text(each.get("url")))]
    return ChatResponse(
        output_messages=[Message(role="assistant", parts=parts)] if parts else [],
        usage=_usage(whole.usage) if whole is not None else None,
        error_type=error.type,
        error_message=error.message,
        error_status=error.status,
    )


class MediaStreamReader(EventReader):
    """Reads events up to `transcript.text.done`, `image_edit.completed` or `image_generation.completed`."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[str] = []
        self._last: _Response | None = None

    def _take(self, event: Event) -> bool:
        read = decode(event.data, _RESPONSE)
        if read is None:
            return event.data == b"[DONE]"
        kind = text(read.type) or ""
        self._keep(self._pieces, read.delta)
        self.first_output = self.first_output or kind.endswith(".partial_image")
        if read.error is not None:
            self._fail(error_of(read.error))
        elif kind.endswith((".done", ".completed")):
            self._last, self.ended = read, True
        return True

    def response(self) -> ChatResponse:
        """Return the response as read so far."""
        whole = text(self._last.text) if self._last is not None else None
        return _response(whole or "".join(self._pieces), self._last, self._error)

    def reported(self) -> dict[str, Any]:
        """Return the members of the response that its billing is read from."""
        return {"usage": self._last.usage if self._last is not None else None}


IMAGES = Dialect(
    name="openai-images",
    part_of=NAME,
    operation=GENERATE_CONTENT,
    trace_only=True,
    read_request=_read_request,
    read_response=_read_response,
    stream_reader=MediaStreamReader,
)


TRANSCRIPTION_OF_SPEECH = msgspec.structs.replace(IMAGES, name="openai-transcription", operation=TRANSCRIPTION)

OPERATIONS: dict[tuple[str, ...], Dialect] = {
    ("audio", "transcriptions"): TRANSCRIPTION_OF_SPEECH,
    ("audio", "translations"): TRANSCRIPTION_OF_SPEECH,
    ("images", "edits"): IMAGES,
    ("images", "generations"): IMAGES,
    ("images", "variations"): IMAGES,
}
