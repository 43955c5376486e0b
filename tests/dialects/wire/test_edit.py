import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.wire.edit import Peek, peek, rename_model


@pytest.mark.parametrize(
    ("body", "seen"),
    [
        (b'{"model":"a","stream":true}', Peek("a", stream=True)),
        (rb'{"mod\u0065l":"\u00e9","stream":false}', Peek("é", stream=False)),
        (b'{"model":"a","model":"b"}', Peek("b")),
        (b'{"messages":[{"model":"x","content":"\xff"}],"stream":true}', Peek(None, True, frozenset({"messages"}))),
        (b'{"input":"hi","response_format":{}}', Peek(fields=frozenset({"input", "response_format"}))),
        (rb'{"content":"\ud83d","model":"a","stream":true}', Peek("a", stream=True)),
        (b'{"model":1,"stream":"true"}', Peek()),
        (b'{"model":null,"stream":null}', Peek()),
        (b'{"model":"a"', Peek()),
        (b"[]", Peek()),
        (b"", Peek()),
        (b"\xff\xfe", Peek()),
        (b'{"x":' + b"[" * 10_000, Peek()),
    ],
)
def test_a_peek_tells_model_and_stream(body: bytes, seen: Peek) -> None:
    """Fields of the right type are returned, and the names of all fields; nothing raises."""
    assert seen == peek(body)


@pytest.mark.parametrize(
    ("body", "renamed"),
    [
        (b'{"model":"old"}', b'{"model":"N"}'),
        (b' {"a":1 , "model" :\n "old" , "b":2}\n', b' {"a":1 , "model" :\n "N" , "b":2}\n'),
        (b'{"model":"old","tools":[{"model":"old"}]}', b'{"model":"N","tools":[{"model":"old"}]}'),
        (b'{"meta":{"model":"old"},"model":"old"}', b'{"meta":{"model":"old"},"model":"N"}'),
        (b'{"model":"first","model":"last"}', b'{"model":"first","model":"N"}'),
        (rb'{"c":"{\"model\":\"x\"}","model":"o\"l\\"}', rb'{"c":"{\"model\":\"x\"}","model":"N"}'),
        (rb'{"\"model":"x","model":"old"}', rb'{"\"model":"x","model":"N"}'),
        (b'{"x":"model","model":"N"}', b'{"x":"model","model":"N"}'),
        (b'{"c":"\xff","model":"old"}', b'{"c":"\xff","model":"N"}'),
        (rb'{"c":"\ud83d","model":"old"}', rb'{"c":"\ud83d","model":"N"}'),
    ],
)
def test_only_the_top_level_model_is_renamed(body: bytes, renamed: bytes) -> None:
    """Nested, escaped and repeated decoys keep their bytes."""
    assert renamed == rename_model(body, "N")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"model":null}',
        b'{"model":7,"x":{"model":"y"}}',
        b'{"x":{"model":"y"}}',
        rb'{"mod\u0065l":"old","x":{"model":"y"}}',
        rb'{"mod\u0065l":"N#0","x":{"model":"y"}}',
        b'{"model":"old"',
        b'["model","old"]',
        b"",
    ],
)
def test_what_cannot_be_renamed_is_not(body: bytes) -> None:
    """Without a top-level model that is a string, or without JSON, there is no new body."""
    assert rename_model(body, "N") is None


KEYS = st.sampled_from(["model", '"model', "model:", "a", "stream"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.text(max_size=8), st.integers(), st.none(), st.sampled_from(['{"model": "x"}', '"model":"y"'])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=12,
)


@given(
    members=st.dictionaries(KEYS, VALUES),
    old=st.text(),
    new=st.text(),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    first=st.booleans(),
)
def test_any_body_is_renamed_in_one_place(
    members: dict[str, Any], old: str, new: str, indent: int | None, ascii_only: bool, first: bool
) -> None:
    """Whatever else a body holds, its model is the new one and the rest is the same."""
    members.pop("model", None)
    document = {"model": old, **members} if first else {**members, "model": old}
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "replace")
    renamed = rename_model(body, new)
    assert renamed is not None
    assert {**json.loads(body), "model": new} == json.loads(renamed)
    assert len(body) - len(json.dumps(old, ensure_ascii=ascii_only).encode()) == len(renamed) - len(
        json.dumps(new, ensure_ascii=False).encode()
    )
