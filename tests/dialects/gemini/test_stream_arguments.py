import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.gemini.stream_arguments import Arguments

KEYS = st.text(max_size=6)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(max_size=12)
# Containers that hold nothing have no values, so that no piece tells of them.
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=8,
)


def pieces_of(value: Any, place: str, size: int) -> Iterator[dict[str, Any]]:
    """Give the pieces that tell of a value, strings cut into this size."""
    match value:
        case dict():
            for key, each in value.items():
                escaped = key.replace("\\", "\\\\").replace("'", "\\'")
                yield from pieces_of(each, f"{place}['{escaped}']", size)
        case list():
            for index, each in enumerate(value):
                yield from pieces_of(each, f"{place}[{index}]", size)
        case str():
            cut = [value[i : i + size] for i in range(0, len(value), size)] or [""]
            for number, piece in enumerate(cut):
                yield {"jsonPath": place, "stringValue": piece, "willContinue": number < len(cut) - 1}
        case bool():
            yield {"jsonPath": place, "boolValue": value}
        case None:
            yield {"jsonPath": place, "nullValue": "NULL_VALUE"}
        case _:
            yield {"jsonPath": place, "numberValue": float(value)}


@given(value=st.dictionaries(KEYS.filter(bool), VALUES, max_size=4), size=st.integers(1, 5))
def test_pieces_of_any_object_make_its_text(value: dict[str, Any], size: int) -> None:
    """Whatever the arguments are, their pieces grow the same JSON text."""
    arguments = Arguments()
    grown = [arguments.add(piece) for piece in pieces_of(value, "$", size)]
    assert json.loads("".join(grown) + arguments.close()) == value


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([], "{}"),
        ([{"jsonPath": "$.a.b[1].c", "numberValue": 3.0}], '{"a":{"b":[{"c":3}]}}'),
        ([{"json_path": '$.a["b c"]', "string_value": "x"}], '{"a":{"b c":"x"}}'),
        ([{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}], '{"a":"x"}'),
        (
            [{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}, {"jsonPath": "$.a"}],
            '{"a":"x"}',
        ),
        (
            [{"jsonPath": "$.a", "stringValue": "x", "willContinue": True}, {"jsonPath": "$.b", "boolValue": True}],
            '{"a":"x","b":true}',
        ),
        ([{"jsonPath": "$", "stringValue": "x"}, {"jsonPath": 7}, {"jsonPath": "$.a", "numberValue": "7"}, {}], "{}"),
    ],
)
def test_pieces_of_every_shape_are_read(pieces: list[dict[str, Any]], text: str) -> None:
    """Paths in both spellings, strings that are not ended, and pieces that say nothing."""
    arguments = Arguments()
    assert "".join(arguments.add(piece) for piece in pieces) + arguments.close() == text
