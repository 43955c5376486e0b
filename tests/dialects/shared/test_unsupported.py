"""What is named as lost."""

import pytest

from gateway.dialects.conversation import Blob, File, Other, Part, ServerToolCall, Text
from gateway.dialects.shared.unsupported import Dropped, part_kind

PNG = Blob(modality="image", mime_type="image/png", content="AA==")


def test_what_other_dialects_say_is_named():
    """Each field is named once, by its place; settings of their own one by one."""
    dropped = Dropped()
    extra = {"gemini": {"a": 1}, "openai-chat": {"b": 2, "text": {"c": 3}}, "ollama": {"a": 4}}
    dropped.foreign(extra, "gemini", "messages[0]")
    assert dropped.names == ["messages[0].b", "messages[0].text.c", "messages[0].a"]


def test_what_is_said_in_two_dialects_is_not_lost():
    """A field that the writer's own dialect has too, by whatever name, is written with it."""
    dropped = Dropped()
    dropped.foreign({"ours": {"data": "x"}, "theirs": {"hidden": "x", "signature": "y"}}, "ours")
    assert dropped.names == ["signature"]


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (Text(content=""), "text"),
        (PNG, "image blob"),
        (File(modality="document", file_id="f"), "document file"),
        (ServerToolCall(name="w", server_tool_call={}), "server tool call"),
        (Other(kind="novel"), "novel"),
    ],
)
def test_a_part_is_named_by_its_kind(part: Part, word: str) -> None:
    """With its modality, if it has one, after the path where it stands."""
    assert part_kind(part) == word
    dropped = Dropped()
    dropped.add_part(part, "messages[0].parts[1]")
    assert dropped.names == [f"messages[0].parts[1]: {word}"]
