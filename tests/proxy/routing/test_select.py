"""Whom a request is sent to, by its path, its model and its options."""

import json
import random
from pathlib import Path

import pytest

from gateway.errors import ExchangeError
from gateway.proxy.routing.request_options import Named, Options
from gateway.tracing.metadata import Metadata
from tests.support.fleet import OURS, TOML, chosen, names, setup
from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream

ALIAS = """
[aliases.smart]
candidates = ["one/m", "three/n"]
[aliases.any]
order = "random"
candidates = ["one/m", "two/n"]
"""
ENVIRON = {name: f"{OURS}-{name.lower()}" for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY")}
ALLOWED = "[requests]\noverride_url = true\napi_keys = true\n"


def refused(*args, **kwargs) -> ExchangeError:
    """Return why nobody is asked."""
    with pytest.raises(ExchangeError) as raised:
        chosen(*args, **kwargs)
    assert OURS not in raised.value.message
    return raised.value


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-5", [("openai", None)]),
        ("one/m", [("one", "m")]),
        ("claude-sonnet-5", [("anthropic", None)]),
        ("smart", [("one", "m"), ("three", "n")]),
        ("nobody's", [("openai", None)]),
        (None, [("openai", None)]),
    ],
)
def test_a_model_leads_to_its_candidates(model, expected):
    """An alias; else who has its prefix; else who claims it; else the path's own provider."""
    assert names(chosen(setup(ALIAS), model)) == expected


@pytest.mark.parametrize(
    "path", ["/v1/responses", "/v1/messages", "/v1/messages/count_tokens", "/api/chat", "/v1/embeddings"]
)
def test_an_alias_is_one_on_each_path_that_names_a_model(path):
    """Whatever the dialect."""
    assert names(chosen(setup(ALIAS), "smart", path=path)) == [("one", "m"), ("three", "n")]


@pytest.mark.parametrize("path", ["/v1beta/models/smart:generateContent", "/model/smart/converse"])
def test_an_alias_may_stand_in_the_path(path):
    """Where the dialect has its model there."""
    assert names(chosen(setup(ALIAS), None, path=path)) == [("one", "m"), ("three", "n")]


def test_below_a_mount_the_provider_is_said():
    """No alias, no prefix, no claim: all keys of that provider."""
    (found,) = chosen(setup(ALIAS), "smart", path="/two/v1/chat/completions")
    assert (found.provider.name, found.model, len(found.providers)) == ("two", None, 2)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(model="one/x"), [("one", "x")]),
        (Options(model="smart"), [("one", "m"), ("three", "n")]),
        (Options(model="gpt-5"), [("openai", "gpt-5")]),
        (Options(provider="two"), [("two", None)]),
        (Options(provider="two", model="x"), [("two", "x")]),
        (Options(provider="two", model="two/x"), [("two", "x")]),
        (Options(provider="two", model="one/x"), [("two", "one/x")]),
        (Options(provider="two", model="smart"), [("one", "m"), ("three", "n")]),
        (Options(metadata=Metadata(user_id="u")), [("openai", None)]),
    ],
)
def test_options_say_whom(options, expected):
    """A model instead of the body's; an alias goes before a named provider, as in chronicle."""
    assert names(chosen(setup(ALIAS), "gpt-4", options)) == expected


def test_models_win_and_have_no_aliases():
    """Before a model and a provider; an entry without a provider is found by its prefix, its claim, or the option."""
    made = setup(ALIAS)
    listed = Options(
        models=(Named(model="one/a"), Named(model="claude-5"), Named(model="b", provider="two")), model="smart"
    )
    assert names(chosen(made, "smart", listed)) == [("one", "a"), ("anthropic", "claude-5"), ("two", "b")]
    assert names(chosen(made, "x", Options(models=(Named(model="b"),), provider="two"))) == [("two", "b")]
    error = refused(made, "x", Options(models=(Named(model="smart"),)))
    assert (error.status, error.code) == (422, "unknown_provider")
    assert "No provider is known for the model 'smart'" in error.message


def test_models_may_name_a_key_of_ours():
    """By its name; the client's own is not shown then."""
    (found,) = chosen(setup(), "x", Options(models=(Named(model="b", provider="two", api_key_name="mine"),)))
    (provider,) = found.providers
    assert (provider.key, provider.key_name, provider.takes_client_keys) == (OURS, "mine", False)


def test_random_choice_begins_anywhere():
    """And goes on in the order of the list; without it the list is as it is."""
    listed = tuple(Named(model=name, provider="one") for name in "abc")
    rng = random.Random(1)

    def orders(options: Options) -> set[str]:
        made = setup()
        return {"".join(each.model or "" for each in chosen(made, None, options, rng=rng)) for _ in range(60)}

    assert orders(Options(models=listed, random_choice=True)) == {"abc", "bca", "cab"}
    assert orders(Options(models=listed)) == {"abc"}


def test_an_aliases_order_is_its_own():
    """A random one begins anywhere."""
    rng, made = random.Random(1), setup(ALIAS)
    assert {chosen(made, "any", rng=rng)[0].provider.name for _ in range(40)} == {"one", "two"}


def test_the_fastest_is_asked_for_by_what_was_seen():
    """The latency of each candidate is looked up."""
    made = setup('[aliases.quick]\norder = "fastest"\ncandidates = ["one/m", "two/n"]')
    seen = {"one": 2.0, "two": 1.0}
    assert names(chosen(made, "quick", latency=lambda each: seen[each.provider.name]))[0] == ("two", "n")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (Options(provider="onee"), "unknown_provider", "there is no provider 'onee'; did you mean 'one'?"),
        (Options(models=(Named(model="m", provider="x9"),)), "unknown_provider", "no provider 'x9'; there are"),
        (Options(models=(Named(model=""),)), "bad_option", "'models' has an entry with an empty model"),
        (
            Options(models=(Named(model="m", provider="one", api_key_name="min"),)),
            "unknown_key",
            "'models': there is no key 'min'; did you mean 'mine'? (setting: $.api_keys)",
        ),
        (Options(override_url="http://x.test"), "option_not_allowed", "setting: $.requests.override_url"),
        (Options(api_key="sk-theirs"), "option_not_allowed", "setting: $.requests.api_keys"),
        (
            Options(models=(Named(model="m", provider="one", api_key="sk-theirs"),)),
            "option_not_allowed",
            "setting: $.requests.api_keys",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(options, code, said):
    """With 422, and a word on which option it is and what to do."""
    error = refused(setup(), "gpt-5", options)
    assert (error.status, error.code) == (422, code)
    assert said.lower() in error.message.lower()
    assert "sk-theirs" not in error.message


@pytest.mark.parametrize("options", [Options(provider="two"), Options(models=(Named(model="m", provider="two"),))])
def test_a_mount_and_a_provider_are_one_too_many(options):
    """The path says one, the option another: neither is guessed."""
    error = refused(setup(), "m", options, path="/one/v1/chat/completions")
    assert (error.status, error.code) == (422, "bad_option")
    assert "The path names the provider 'one' already" in error.message


def test_a_mount_and_a_model_go_together():
    """The model is another one at the same provider."""
    assert names(chosen(setup(), "m", Options(model="x"), path="/one/v1/chat/completions")) == [("one", "x")]


@pytest.mark.parametrize(
    "options", [Options(), Options(model="two/m"), Options(model="smart"), Options(provider="one")]
)
def test_where_an_url_is_overridden_nothing_of_ours_is_shown(options):
    """No key, no header, no second key to try: whoever is there has nothing from us but the request."""
    made = setup(ALIAS + "\n" + ALLOWED, environ=ENVIRON)
    assert all(made.providers[name].environment_key for name in ("openai", "anthropic"))
    moved = Options(model=options.model, provider=options.provider, override_url="https://elsewhere.test/v9/chat?x=1")
    for found in chosen(made, "gpt-5", moved):
        (provider,) = found.providers
        assert (provider.key, provider.keys, provider.environment_key, provider.headers) == (None, (), None, ())
        assert provider.key_name is None
        assert (provider.url, provider.only_target) == ("https://elsewhere.test", "/v9/chat?x=1")


@pytest.mark.parametrize("model", ["gpt-5", "claude-x", "deepseek/m", "one/m"])
async def test_no_key_of_the_environment_goes_to_an_overridden_url(upstream: Upstream, tmp_path: Path, model: str):
    """Over real sockets: nothing that arrives there has a key of ours, though the provider itself would be shown it."""
    headers = [("Content-Type", "application/json"), ("x-gateway-override-url", f"{upstream.url}/v9/chat")]
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    async with InProcess(tmp_path / "data", TOML + ALLOWED, ENVIRON) as gateway:
        await exchange(gateway.url, request("POST", "/v1/chat/completions", headers, body))
    assert {asked.target for asked in upstream.asked} == {"/v9/chat"}
    assert OURS not in str(upstream.asked)


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic-messages"])
def test_a_requests_key_is_shown_plainly_at_an_overridden_url(dialect: str):
    """Whatever header the provider itself takes it in for one of its dialects."""
    made = setup(ALLOWED, environ=ENVIRON)
    assert made.providers["deepseek"].shown("anthropic-messages") == "x-api-key"
    options = Options(provider="deepseek", api_key="k-1", override_url="https://elsewhere.test")
    (found,) = chosen(made, "m", options)
    assert (found.provider.shown(dialect), found.provider.key) == ("bearer", "k-1")


def test_an_overridden_url_is_somebody_else_to_the_circuits():
    """What fails there says nothing of the provider."""
    made = setup(ALLOWED)
    (own,) = chosen(made, "one/m")
    (moved,) = chosen(made, "one/m", Options(override_url="http://dead.test"))
    assert own.id(None) == ("one", "m")
    assert moved.id(None) == ("one at http://dead.test/", "m")


@pytest.mark.parametrize(
    "url", ["elsewhere.test", "ftp://x.test", "http://", "http://u:pass-word@x.test", "http://x.test:y"]
)
def test_an_overridden_url_that_is_none(url):
    """The error names the option, and no password."""
    error = refused(setup(ALLOWED), "gpt-5", Options(override_url=url))
    assert (error.status, error.code) == (422, "bad_option")
    assert error.message.startswith("The option 'override_url': ")
    assert "pass-word" not in error.message


def test_a_requests_own_key_is_shown_instead_of_any_other():
    """Of all candidates, with an overridden URL too; an entry's own key in `models` is shown for that entry."""
    made = setup(ALIAS + "\n" + ALLOWED)
    for options in (
        Options(model="smart", api_key="k-1"),
        Options(model="smart", api_key="k-1", override_url="http://x.test"),
    ):
        for found in chosen(made, None, options):
            (provider,) = found.providers
            assert (provider.key, provider.keys, provider.key_name) == ("k-1", (), "of the request")
            assert not provider.takes_client_keys
    listed = (Named(model="m", provider="one", api_key="k-2"), Named(model="m", provider="two"))
    for url in (None, "http://x.test"):
        first, second = chosen(made, None, Options(models=listed, override_url=url))
        assert first.provider.key == "k-2"
        assert [each.key for each in second.providers] == ([f"{OURS}-a", f"{OURS}-b"] if url is None else [None])
