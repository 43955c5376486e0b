"""The tables of attributes and columns: complete, without clashes, and invertible."""

import pytest

from gateway import semconv
from gateway.semconv import ATTEMPT_COLUMNS, COLUMNS, EXCHANGE_COLUMNS, SHARED_COLUMNS, SPAN_COLUMNS

PROMOTED = {
    "SERVER": [*SHARED_COLUMNS, *EXCHANGE_COLUMNS],
    "CLIENT": [*SHARED_COLUMNS, *ATTEMPT_COLUMNS],
}


@pytest.mark.parametrize("kind", PROMOTED)
def test_a_span_has_each_attribute_in_a_column_of_its_own(kind: str):
    """The attributes of one kind of span map to columns one to one, so that the table can be inverted."""
    table = semconv.promoted(kind)
    assert list(table.items()) == [(column.attribute, column.name) for column in PROMOTED[kind]]
    assert len(set(table.values())) == len(table) == len(PROMOTED[kind])


def test_columns_are_unique_and_complete():
    """Every column appears once; one of both kinds has the same type in both."""
    names = [column.name for column in COLUMNS]
    assert len(names) == len(set(names))
    everything = [*SPAN_COLUMNS, *SHARED_COLUMNS, *EXCHANGE_COLUMNS, *ATTEMPT_COLUMNS, semconv.REST_COLUMN]
    assert {column.name for column in everything} == set(names)
    assert len({(column.name, column.type) for column in everything}) == len(names)


def test_a_root_has_no_attributes_of_a_model():
    """An exchange has no `gen_ai.*`, with which every view of LLM calls would count it twice."""
    assert not [name for name in semconv.EXCHANGE_PROMOTED if name.startswith("gen_ai.")]


@pytest.mark.parametrize("name", semconv.CONTENT_COLUMNS)
def test_content_is_json_of_an_attempt(name: str):
    """Each column of content is a JSON column of attempts."""
    (column,) = [each for each in ATTEMPT_COLUMNS if each.name == name]
    assert column.type == "JSON"
    assert column.attribute in semconv.CONTENT_ATTRIBUTES
    assert len(semconv.CONTENT_ATTRIBUTES) == len(semconv.CONTENT_COLUMNS)
