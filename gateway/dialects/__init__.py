"""What the bytes mean: one module per wire format, pure functions of bytes."""

from typing import Protocol

from gateway.dialects.conversation import Answered, Asked


class StreamReader(Protocol):
    """Reads a streamed response as it passes by. Never raises; bytes may be split anywhere."""

    @property
    def ended(self) -> bool:
        """The dialect's own last event has been seen ([DONE], message_stop, response.completed, ...)."""

    @property
    def first_output(self) -> bool:
        """A first piece of content (text, reasoning, tool call) has been seen."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""

    def answered(self) -> Answered:
        """Return what was read so far."""


class Dialect(Protocol):
    """A wire format: how its requests and responses are read."""

    name: str

    def read_request(self, body: bytes) -> Asked:
        """Read a request body."""

    def read_response(self, body: bytes) -> Answered:
        """Read a whole response body, an error body too."""

    def stream_reader(self) -> StreamReader:
        """Return a new reader for one streamed response."""
