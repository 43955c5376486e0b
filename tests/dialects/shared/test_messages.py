from typing import Any

import pytest

from gateway.dialects.conversation import (
    Blob,
    ChatRequest,
    Message,
    Part,
    Text,
)
from gateway.dialects.shared.messages import cache_control, cache_mark, named, one_prompt, plain_text
from gateway.dialects.shared.unsupported import Dropped

PNG = Blob(modality="image", mime_type="image/png", content="AA==")


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (Message(role="user", name="ann", parts=[Text(content="a"), PNG]), [Text(content="ann: a"), PNG]),
        (Message(role="user", name="ann", parts=[PNG]), [Text(content="ann:"), PNG]),
        (Message(role="user", name="ann", parts=[]), [Text(content="ann:")]),
        (
            Message(role="system", name="ann", parts=[Text(content="a", cache="5m")]),
            [Text(content="ann: a", cache="5m")],
        ),
        (Message(role="assistant", name="bot", parts=[Text(content="a")]), [Text(content="a")]),
        (Message(role="user", parts=[Text(content="a")]), [Text(content="a")]),
    ],
)
def test_a_name_stands_before_the_text(message: Message, parts: list[Part]) -> None:
    """But a model's, which would learn to begin its answers with it."""
    assert named(message) == parts


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([Text(content="a")], "a"),
        ([Text(content="a", cache="5m")], None),
        ([Text(content="a", extra={"gemini": {"x": 1}})], None),
        ([Text(content="a"), Text(content="b")], None),
        ([PNG], None),
        ([], None),
    ],
)
def test_one_plain_text_is_told_from_others(parts: list[Part], text: str | None) -> None:
    """One that has nothing more to it may be a string."""
    assert plain_text(parts) == text


def test_only_the_first_prompt_is_a_chat() -> None:
    """Several prompts would be several answers; a chat is left as it is."""
    asked = ChatRequest(
        operation="text_completion",
        input_messages=[Message(role="user", parts=[Text(content="a"), Text(content="b"), Text(content="c")])],
    )
    dropped = Dropped()
    assert one_prompt(asked, dropped).input_messages == [Message(role="user", parts=[Text(content="a")])]
    assert dropped.names == ["messages[0].parts[1]: prompt", "messages[0].parts[2]: prompt"]
    chat = ChatRequest(operation="chat", input_messages=asked.input_messages)
    assert one_prompt(chat, dropped) is chat


@pytest.mark.parametrize(
    ("value", "lifetime"),
    [
        ({"cache_control": {"type": "ephemeral"}}, "default"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "1h"),
        ({"cache_control": {"type": "ephemeral", "ttl": 7}}, "default"),
        ({"cache_control": None}, None),
        ({"text": "a"}, None),
    ],
)
def test_a_cache_mark_has_a_lifetime(value: dict[str, Any], lifetime: str | None) -> None:
    """A mark is read as it is written; one without a lifetime has the provider's default."""
    assert cache_mark(value) == lifetime
    if lifetime is not None:
        assert cache_mark({"cache_control": cache_control(lifetime)}) == lifetime
