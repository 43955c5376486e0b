"""Writers of the conversation form: requests, responses, streams, errors. Pure; `registry.WRITERS` has one a dialect.

A writer names the content that its dialect cannot express: `dropped` has short paths into the conversation, such as
`logit_bias`, `messages[2].parts[0]: audio` or `tools.web_search`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

from msgspec import Struct

from gateway.dialects.conversation import Blob, ChatRequest, ChatResponse, Extra, File, Other, Part, Uri
from gateway.dialects.events import Broken, Ended, Event, synthesize
from gateway.dialects.shared.custom_tools import custom_tool_names, restore_custom_calls
from gateway.errors import Kind

# Fields that hold settings of their own.
_GROUPS = frozenset({"text", "reasoning", "output_config"})


class Dropped:
    """Collects names, each once: a short path into the conversation, and the kind of the dropped content.

    `media`: those of images, sounds and files, without which a request means something else.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.media: list[str] = []

    def __repr__(self) -> str:
        return f"<Dropped {', '.join(self.names)}>"

    def add(self, name: str) -> None:
        """Name something."""
        if name not in self.names:
            self.names.append(name)

    def add_part(self, part: Part, path: str) -> None:
        """Name a part by its path and its kind: `messages[0].parts[2]: image uri`."""
        name = f"{path}: {part_kind(part)}"
        self.add(name)
        if isinstance(part, Blob | Uri | File):
            self.media.append(name)

    def foreign(self, extra: Extra, own: str, path: str = "") -> None:
        """Name the fields of other dialects than `own` in an `extra`; `path` is that of its part.

        A value that `own` has too is not lost: some readers put one value under two dialects.
        """
        mine = extra.get(own, {}).values()
        for dialect, fields in extra.items():
            if dialect == own:
                continue
            for name, value in fields.items():
                if value in mine:
                    continue
                inner = [f"{name}.{key}" for key in value] if name in _GROUPS and isinstance(value, dict) else [name]
                for each in inner:
                    self.add(f"{path}.{each}" if path else each)


def part_kind(part: Part) -> str:
    """Return a part's kind in words: `text`, `image uri`, `tool call`.

    >>> from gateway.dialects.conversation import ToolCall
    >>> part_kind(ToolCall(name="look"))
    'tool call'
    """
    kind = part.kind if isinstance(part, Other) else str(part.__struct_config__.tag).replace("_", " ")
    return f"{getattr(part, 'modality', '')} {kind}".strip()


class Written(Struct, frozen=True, kw_only=True):
    """A request as a dialect has it: `path` is below the provider's base path (`/messages`), `query` has no `?`.

    `dropped` names what it lacks, `media` the images, sounds and files among these.
    """

    body: bytes
    path: str
    query: str = ""
    dropped: list[str] = []
    media: list[str] = []


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
        response: Writes a whole response to `request`; the list names the content it cannot express.
        stream: Makes a writer for one streamed response to `request`. `now` is the Unix time, which some dialects have.
        error: Writes an error body: its kind, the HTTP status, the message, the provider's own word for it or None, and
            the request's id.

    """

    name: str
    request: Callable[[ChatRequest], Written]
    response: Callable[[ChatResponse, ChatRequest, float], tuple[bytes, list[str]]]
    stream: Callable[[ChatRequest, float], StreamWriter]
    error: Callable[[Kind, int, str, str | None, str], bytes]


def write_whole(writer: Writer, request: ChatRequest, response: ChatResponse, now: float) -> tuple[str, bytes]:
    """Return a whole response in the form that the client asked for, a stream or not: its media type and its body."""
    response = restore_custom_calls(response, custom_tool_names(request))
    if not request.stream:
        return "application/json", writer.response(response, request, now)[0]
    stream = writer.stream(request, now)
    return stream.content_type, b"".join([stream.write(event) for event in synthesize(response)])
