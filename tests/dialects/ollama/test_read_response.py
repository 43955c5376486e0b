import time
from typing import Any

import pytest

from gateway.dialects.conversation import (
    ChatResponse,
    Reasoning,
    Text,
    ToolCall,
    Usage,
)
from gateway.dialects.ollama import OLLAMA_CHAT, OLLAMA_EMBED, OLLAMA_GENERATE
from tests.dialects.ollama.reading import Read, answer, durations, spent, whole

ALL = (OLLAMA_CHAT, OLLAMA_GENERATE, OLLAMA_EMBED)


def test_a_whole_response_is_read(read: Read) -> None:
    """A response that was not streamed gives the same form."""
    assert OLLAMA_CHAT.read_response(read("ollama_chat_whole.json")) == ChatResponse(
        model="qwen3:8b",
        finish_reasons=["tool_calls"],
        output_messages=[
            answer(
                Reasoning(content="I need the weather."),
                Text(content="Looking it up."),
                ToolCall(id="call_x9y8z7w6", name="get_weather", arguments={"city": "Oslo"}),
                finish_reason="tool_calls",
                finish_word="stop",
            )
        ],
        usage=spent(154, 42),
        created=1795162800,
        extra={"ollama": durations(8275900000, 68000000, 333000000, 7860000000)},
    )


def test_an_embeddings_response_has_its_usage(read: Read) -> None:
    """Vectors are not kept; the model and the tokens are."""
    usage = Usage(input_tokens=8, total_tokens=8)
    assert OLLAMA_EMBED.read_response(read("ollama_embed.json")) == ChatResponse(model="embeddinggemma", usage=usage)
    assert OLLAMA_EMBED.read_response(b'{"embedding":[0.5]}') == ChatResponse()


@pytest.mark.parametrize("dialect", ALL)
def test_an_error_body_is_read(read: Read, dialect: Any) -> None:
    """An error's message is all there is."""
    assert dialect.read_response(read("ollama_error.json")) == ChatResponse(
        error_message="model 'no-such-model' not found"
    )


@pytest.mark.parametrize(
    ("line", "reason", "word"),
    [
        ({"done_reason": "stop"}, "stop", None),
        ({"done_reason": "length"}, "length", None),
        ({"done_reason": "load"}, "load", None),
        ({"done_reason": "unload"}, "unload", None),
        ({}, "stop", None),
        ({"done_reason": "stop", "message": {"tool_calls": [{}]}}, "tool_calls", "stop"),
        ({"message": {"tool_calls": [{}]}}, "tool_calls", None),
        ({"done_reason": "length", "message": {"tool_calls": [{}]}}, "length", None),
    ],
)
def test_done_reasons_are_the_one_vocabularys(line: dict[str, Any], reason: str, word: str | None) -> None:
    """Ollama ends tool calls with `stop` too; the common word is another, and its own is kept."""
    message = whole(done=True, **line).output_messages[0]
    assert (message.finish_reason, message.finish_word) == (reason, word)


@pytest.mark.parametrize(
    ("at", "created"),
    [
        ("2026-11-20T08:20:00Z", 1795162800),
        ("2026-11-20T10:20:00.999999999+02:00", 1795162800),
        ("2026-11-20T08:20:00", 1795162800),
        ("yesterday", None),
        ("", None),
        (7, None),
        (None, None),
    ],
)
def test_dates_become_unix_times(at: Any, created: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A date with nanoseconds, with an offset or without one, wherever this runs; what is none is unknown."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        assert whole(created_at=at).created == created
    time.tzset()


@pytest.mark.parametrize("line", [{"prompt_eval_count": 3}, {"eval_count": 3}, {}])
def test_a_count_that_is_not_told_is_unknown(line: dict[str, int]) -> None:
    """A missing count is None, and so is the total."""
    usage = whole(done=True, **line).usage
    assert (usage is None) == (not line)
    assert usage is None or usage.total_tokens is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'{"message":7,"eval_count":[]}', b"[" * 9999])
@pytest.mark.parametrize("dialect", ALL)
def test_a_response_that_says_nothing_is_an_empty_record(dialect: Any, body: bytes) -> None:
    """An unreadable body gives an empty response."""
    assert dialect.read_response(body) == ChatResponse()
