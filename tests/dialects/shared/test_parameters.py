"""A request's parameters under the span attributes' names."""

from typing import Any

import pytest

from gateway.dialects.conversation import ChatRequest
from gateway.dialects.shared import parameters as name
from gateway.dialects.shared.parameters import output_type, parameters, write_parameters
from gateway.dialects.shared.writer import Dropped

WHOLE = [name.MAX_TOKENS, name.TOP_K, name.SEED, name.CHOICE_COUNT, name.DIMENSION_COUNT]
FRACTIONAL = [name.TEMPERATURE, name.TOP_P, name.FREQUENCY_PENALTY, name.PRESENCE_PENALTY]
LISTS = [name.STOP_SEQUENCES, name.ENCODING_FORMATS]
TEXTS = [name.REASONING_LEVEL, name.PREVIOUS_RESPONSE_ID, name.OUTPUT_TYPE]


@pytest.mark.parametrize("attribute", WHOLE)
def test_counts_are_whole_numbers(attribute: str) -> None:
    """A whole float is one too; a text, a fraction or a boolean is left out."""
    assert parameters({attribute: 7}) == {attribute: 7}
    assert parameters({attribute: 7.0}) == {attribute: 7}
    for value in ("7", 7.5, True, None, [7]):
        assert parameters({attribute: value}) == {}


@pytest.mark.parametrize("attribute", FRACTIONAL)
def test_fractions_are_floats(attribute: str) -> None:
    """A whole number becomes one; anything else is left out."""
    assert parameters({attribute: 1}) == {attribute: 1.0}
    assert isinstance(parameters({attribute: 1})[attribute], float)
    assert parameters({attribute: 0.5}) == {attribute: 0.5}
    for value in ("0.5", True, None):
        assert parameters({attribute: value}) == {}


@pytest.mark.parametrize("attribute", LISTS)
def test_one_text_is_a_list_of_one(attribute: str) -> None:
    """Members that are no texts are left out, and so is an empty list."""
    assert parameters({attribute: "a"}) == {attribute: ["a"]}
    assert parameters({attribute: ["a", 1, "b"]}) == {attribute: ["a", "b"]}
    for value in ([], [1], 7, None):
        assert parameters({attribute: value}) == {}


@pytest.mark.parametrize("attribute", TEXTS)
def test_texts_are_not_empty(attribute: str) -> None:
    """An empty text is as good as none."""
    assert parameters({attribute: "a"}) == {attribute: "a"}
    for value in ("", 7, True, None):
        assert parameters({attribute: value}) == {}


@pytest.mark.parametrize(("attribute", "value"), [(name.STREAM, False), (name.CHOICE_COUNT, 1)])
def test_the_usual_value_is_left_out(attribute: str, value: Any) -> None:
    """The conventions want these attributes only if they differ from the default."""
    assert parameters({attribute: value}) == {}


def test_a_stream_is_marked() -> None:
    """A value that is only truthy does not ask for a stream."""
    assert parameters({name.STREAM: True}) == {name.STREAM: True}
    assert parameters({name.STREAM: 1}) == {}


@pytest.mark.parametrize(
    ("form", "word"), [("text", "text"), ("json_object", "json"), ("json_schema", "json"), ("odd", None), ([], None)]
)
def test_a_response_format_has_an_output_type(form: Any, word: str | None) -> None:
    """Both forms of JSON are JSON."""
    assert output_type(form) == word


def test_parameters_are_written_under_the_dialects_names() -> None:
    """A parameter without a name in the dialect is dropped, unless it is written elsewhere."""
    dropped = Dropped()
    request = ChatRequest(operation="chat", parameters={name.TOP_K: 1, name.SEED: 2, name.STREAM: True})
    assert write_parameters(request, {name.TOP_K: "topK"}, {name.STREAM}, dropped) == {"topK": 1}
    assert dropped.names == ["seed"]
