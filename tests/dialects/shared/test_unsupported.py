"""What is named as lost."""

from gateway.dialects.shared.unsupported import Dropped


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
