"""What a request says for itself in headers: what is understood, and what is refused by name."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.retry import Exponential, RetryPolicy
from gateway.errors import ExchangeError
from gateway.proxy.routing.request_options import NONE, Named, Options, from_headers, merged, option_headers
from gateway.tracing.metadata import Metadata

RUN = "0198f3a0-1b2c-7d3e-8f40-123456789abc"
PREFIXES = ("x-gateway-", "x-chronicle-")


def options(**headers: str) -> Options:
    """Return what headers say; names with underscores, without the prefix."""
    raw = [(b"X-Gateway-" + name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return from_headers(option_headers(raw))


GOOD = {
    "model": ("m", Options(model="m")),
    "provider": ("groq", Options(provider="groq")),
    "override-url": ("http://x.test/y", Options(override_url="http://x.test/y")),
    "provider-api-key": ("k", Options(api_key="k")),
    "models": (
        '[{"model": "a", "provider": "p"}, {"model": "b", "api_key_name": "n"}]',
        Options(models=(Named(model="a", provider="p"), Named(model="b", api_key_name="n"))),
    ),
    "random-choice": ("TRUE", Options(random_choice=True)),
    "timeout": ("1500.5", Options(timeout=1500.5)),
    "retry": ('{"max_tries": 2}', Options(retry={"max_tries": 2})),
    "application": ("app", Options(metadata=Metadata(application="app"))),
    "environment": ("dev", Options(metadata=Metadata(environment="dev"))),
    "organization-id": ("o", Options(metadata=Metadata(organization_id="o"))),
    "project-id": ("p", Options(metadata=Metadata(project_id="p"))),
    "user-id": ("ü", Options(metadata=Metadata(user_id="ü"))),
    "workflow-id": ("w", Options(metadata=Metadata(workflow_id="w"))),
    "workflow-name": ("wn", Options(metadata=Metadata(workflow_name="wn"))),
    "run-id": (RUN, Options(metadata=Metadata(run_id=RUN))),
    "step-id": (RUN, Options(metadata=Metadata(step_id=RUN))),
    "step-index": ("-3", Options(metadata=Metadata(step_index=-3))),
    "prompt-id": ("pr", Options(metadata=Metadata(prompt_id="pr"))),
    "prompt-version": ("12", Options(metadata=Metadata(prompt_version=12))),
    "extra-meta": ('{"a": [1]}', Options(metadata=Metadata(extra={"a": [1]}))),
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", GOOD)
def test_an_option_is_read_under_both_prefixes(name, prefix):
    """In any case of its name, with white space around its value."""
    value, expected = GOOD[name]
    for header in (prefix + name, (prefix + name).title(), (prefix + name).upper()):
        assert from_headers(option_headers([(header.encode(), b" " + value.encode() + b"\t")])) == expected


def test_of_both_prefixes_ours_counts():
    """Whichever comes first."""
    both = [(b"x-chronicle-model", b"theirs"), (b"x-gateway-model", b"ours")]
    for raw in (both, both[::-1]):
        assert from_headers(option_headers(raw)) == Options(model="ours")


def test_nothing_is_said_by_other_headers_or_empty_values():
    """A request without options is the very value that says so."""
    raw = [
        (b"x-model", b"m"),
        (b"x-gateway-model", b"  "),
        (b"x-gateway", b"m"),
        (b"authorization", b"x-gateway-model"),
    ]
    assert from_headers(option_headers(raw)) is NONE
    assert from_headers(option_headers([(b"x-gateway-token", b"t"), (b"x-gateway-session", b"s")])) is NONE


BAD = {
    "models": ["[", "{}", '["a"]', '[{"provider": "p"}]', '[{"model": 1}]', '[{"model": "m", "key": "k"}]', "null"],
    "retry": [
        "[]",
        "{",
        "4",
        '{"max_tries": "4"}',
        '{"max_tries": 0}',
        '{"max_tries": 101}',
        '{"max_tris": 4}',
        '{"initial_backoff": -1}',
        '{"increase": "double"}',
        '{"increase": {"type": "exponential", "multiplier": 0}}',
        '{"max_backoff": null}',
        '{"fail_if_rate_limit_exceeds_max_backoff": "no"}',
    ],
    "random-choice": ["yes", "2", "[true]"],
    "timeout": ["soon", "0", "-5", "nan", "inf", "1e999", "10s", "0x10"],
    "step-index": ["one", "1.5", "--5", "-", "+1", "12345678901", "٣"],
    "prompt-version": ["v1", "1,000", "--1"],
    "extra-meta": ["[]", "x", '"text"', "1", "{"],
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_an_option_of_the_wrong_type_is_refused_by_its_header(name, value, prefix):
    """With 422, the name of the header as it was sent, and what is expected."""
    with pytest.raises(ExchangeError) as raised:
        from_headers(option_headers([(f"{prefix}{name}".encode(), value.encode())])).policy(RetryPolicy())
    error = raised.value
    assert (error.status, error.code) == (422, "bad_option")
    assert error.message.startswith(f"{prefix}{name}: ")
    assert any(word in error.message.lower() for word in ("expected", "must be", "unknown field", "invalid"))


@pytest.mark.parametrize("name", ["run-id", "step-id"])
def test_the_seeds_ids_are_uuids_and_ours_any_text(name):
    """A value that is none is refused under chronicle's name alone."""
    assert from_headers(option_headers([(f"x-gateway-{name}".encode(), b"nightly-7")])).metadata != Metadata()
    with pytest.raises(ExchangeError, match=f"^x-chronicle-{name}: expected a UUID$"):
        from_headers(option_headers([(f"x-chronicle-{name}".encode(), b"nightly-7")]))


@given(st.sampled_from([*GOOD, "session", "whatever"]), st.binary(max_size=30))
def test_no_value_is_an_error_of_ours(name, value):
    """Any bytes are an option, or refused; nothing else is raised."""
    for prefix in PREFIXES:
        with suppress(ExchangeError):
            from_headers(option_headers([(f"{prefix}{name}".encode(), value)]))


def test_a_policy_is_the_configured_one_but_for_what_is_said():
    """Field by field."""
    configured = RetryPolicy(max_tries=7, jitter=3.0, increase=Exponential(multiplier=3.0))
    assert options().policy(configured) is configured
    assert options(retry="{}").policy(configured) is configured
    said = options(retry=json.dumps({"max_tries": 2, "increase": "constant", "max_backoff": 9})).policy(configured)
    assert said == RetryPolicy(max_tries=2, jitter=3.0, increase="constant", max_backoff=9.0)


def test_a_policy_in_the_body_is_refused_by_its_name_there():
    """Where no header has said it."""
    with pytest.raises(ExchangeError, match=r"^retry: max_tries must be from 1 to 100, not 0$"):
        Options(retry={"max_tries": 0}).policy(RetryPolicy())


def test_what_is_said_first_goes_before_the_rest():
    """Field by field, in the metadata too; what says nothing takes nothing away."""
    body = Options(model="body", metadata=Metadata(user_id="b", step_index=0))
    headers = options(model="header", provider="p", user_id="h", application="a", step_index="4")
    assert merged(body, headers) == Options(
        model="body", provider="p", metadata=Metadata(user_id="b", application="a", step_index=0)
    )
    assert merged(body, NONE) is body
    assert merged(NONE, headers) == headers


def test_no_key_is_shown():
    """Neither by the options nor by one of their models."""
    shown = options(provider_api_key="sk-secret-1", models='[{"model": "m", "api_key": "sk-secret-2"}]')
    assert "secret" not in repr(shown)
    assert "secret" not in repr(shown.models)
