"""Options in the body of a request: their types, and which win over headers."""

import json
from typing import Any

import pytest

from gateway.dialects.chronicle.requests import read
from gateway.errors import ExchangeError, Kind
from gateway.proxy.routing.request_options import NONE, Named, Options, with_body
from gateway.tracing.metadata import Metadata

RUN = "01a212d9-478c-7759-916d-18ab7b348327"


def body_of(**fields: Any) -> bytes:
    """Return a chat request with these fields."""
    return json.dumps({"model": "m", "messages": []} | fields).encode()


def resolved(said: Options = NONE, **fields: Any) -> tuple[Options, dict[str, Any]]:
    """Return the options of a body with these fields, and the fields that are sent on."""
    options, body = with_body(read(body_of(**fields), "/chat"), said)
    return options, json.loads(body)


def asked(**fields: Any) -> Options:
    """Return the options of a body with these fields."""
    return resolved(**fields)[0]


def test_all_options():
    """Each has its value, and models and metadata their own types."""
    told = asked(
        provider="groq",
        override_url="http://a",
        api_key="k",
        models=[{"model": "a", "provider": "b"}, {"model": "c", "provider": "d", "api_key": "e", "api_key_name": None}],
        random_choice=True,
        timeout=1500,
        retry={"max_tries": 2, "initial_backoff": None},
        metadata={"application": "shop", "run_id": RUN, "step_index": 3, "colour": "red", "extra": {"size": 1}},
    )
    assert told == Options(
        provider="groq",
        override_url="http://a",
        api_key="k",
        models=(Named(model="a", provider="b"), Named(model="c", provider="d", api_key="e")),
        random_choice=True,
        timeout=1500.0,
        retry={"max_tries": 2},
        metadata=Metadata(application="shop", run_id=RUN, step_index=3, extra={"size": 1, "colour": "red"}),
    )


def test_the_body_goes_before_the_headers():
    """A header counts where the body says nothing, and the model is the exception: there the header says another."""
    said = Options(model="other", provider="header", timeout=5.0, metadata=Metadata(application="h", user_id="u"))
    options, sent = resolved(said, provider="body", metadata={"application": "b"})
    assert (options.provider, options.timeout, options.model) == ("body", 5.0, "other")
    assert options.metadata == Metadata(application="b", user_id="u")
    assert sent["model"] == "m"
    assert resolved(said)[0] is said


def test_nothing_said_is_nothing():
    """Null and an empty name are no options; neither is null metadata."""
    empty = dict.fromkeys(["provider", "models", "random_choice", "timeout", "retry", "override_url"])
    assert asked(**empty, api_key="", metadata={"application": None, "extra": None}) == NONE


@pytest.mark.parametrize(
    ("fields", "named", "expected"),
    [
        ({"provider": 1}, "'provider'", "a string"),
        ({"override_url": []}, "'override_url'", "a string"),
        ({"api_key": {"a": "sk-secret"}}, "'api_key'", "a string"),
        ({"models": "a"}, "'models'", "a list of {model, provider}"),
        ({"models": [{"provider": "a"}]}, "'models'", "`model`"),
        ({"models": [{"model": "a", "key": "sk-secret"}]}, "'models'", "`key`"),
        ({"random_choice": "yes"}, "'random_choice'", "true or false"),
        ({"timeout": "1"}, "'timeout'", "milliseconds above 0"),
        ({"timeout": 0}, "'timeout'", "milliseconds above 0"),
        ({"timeout": True}, "'timeout'", "milliseconds above 0"),
        ({"retry": []}, "'retry'", "an object"),
        ({"retry": {"tries": 1}}, "retry", "`tries`"),
        ({"retry": {"max_tries": 0}}, "retry", "max_tries must be from 1"),
        ({"retry": {"increase": {"type": "sideways"}}}, "retry", "sideways"),
        ({"metadata": "a"}, "'metadata'", "an object"),
        ({"metadata": {"application": 1}}, "'metadata.application'", "a string"),
        ({"metadata": {"run_id": "nightly"}}, "'metadata.run_id'", "a UUID"),
        ({"metadata": {"step_id": "1"}}, "'metadata.step_id'", "a UUID"),
        ({"metadata": {"step_index": 1.5}}, "'metadata.step_index'", "a whole number"),
        ({"metadata": {"step_index": -1}}, "'metadata.step_index'", "a whole number"),
        ({"metadata": {"prompt_version": True}}, "'metadata.prompt_version'", "a whole number"),
    ],
)
def test_a_wrong_type_is_told(fields: dict[str, Any], named: str, expected: str):
    """422, the field's name and what was expected there, and nothing of its value that may be a key."""
    with pytest.raises(ExchangeError) as caught:
        asked(**fields)
    error = caught.value
    assert (error.status, error.kind) == (422, Kind.BAD_INPUT)
    assert named in error.message
    assert expected in error.message
    assert "sk-secret" not in error.message
    assert error.code == "bad_body"


@pytest.mark.parametrize(
    ("fields", "said", "model"),
    [
        ({"model": None}, Options(model="a"), "a"),
        ({"model": ""}, Options(models=(Named(model="b"), Named(model="c"))), "b"),
        ({"model": None, "models": [{"model": "d", "provider": "e"}]}, NONE, "d"),
    ],
)
def test_a_model_is_put_where_there_is_none(fields: dict[str, Any], said: Options, model: str):
    """The body that is sent has one to be renamed, wherever it was said."""
    assert resolved(said, **fields)[1]["model"] == model


def test_a_missing_model():
    """It is an error of the request."""
    with pytest.raises(ExchangeError, match="Request is missing model name") as caught:
        with_body(read(b'{"messages":[]}', "/chat"), NONE)
    assert (caught.value.status, caught.value.code) == (400, "missing_model")
