"""Errors of Google's APIs."""

import json

import pytest

from gateway.dialects.gemini.errors import (
    _STATUSES,
    _STREAMED,
    _WORDS,
    error_body,
    error_fields,
    status_word,
    write_error,
)


@pytest.mark.parametrize(("status", "word"), _WORDS.items())
def test_a_status_has_googles_word(status: int, word: str) -> None:
    """The word is one that the API itself sends."""
    assert status_word(status) == word
    assert word in _STATUSES


@pytest.mark.parametrize(("status", "word"), [(418, "INVALID_ARGUMENT"), (599, "INTERNAL")])
def test_any_other_status_has_the_word_of_its_class(status: int, word: str) -> None:
    """The client's fault below 500, else the server's."""
    assert status_word(status) == word


@pytest.mark.parametrize(("word", "status"), _STATUSES.items())
def test_googles_own_word_stays(word: str, status: int) -> None:
    """In a body as in a stream, where it brings its status."""
    assert json.loads(write_error(500, "gone", word, ""))["error"] == {"code": 500, "message": "gone", "status": word}
    assert error_fields(word, "gone") == {"code": status, "message": "gone", "status": word}


@pytest.mark.parametrize(("word", "status"), _STREAMED.items())
def test_another_dialects_word_has_a_status(word: str, status: int) -> None:
    """A stream has no status of its own."""
    assert error_fields(word, None) == {"code": status, "message": word, "status": status_word(status)}


def test_another_dialects_word_is_in_the_details() -> None:
    """Beside the id by which the request is found."""
    error = json.loads(write_error(429, "busy", "rate_limit_error", "r-1"))["error"]
    assert error["status"] == "RESOURCE_EXHAUSTED"
    assert [
        (each["@type"].rpartition(".")[2], each.get("reason"), each.get("requestId")) for each in error["details"]
    ] == [
        ("ErrorInfo", "rate_limit_error", None),
        ("RequestInfo", None, "r-1"),
    ]


def test_an_error_without_words_is_the_servers() -> None:
    """A stream that broke off ends in an error."""
    assert json.loads(error_body(None, None)) == {
        "error": {"code": 500, "message": "the stream broke off", "status": "INTERNAL"}
    }
