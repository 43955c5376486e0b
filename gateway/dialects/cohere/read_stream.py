"""A streamed chat of Cohere's: deltas of one message, from `message-start` to `message-end`."""

from typing import Any

import msgspec
from msgspec import Struct

from gateway.dialects.cohere.read_chat import chat_response, read_parts
from gateway.dialects.conversation import ChatResponse
from gateway.dialects.shared.reported_error import ReportedError
from gateway.dialects.shared.stream_reader import EventReader
from gateway.dialects.wire.json import count, decode, fields, text
from gateway.dialects.wire.sse import Event


class _Event(Struct, gc=False):
    type: Any = None
    id: Any = None
    index: Any = 0
    delta: Any = None
    message: Any = None  # of an error


_EVENT = msgspec.json.Decoder(_Event)


class CohereStreamReader(EventReader):
    """Reads events up to `message-end`, which has the finish reason and the usage."""

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._plan: list[str] = []
        self._texts: dict[tuple[int, str], list[str]] = {}  # by the block's index, and its kind
        self._calls: dict[int, tuple[dict[str, Any], list[str]]] = {}  # the call as it began, its arguments
        self._citations: list[dict[str, Any]] = []
        self._end: dict[str, Any] = {}

    def _take(self, event: Event) -> bool:
        read = decode(event.data, _EVENT)
        if read is None:
            return event.data == b"[DONE]"
        delta, index = fields(read.delta), count(read.index) or 0
        message = fields(delta.get("message"))
        match read.type:
            case "message-start":
                self._id = text(read.id)
                self.expects_end = True
            case "content-start" | "content-delta":
                for kind in ("text", "thinking"):
                    piece = fields(message.get("content")).get(kind)
                    if isinstance(piece, str) and piece and self._has_room(0):
                        self._keep(self._texts.setdefault((index, kind), []), piece)
            case "tool-plan-delta":
                self._keep(self._plan, message.get("tool_plan"))
            case "tool-call-start" | "tool-call-delta":
                self._take_call(index, fields(message.get("tool_calls")), len(event.data))
            case "citation-start" if self._has_room(len(event.data)):
                self._citations.append(fields(message.get("citations")))
            case "message-end":
                self._end = delta
                if error := text(delta.get("error")):
                    self._fail(ReportedError(text(delta.get("finish_reason")), error))
                self.ended = True
            case None if isinstance(read.message, str):
                self._fail(ReportedError(None, read.message))
        return True

    def _take_call(self, index: int, call: dict[str, Any], size: int) -> None:
        function = fields(call.get("function"))
        if index not in self._calls:
            if not self._has_room(size):
                return
            self._calls[index] = ({**call, "function": function}, [])
            self.first_output = True
        self._keep(self._calls[index][1], function.get("arguments"))

    def reported(self) -> dict[str, Any]:
        """Return the members of the response that its billing is read from."""
        return {"usage": self._end.get("usage")}

    def response(self) -> ChatResponse:
        """Return the response as read so far."""
        message = {
            "tool_plan": "".join(self._plan),
            "content": [{"type": kind, kind: "".join(pieces)} for (_, kind), pieces in sorted(self._texts.items())],
            "tool_calls": [
                {**call, "function": {**call["function"], "arguments": "".join(pieces)}}
                for _, (call, pieces) in sorted(self._calls.items())
            ],
            "citations": self._citations,
        }
        return chat_response(
            self._id, read_parts(message), self._end.get("finish_reason"), self._end.get("usage"), self._error
        )
