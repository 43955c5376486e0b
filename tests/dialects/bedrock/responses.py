"""Responses to write, and their forms as clients read them."""

from typing import Any

from gateway.dialects import events
from gateway.dialects.bedrock import CONVERSE_WRITER
from gateway.dialects.conversation import (
    ChatRequest,
    Part,
)
from tests.dialects.botocores import streamed

NOW = 1_795_162_800.0
ASKED = ChatRequest(operation="chat", model="smart", stream=True)


def stream(*sequence: events.Event) -> tuple[list[dict[str, Any]], list[str]]:
    """Write a stream, which botocore must read; return its events and what is lost."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    assert writer.content_type == "application/vnd.amazon.eventstream"
    return streamed(*[writer.write(event) for event in sequence]), writer.dropped


def begun(index: int, part: Part) -> events.PartBegun:
    """Begin a part."""
    return events.PartBegun(index=index, part=part)


BEGUN, STOP, ENDED = events.Begun(), events.ChoiceDone(finish_reason="stop"), events.Ended()


def text(index: int, words: str) -> dict[str, Any]:
    """Make a delta of text."""
    return {"contentBlockDelta": {"delta": {"text": words}, "contentBlockIndex": index}}


def arguments(index: int, words: str) -> dict[str, Any]:
    """Make a delta of a tool call."""
    return {"contentBlockDelta": {"delta": {"toolUse": {"input": words}}, "contentBlockIndex": index}}


def call(index: int, number: str, name: str) -> dict[str, Any]:
    """Make the start of a tool call."""
    return {
        "contentBlockStart": {"start": {"toolUse": {"toolUseId": number, "name": name}}, "contentBlockIndex": index}
    }


def stop(index: int) -> dict[str, Any]:
    """Make the end of a block."""
    return {"contentBlockStop": {"contentBlockIndex": index}}
