"""Wire formats: one folder per dialect, and one `Endpoint` for all that a client API is to the rest. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from gateway.dialects.conversation import ChatRequest, ChatResponse, Usage
from gateway.dialects.events import Event
from gateway.semconv import CHAT


class StreamReader(Protocol):
    """Reads a streamed response as it passes by. Never raises; bytes may be split anywhere."""

    @property
    def ended(self) -> bool:
        """The dialect's own last event has been seen ([DONE], message_stop, response.completed, ...)."""

    @property
    def started(self) -> bool:
        """An event has been seen."""

    @property
    def expects_end(self) -> bool:
        """The events so far are of a stream that ends with an event of its own."""

    @property
    def first_output(self) -> bool:
        """A first piece of content (text, reasoning, tool call) has been seen."""

    @property
    def unread(self) -> int:
        """The number of unreadable events."""

    @property
    def dropped(self) -> int:
        """The number of events that are over the limit of size, or damaged."""

    @property
    def between(self) -> bool:
        """Whether the bytes so far are whole frames; False for streams without frames."""

    events: list[Event] | None

    def feed(self, data: bytes) -> None:
        """Take the next bytes; their events are appended to `events`, if that is a list."""

    def drain_events(self) -> list[Event]:
        """Return the events since the last call."""

    def response(self) -> ChatResponse:
        """Return the response as read so far."""

    def reported(self) -> dict[str, Any]:
        """Return the members of the response that `shared.billing` reads, as far as they came."""


class Dialect(Struct, frozen=True, kw_only=True):
    """The readers of one operation of a wire format. None of its functions raises.

    Attributes:
        name: As in `registry.DIALECTS`.
        part_of: The name of the dialect that the operation is part of, if that is another one.
        traced_as: The dialect's name in traces, if it is not that of `part_of`.
        operation: The conventions' word for it (`gen_ai.operation.name`).
        trace_only: Whether it is read for the trace alone, so that below a mount any provider is sent it as it came.
        json_streams: Whether a streamed response may come as JSON: an array, or an object a line.
        read_request: Reads a request body.
        read_response: Reads a whole response body, an error body too.
        read_usage_headers: Reads token counts in the headers of a whole response, whose body may report none.
        stream_reader: Makes a new reader for one streamed response.
        read_conversation: Reads all that a translation needs of a request's body and its path (without the query), in
            which some dialects name the model; None if the dialect is not translated.

    """

    name: str
    part_of: str | None = None
    traced_as: str | None = None
    operation: str = CHAT
    trace_only: bool = False
    json_streams: bool = False
    read_request: Callable[[bytes], ChatRequest]
    read_response: Callable[[bytes], ChatResponse]
    read_usage_headers: Callable[[Mapping[str, str]], Usage | None] | None = None
    stream_reader: Callable[[], StreamReader]
    read_conversation: Callable[[bytes, str], ChatRequest] | None = None

    @property
    def spoken(self) -> str:
        """The dialect's name in configurations."""
        return self.part_of or self.name

    @property
    def traced(self) -> str:
        """The dialect's name in traces."""
        return self.traced_as or self.spoken
