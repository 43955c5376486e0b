"""How the conversation form is written in a dialect. Pure: values in, bytes out; `registry.WRITERS` has one each.

A writer writes what its dialect can say and names the rest: `dropped` has short paths into the conversation, such as
`logit_bias`, `messages[2].parts[0]: audio` or `tools.web_search`.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from gateway.dialects.conversation import ChatRequest, ChatResponse
from gateway.dialects.events import Event
from gateway.errors import Kind


class Written(Struct, frozen=True, kw_only=True):
    """A request as a dialect has it: `path` is below the provider's base path (`/messages`), `query` has no `?`."""

    body: bytes
    path: str
    query: str = ""
    dropped: list[str] = []


class StreamWriter(Protocol):
    """Writes one streamed response. Each call returns the bytes that can leave now, framed; b"" where none can."""

    content_type: str

    @property
    def dropped(self) -> list[str]:
        """What could not be said so far."""

    def write(self, event: Event) -> bytes:
        """Take the next event."""


class Writer(Struct, frozen=True, kw_only=True):
    """A dialect as it is written.

    Attributes:
        request: Writes what was asked, for a provider that calls the model `asked.model`.
        response: Writes a whole response to `asked`; what it cannot say is named in the list.
        stream: Makes a writer for one streamed response to `asked`. `now` is the Unix time, for dialects that tell it.
        error: Writes an error body: its kind, the HTTP status, the message, the provider's own word for it or None, and
            the request's id.

    """

    name: str
    request: Callable[[ChatRequest], Written]
    response: Callable[[ChatResponse, ChatRequest, float], tuple[bytes, list[str]]]
    stream: Callable[[ChatRequest, float], StreamWriter]
    error: Callable[[Kind, int, str, str | None, str], bytes]
