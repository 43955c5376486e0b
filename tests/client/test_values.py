"""JSON of values and exceptions: bounded, and without raising for any value."""

import json
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.client.values import LARGEST, encoded, encoded_object, exception_json, text, texts


class Odd:
    """Something that nobody can write as JSON, or even show."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


class Dumped:
    """What pydantic's models have."""

    def model_dump(self, mode: str) -> dict[str, str]:
        return {"mode": mode}


class Mapped(Mapping):
    """A mapping that is no dict."""

    def __getitem__(self, key: str) -> int:
        return {"a": 1}[key]

    def __iter__(self):
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def circle() -> list:
    """Return a list that has itself in it, many times."""
    made: list = [1]
    made += [made, {"again": made}, (made, made)] * 20
    return made


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Odd(), "<Odd>"),
        ({"a": Odd()}, {"a": "<Odd>"}),
        (Dumped(), {"mode": "json"}),
        (Mapped(), {"a": 1}),
        ({(1, 2): "tuple", None: 1}, {"(1, 2)": "tuple", "None": 1}),
        ("half \ud800 a pair", "half ? a pair"),
        ({"\ud800": ["\udfff"]}, {"?": ["?"]}),
        (2**70, 2**70),
        ([10**5000, 1, True, None, 1.5], ["<int>", 1, True, None, 1.5]),
        (float("nan"), None),
        (len, repr(len)),
        (b"bytes", "Ynl0ZXM="),
    ],
)
def test_any_value_has_some_json(value, expected):
    """What has none of its own is told by its repr; never an exception in the application."""
    assert json.loads(msgspec.json.encode(encoded(value))) == expected


def test_what_has_no_end_is_cut():
    """Circles, depth, long reprs and large values: all bounded, and valid JSON."""
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    for value in (
        circle(),
        deep,
        list(range(10**6)),
        "x" * (LARGEST + 1),
        type("Long", (), {"__repr__": lambda _: "é" * 10**7})(),
    ):
        data = bytes(encoded(value))
        assert len(data) <= 2 * LARGEST
        json.loads(data)
    assert json.loads(bytes(encoded("é" * LARGEST))).endswith("é…")
    assert list(json.loads(bytes(encoded_object({"a": "x" * LARGEST})))) == ["truncated"]
    assert json.loads(bytes(encoded_object(["no", "object"]))) == {"value": ["no", "object"]}
    while deep:  # one level at a time: freeing it at once would go as deep
        deep = deep.pop()


_texts = st.text(st.characters())  # halves of surrogate pairs too


_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), _texts, st.binary(), st.complex_numbers(), st.datetimes(),
    st.uuids(), st.decimals(), st.builds(Odd), st.frozensets(st.integers()),
)  # fmt: skip


_keys = _texts | st.integers() | st.none()


_anything = st.recursive(
    _values, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(_keys, inner), max_leaves=20
)


@given(_anything)
def test_whatever_it_is(value):
    """The JSON is whole, and UTF-8."""
    json.loads(bytes(encoded(value)).decode())
    assert isinstance(json.loads(bytes(encoded_object({"v": value})).decode()), dict)


def test_texts():
    """A single string is a list of one text; half a surrogate pair is replaced."""
    assert texts("ab") == ["ab"]
    assert texts(["a", 1, "\ud800"]) == ["a", "1", "?"]
    assert text(Odd()) == "<Odd>"


def test_an_exception_has_its_causes():
    """The stack of an exception has its own frames first, and then those of its cause."""
    try:
        try:
            raise LookupError("the cause")
        except LookupError as cause:
            raise ValueError("the error") from cause
    except ValueError as error:
        found = exception_json(error)
    assert (found["type"], found["message"]) == ("ValueError", "the error")
    lines = found["stack"].splitlines()
    assert lines[1:3] == ["ValueError: the error", "after:"]
    assert lines[-1] == "LookupError: the cause"
    assert lines[0].startswith('  File "')
    assert "test_an_exception_has_its_causes" in lines[0]


def test_a_suppressed_context_is_left_out():
    """`raise ... from None` hides the context, as it does in Python."""

    def fail() -> None:
        try:
            raise LookupError("hidden")
        except LookupError:
            raise ValueError("shown") from None

    with pytest.raises(ValueError, match="shown") as caught:
        fail()
    assert "hidden" not in exception_json(caught.value)["stack"]


def test_an_exception_is_bounded():
    """Messages, frames and chains of causes are cut at their bounds."""

    def fail(depth: int) -> None:
        if depth:
            fail(depth - 1)
        raise ValueError("x" * 5000)

    try:
        fail(100)
    except ValueError as error:
        found = exception_json(error)
    assert found["message"] == "x" * 4096 + "…"
    assert sum(line.startswith("  File") for line in found["stack"].splitlines()) == 50
    error = ValueError("0")
    for number in range(1, 20):
        error, cause = ValueError(str(number)), error
        error.__cause__ = cause
    assert exception_json(error)["stack"].splitlines()[::2] == [f"ValueError: {n}" for n in (19, 18, 17, 16, 15)]
