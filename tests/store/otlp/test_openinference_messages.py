"""OpenInference's flat messages: each kind of part, and whether the flat form holds all of a message."""

from typing import Any

import pytest

from gateway.store.otlp.openinference_messages import Flattened


def flattened(*messages: dict[str, Any]) -> tuple[dict[str, Any], list[bool]]:
    """Return the attributes of messages without their prefix, and for each whether it is whole."""
    into = Flattened("in")
    whole = [into.add(message) for message in messages]
    return {name.removeprefix("in."): value for name, value in into.attributes.items()}, whole


def part(**fields: Any) -> tuple[dict[str, Any], bool]:
    """Return the attributes of a part beside a text, below its place, and whether it is whole."""
    attributes, (whole,) = flattened({"role": "user", "parts": [{"type": "text", "content": "first"}, fields]})
    at = "0.message.contents.1.message_content."
    return {name.removeprefix(at): value for name, value in attributes.items() if name.startswith(at)}, whole


def test_messages_are_numbered():
    """Role, name and finish reason are attributes of each."""
    attributes, whole = flattened(
        {"role": "user", "name": "ann", "parts": [{"type": "text", "content": "a"}]},
        {"role": "assistant", "finish_reason": "stop", "parts": [{"type": "text", "content": "b"}]},
    )
    assert attributes == {
        "0.message.role": "user",
        "0.message.name": "ann",
        "0.message.content": "a",
        "1.message.role": "assistant",
        "1.message.finish_reason": "stop",
        "1.message.content": "b",
    }
    assert whole == [True, True]


TEXTS = [("text", "text", True), ("refusal", "text", False), ("reasoning", "reasoning", True)]


@pytest.mark.parametrize(("kind", "shown", "whole"), TEXTS)
def test_texts_have_a_type(kind, shown, whole):
    """A refusal is shown as a text; its kind is not in the flat form."""
    assert part(type=kind, content="b") == ({"type": shown, "text": "b"}, whole)


@pytest.mark.parametrize("kind", [kind for kind, _, _ in TEXTS])
def test_an_extra_field_of_a_text_is_not_in_the_flat_form(kind):
    """A signature, for example."""
    assert part(type=kind, content="b", extra={"signature": "s"})[1] is False


MEDIA = {
    "image": ("image.image.url", None),
    "audio": ("audio.audio.url", "audio.audio.mime_type"),
    "video": ("video.video.url", None),
    "document": ("document.document.url", "document.document.mime_type"),
}


@pytest.mark.parametrize(("modality", "names"), MEDIA.items(), ids=MEDIA)
def test_data_becomes_a_data_url(modality, names):
    """Its MIME type is in the URL, and for sound and documents an attribute as well."""
    url, mime = names
    attributes, whole = part(type="blob", modality=modality, mime_type="a/b", content="QUJD")
    expected = {"type": modality, url: "data:a/b;base64,QUJD"} | ({mime: "a/b"} if mime else {})
    assert (attributes, whole) == (expected, True)


@pytest.mark.parametrize(("modality", "names"), MEDIA.items(), ids=MEDIA)
def test_a_url_stays_a_url(modality, names):
    """A MIME type without an attribute of its own leaves the flat form incomplete."""
    url, mime = names
    assert part(type="uri", modality=modality, uri="https://a/b") == ({"type": modality, url: "https://a/b"}, True)
    assert part(type="uri", modality=modality, uri="https://a/b", mime_type="a/b")[1] is (mime is not None)


def test_data_without_a_type_is_octets():
    """The data URL needs a type."""
    assert part(type="blob", modality="image", content="QUJD")[0]["image.image.url"] == (
        "data:application/octet-stream;base64,QUJD"
    )


OTHERS = [
    {"type": "file", "modality": "image", "file_id": "f1"},
    {"type": "blob", "modality": "smell", "content": "QUJD"},
    {"type": "text", "content": {"not": "text"}},
]


@pytest.mark.parametrize("fields", OTHERS)
def test_other_parts_are_json(fields):
    """Nothing of them is lost."""
    attributes, whole = part(**fields)
    assert set(attributes) == {"type", "text"}
    assert attributes["type"] == fields["type"]
    assert all(str(value) in attributes["text"] for value in fields.values() if isinstance(value, str))
    assert whole is True


def test_a_part_without_a_type_is_other():
    """As JSON."""
    assert part(x=1) == ({"type": "other", "text": '{"x":1}'}, True)


def test_tool_calls_are_numbered_among_themselves():
    """Arguments are JSON text; texts beside the calls are contents of the same message."""
    attributes, whole = flattened(
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
                {"type": "text", "content": "so"},
                {"type": "tool_call", "name": "g", "arguments": "{}"},
            ],
        }
    )
    assert attributes == {
        "0.message.role": "assistant",
        "0.message.tool_calls.0.tool_call.id": "c1",
        "0.message.tool_calls.0.tool_call.function.name": "f",
        "0.message.tool_calls.0.tool_call.function.arguments": '{"a":1}',
        "0.message.tool_calls.1.tool_call.function.name": "g",
        "0.message.tool_calls.1.tool_call.function.arguments": "{}",
        "0.message.content": "so",
    }
    assert whole == [True]


def test_each_tool_response_is_a_message():
    """The rest of the turn is a message after them, and the next message goes on counting."""
    attributes, whole = flattened(
        {
            "role": "tool",
            "parts": [
                {"type": "tool_call_response", "id": "a", "response": {"n": 1}},
                {"type": "text", "content": "look"},
                {"type": "tool_call_response", "id": "b", "response": "two"},
            ],
        },
        {"role": "user", "parts": []},
    )
    assert attributes == {
        "0.message.role": "tool",
        "0.message.tool_call_id": "a",
        "0.message.content": '{"n":1}',
        "1.message.role": "tool",
        "1.message.tool_call_id": "b",
        "1.message.content": "two",
        "2.message.role": "tool",
        "2.message.content": "look",
        "3.message.role": "user",
    }
    assert whole == [True, True]


INCOMPLETE = {
    "a field of the message": {"role": "user", "parts": [], "extra": 1},
    "a part that is no object": {"role": "user", "parts": [1]},
    "no list of parts": {"role": "user", "parts": "text"},
    "no parts": {"role": "user"},
    "a field of a tool call": {"role": "assistant", "parts": [{"type": "tool_call", "name": "f", "extra": 1}]},
    "a field of a response": {"role": "tool", "parts": [{"type": "tool_call_response", "id": "a", "is_error": True}]},
    "a field of the only text": {"role": "user", "parts": [{"type": "text", "content": "a", "extra": 1}]},
}


@pytest.mark.parametrize("message", INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_message_that_does_not_fit_is_not_whole(message):
    """The caller then sends the original beside the flat form."""
    assert flattened(message)[1] == [False]
