"""Tolerant reading of JSON, on which every reader is built."""

from typing import Any

import msgspec
import pytest

from gateway.dialects.wire.json import definitions, merged, without


def raw(data: bytes) -> msgspec.Raw:
    """Return a JSON value as a decoder passes it over."""
    return msgspec.json.decode(data, type=msgspec.Raw)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'[{"name":"f"}]', b'[{"name":"f"}]'),
        (b'[\n  {"name": "f",\r\n\t"description": "a\\nb"}\n]', b'[{"name":"f","description":"a\\nb"}]'),
        (b'[{"name":"\xff"}]', '[{"name":"\ufffd"}]'.encode()),
        (b"null", None),
    ],
    ids=["as it stands", "on one line", "as UTF-8", "none"],
)
def test_tools_fit_on_a_line_of_the_journal(sent: bytes, kept: bytes | None) -> None:
    """Tools are written as they were sent, but for white space between values, which could end a line."""
    found = definitions(raw(sent))
    assert kept == (None if found is None else bytes(found))


def test_keys_of_remote_tools_are_not_kept() -> None:
    """The credentials of an MCP server are redacted, in any field."""
    tools = [
        {
            "type": "mcp",
            "server_label": "docs",
            "server_url": "https://x.example/sse?token=KEY1",
            "authorization": "KEY2",
            "headers": {"X-Api": "KEY3"},
        },
        {"type": "function", "name": "f", "headers": {"kept": True}},
    ]
    found = msgspec.json.decode(bytes(definitions(raw(msgspec.json.encode(tools))) or b""))
    assert found[0] == {
        "type": "mcp",
        "server_label": "docs",
        "server_url": "https://x.example/sse",
        "authorization": "[redacted]",
        "headers": "[redacted]",
    }
    assert found[1] == tools[1]


@pytest.mark.parametrize(
    ("whole", "part", "rest"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, {"b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, {"a": {"c": 2}}),
        ({"a": 1}, {"a": 2}, {"a": 1}),
        ({"a": None}, {}, {"a": None}),
        ({"a": {"b": 1}}, {"a": 1}, {"a": {"b": 1}}),
        ({"a": 1}, {"a": 1}, {}),
    ],
)
def test_merging_what_is_missing_makes_an_object_whole(
    whole: dict[str, Any], part: dict[str, Any], rest: dict[str, Any]
) -> None:
    """`merged` puts back what `without` left."""
    assert without(whole, part) == rest
    assert merged(part, rest) == whole
