"""What a request says for itself in headers, over real sockets: whom to ask, how often, how long, with which key."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_clients import QUICK, alias, ask, facts, fails, provider
from tests.support.gateway_errors import gateway_error
from tests.support.gateways import InProcess
from tests.support.raw_http import Answer
from tests.support.upstream import Upstream

OURS = 'api_key = "sk-ours-0123456789abcdef"\nheaders = {x-team = "red"}'
ALLOWED = "[requests]\noverride_url = true\napi_keys = true\n"


@pytest.fixture(name="toml")
def _toml(upstream: Upstream, second: Upstream) -> str:
    """Return a gateway.toml with two providers."""
    upstream.answer = second.answer
    both = provider("one", "chat", upstream.url, OURS) + provider("two", "chat", second.url, OURS)
    return both + alias("smart", "one/m", "two/m") + QUICK


@pytest.fixture(name="fleet")
async def _fleet(toml: str, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with InProcess(tmp_path / "fleet", toml) as gateway:
        yield gateway


@pytest.fixture(name="open_fleet")
async def _open_fleet(toml: str, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker whose requests may bring URLs and keys."""
    async with InProcess(tmp_path / "open", toml + ALLOWED) as gateway:
        yield gateway


@pytest.fixture(name="prefix", params=["x-gateway-", "x-chronicle-"])
def _prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def with_options(gateway: InProcess, prefix: str, asked: str = "whatever", **options: Any) -> Answer:
    """Ask for a chat completion with options in headers."""
    headers = [
        (prefix + name.replace("_", "-"), value if isinstance(value, str) else json.dumps(value))
        for name, value in options.items()
    ]
    return await ask(gateway, "chat", asked, headers=headers)


def error_of(answer: Answer, prefix: str) -> tuple[str, str]:
    """Return an error's message and its word: who speaks in chronicle's headers is answered as its clients are."""
    if prefix == "x-gateway-":
        error = gateway_error(answer, "openai")
        return error["message"], error["code"]
    error = json.loads(answer.body)["error"]
    return error["message"], error["kind"]


async def test_models_are_asked_one_after_the_other(
    prefix: str, upstream: Upstream, second: Upstream, fleet: InProcess
):
    """Each for its own model; the alias that the body names is not looked at, and no option goes up."""
    upstream.answers(fails("chat", 400))
    listed = [{"provider": "one", "model": "a"}, {"model": "two/b"}]
    assert (await with_options(fleet, prefix, "smart", models=listed)).status == 200
    assert [asked.json["model"] for asked in (*upstream.asked, *second.asked)] == ["a", "b"]
    assert facts(fleet, "provider", "request_model", "outcome", "reason") == [
        ("one", "a", "bad_input", "first"),
        ("two", "b", "ok", "fallback after bad_input"),
    ]
    for asked in (*upstream.asked, *second.asked):
        assert not [name for name, _ in asked.headers if name.lower().startswith(("x-gateway", "x-chronicle"))]


async def test_a_random_choice_begins_with_either(prefix: str, upstream: Upstream, second: Upstream, fleet: InProcess):
    """With random-choice each of the list is the first one at some time."""
    listed = [{"provider": "one", "model": "a"}, {"provider": "two", "model": "b"}]
    for _ in range(60):
        assert (await with_options(fleet, prefix, models=listed, random_choice="true")).status == 200
        if upstream.asked and second.asked:
            break
    assert upstream.asked
    assert second.asked
    assert {row[0] for row in facts(fleet, "reason")} == {"first"}


async def test_a_model_and_a_provider(prefix: str, upstream: Upstream, second: Upstream, fleet: InProcess):
    """Instead of the body's, which is renamed."""
    assert (await with_options(fleet, prefix, model="two/z")).status == 200
    assert (await with_options(fleet, prefix, "two/z", provider="one")).status == 200
    assert (await with_options(fleet, prefix, "n", provider="two", model="smart")).status == 200
    assert [asked.json["model"] for asked in upstream.asked] == ["two/z", "m"]
    assert [asked.json["model"] for asked in second.asked] == ["z"]


async def test_a_policy_of_ones_own(prefix: str, upstream: Upstream, fleet: InProcess):
    """What the option says counts; the rest stays as it is configured."""
    upstream.answers(fails("chat", 500))
    assert (await with_options(fleet, prefix, "one/m", retry={"max_tries": 3, "increase": "constant"})).status == 500
    assert facts(fleet, "backoff_ms") == [(None,), (1.0,), (1.0,)]


async def test_a_timeout_of_ones_own(prefix: str, upstream: Upstream, fleet: InProcess):
    """In milliseconds, for each attempt; the error names the option."""
    upstream.answers([30.0])
    answer = await with_options(fleet, prefix, "one/m", timeout="50")
    assert answer.status == 504
    message, _ = error_of(answer, prefix)
    assert "(setting: the request's option timeout)" in message
    assert "(0.05 s)" in message
    await upstream.left()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("models", "[1]"),
        ("retry", '{"max_tries": "many"}'),
        ("random-choice", "perhaps"),
        ("timeout", "soon"),
        ("step-index", "--5"),
        ("prompt-version", "new"),
        ("extra-meta", "[]"),
    ],
)
async def test_a_value_of_the_wrong_type(option: str, value: str, prefix: str, upstream: Upstream, fleet: InProcess):
    """Is 422 in the client's dialect, which names the header; nothing is sent, and the exchange is recorded."""
    answer = await with_options(fleet, prefix, **{option.replace("-", "_"): value})
    assert answer.status == 422
    message, word = error_of(answer, prefix)
    assert message.startswith(f"{prefix}{option}: ")
    assert word == ("bad_option" if prefix == "x-gateway-" else "invalid_proxy_headers")
    assert upstream.asked == []
    assert fleet.rows("CLIENT") == []
    row = fleet.exchange()
    assert (row["outcome"], row["http_status"], row["error"]) == ("bad_input", 422, message)


async def test_an_url_and_a_key_are_refused_unless_they_are_allowed(prefix: str, upstream: Upstream, fleet: InProcess):
    """The error names the setting; no key is repeated, in the answer or in the journal."""
    key = "sk-theirs-0123456789abcdef"
    tries: list[tuple[dict[str, Any], str]] = [
        ({"override_url": "http://127.0.0.1:1/"}, "$.requests.override_url"),
        ({"provider_api_key": key}, "$.requests.api_keys"),
        ({"models": [{"provider": "one", "model": "m", "api_key": key}]}, "$.requests.api_keys"),
    ]
    for options, setting in tries:
        answer = await with_options(fleet, prefix, **options)
        assert answer.status == 422
        assert setting in error_of(answer, prefix)[0]
        assert key.encode() not in answer.body
    assert upstream.asked == []
    assert not any(key.encode() in path.read_bytes() for path in (fleet.data / "live").iterdir())


async def test_an_overridden_url_gets_nothing_of_ours(prefix: str, second: Upstream, open_fleet: InProcess):
    """The request goes where it says, query and all, without our key and headers."""
    url = f"{second.url}/v9/talk?tenant=7"
    assert (await with_options(open_fleet, prefix, "one/m", override_url=url)).status == 200
    (asked,) = second.asked
    assert (asked.target, asked.json["model"]) == ("/v9/talk?tenant=7", "m")
    assert asked.header("authorization") is None
    assert asked.header("x-team") is None
    row = open_fleet.attempt()
    assert row["attributes"]["url.full"] == f"{second.url}/v9/talk"
    assert "tenant" not in json.dumps(row)


async def test_a_dead_url_of_one_request_is_nobody_elses(upstream: Upstream, open_fleet: InProcess):
    """It opens no circuit for those who ask the provider itself."""
    for _ in range(3):
        answer = await with_options(open_fleet, "x-gateway-", "one/m", override_url="http://127.0.0.1:1/x")
        assert answer.status == 502
    assert (await ask(open_fleet, "chat", "smart")).status == 200
    assert len(upstream.asked) == 1
    assert facts(open_fleet, "provider", "reason")[-1] == ("one", "first")


async def test_a_key_of_ones_own(prefix: str, upstream: Upstream, second: Upstream, open_fleet: InProcess):
    """It is shown instead of ours, to each candidate, and to an overridden URL; no journal has it."""
    key = "sk-theirs-0123456789abcdef"
    upstream.answers(fails("chat", 401))
    assert (await with_options(open_fleet, prefix, "smart", provider_api_key=key)).status == 200
    url = f"{second.url}/v9"
    listed = [{"provider": "one", "model": "m", "api_key": key}]
    assert (await with_options(open_fleet, prefix, models=listed, override_url=url)).status == 200
    assert {asked.header("authorization") for asked in (*upstream.asked, *second.asked)} == {f"Bearer {key}"}
    assert (await ask(open_fleet, "chat", "smart")).status == 200  # ours does not rest since theirs was refused
    assert upstream.asked[-1].header("authorization") == "Bearer sk-ours-0123456789abcdef"
    for path in (open_fleet.data / "live").iterdir():
        assert b"sk-theirs" not in path.read_bytes()
        assert b"sk-ours" not in path.read_bytes()
