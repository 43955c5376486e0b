"""Writers of the conversation form: requests, responses, streams, errors. Pure; `registry.WRITERS` has one a dialect.

A writer names what its dialect cannot express: `dropped` has short paths into the conversation, such as
`logit_bias`, `messages[2].parts[0]: audio` or `tools.web_search`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

from msgspec import Struct

from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.events import Broken, Ended, Event
from gateway.dialects.shared.unsupported import Dropped
from gateway.errors import Kind


class Written(Struct, frozen=True, kw_only=True):
    """A request as a dialect has it: `path` is below the provider's base path (`/messages`), `query` has no `?`."""

    body: bytes
    path: str
    query: str = ""
    dropped: list[str] = []


class StreamWriter(ABC):
    """Writes one streamed response, which ends exactly once.

    A dialect implements `_write`, which is called up to the first `Broken` or `Ended`, so that the bytes of that event
    are the stream's last: no client is sent a failure and then a completion, whatever a provider sends after an error.

    Attributes:
        content_type: The response's media type.
        ended: Whether the terminal event has been written.

    """

    content_type: str

    def __init__(self) -> None:
        self.ended = False
        self._dropped = Dropped()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'ended' if self.ended else 'open'} dropped={self.dropped}>"

    @property
    def dropped(self) -> list[str]:
        """Names of the content that the dialect could not express so far."""
        return self._dropped.names

    @final
    def write(self, event: Event) -> bytes:
        """Return the bytes, framed, that can leave now; b"" if there are none, or the stream has ended."""
        if self.ended:
            return b""
        self.ended = isinstance(event, Broken | Ended)
        return self._write(event)

    @abstractmethod
    def _write(self, event: Event) -> bytes:
        """Return the bytes of one event."""


class Writer(Struct, frozen=True, kw_only=True):
    """A dialect as it is written.

    Attributes:
        request: Writes a request for a provider that calls the model `request.model`.
        response: Writes a whole response to `request`; the list names what it cannot express.
        stream: Makes a writer for one streamed response to `request`. `now` is the Unix time, which some dialects have.
        error: Writes an error body: its kind, the HTTP status, the message, the provider's own word for it or None, and
            the request's id.

    """

    name: str
    request: Callable[[ChatRequest], Written]
    response: Callable[[ChatResponse, ChatRequest, float], tuple[bytes, list[str]]]
    stream: Callable[[ChatRequest, float], StreamWriter]
    error: Callable[[Kind, int, str, str | None, str], bytes]
