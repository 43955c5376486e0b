"""Lists of models: one provider's as it came, several providers' as one, each name leading to its model."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from gateway.config.model import Config
from gateway.dialects.shared.model_list import Model
from gateway.providers.table import build
from gateway.proxy.list_models import names as names_of
from gateway.proxy.routing.routes import parse_path
from tests.support import routes
from tests.support.gateways import InProcess
from tests.support.raw_http import Answer, connected, exchange, request
from tests.support.upstream import CLOSE, RESET, Asked, Step, Upstream, reply

KEY = "sk-configured-0123456789"
VERSION = ("anthropic-version", "2023-06-01")
DEMO = ["demo/chat", "demo/embed"]


def openais(*names: str, **more: Any) -> list[Step]:
    """Make OpenAI's list."""
    data = [{"id": name, "object": "model", "created": 1, "owned_by": "o", **more} for name in names]
    return reply({"object": "list", "data": data})


ANTHROPICS = reply(
    {
        "data": [{"type": "model", "id": "claude-x", "display_name": "X", "created_at": "2026-01-01T00:00:00Z"}],
        "has_more": False,
        "first_id": "claude-x",
        "last_id": "claude-x",
    }
)
GOOGLES = reply({"models": [{"name": "models/gemini-3", "version": "3"}]})
OLLAMAS = reply({"models": [{"name": "llama3:latest", "model": "llama3:latest"}]})
Providers = dict[str, Upstream]


@asynccontextmanager
async def listing(
    data: Path,
    scripts: dict[str, list[Step]],
    more: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
    top: str = "",
) -> AsyncIterator[tuple[InProcess, Providers]]:
    """Run a gateway whose providers answer by `scripts`; each has a key unless `more` says what it has."""
    async with AsyncExitStack() as stack:
        upstreams = {name: await stack.enter_async_context(Upstream()) for name in scripts}
        toml = top
        for name, script in scripts.items():
            upstreams[name].answers(script)
            own = (more or {}).get(name, f"api_key = '{KEY}'")
            toml += f'[providers.{name}]\nbase_url = "{upstreams[name].url}"\n{own}\n'
        yield await stack.enter_async_context(InProcess(data, toml, environ)), upstreams


async def listed(gateway: InProcess, *headers: tuple[str, str], path: str = "/v1/models") -> Answer:
    """Ask for the list."""
    return await exchange(gateway.url, request("GET", path, headers))


def names(answer: Answer) -> list[str]:
    """Return the names in a list, the demo's left out."""
    assert answer.status == 200
    return [each["id"] for each in json.loads(answer.body)["data"] if not each["id"].startswith("demo/")]


async def test_one_providers_list_is_its_own(tmp_path: Path):
    """Relayed like any other request, with the client's headers and every byte of the answer."""
    body = b'{ "object":"list", "data":[ ], "odd":1 }'
    script = reply(body, headers=[("X-Models-Etag", "e1")])
    async with listing(tmp_path / "data", {"openai": script}, {"openai": ""}) as (gateway, upstreams):
        answer = await listed(gateway, ("Authorization", "Bearer mine"), path="/v1/models?client_version=1")
        assert (answer.body, answer.values(b"x-models-etag")) == (body, [b"e1"])
        (asked,) = upstreams["openai"].asked
        assert (asked.target, asked.header("authorization")) == ("/v1/models?client_version=1", "Bearer mine")
        assert gateway.attempt()["outcome"] == "ok"


async def test_a_list_on_a_stale_connection_is_requested_once_more(tmp_path: Path):
    """A kept connection that was closed costs the list an attempt of its own, and the client nothing."""
    async with listing(tmp_path / "data", {"openai": openais("gpt-5"), "gemini": GOOGLES}) as (gateway, upstreams):
        upstreams["openai"].answers(openais("gpt-5"), [CLOSE], openais("gpt-5"))
        for _ in range(2):
            answer = await listed(gateway)
            assert "gpt-5" in names(answer)
            assert answer.values(b"x-gateway-unlisted") == []
        attempts = [row for row in gateway.rows("CLIENT") if row["provider"] == "openai"]
        assert [(row["reason"], row["outcome"]) for row in attempts] == [
            ("listing", "ok"),
            ("listing", "upstream_abort"),
            ("stale connection", "ok"),
        ]


@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/v1/models", "/v1/models/", "/v1/models?limit=3"])
async def test_several_providers_lists_are_one(tmp_path: Path, path):
    """Each with a key of its own, at its own place and in its own words; the names are those that lead there."""
    scripts = {
        "openai": openais("gpt-5", "text-embedding-3"),
        "anthropic": ANTHROPICS,
        "gemini": GOOGLES,
        "ollama": OLLAMAS,
        "groq": openais("openai/gpt-oss-120b"),
        "local": openais("big"),
    }
    more = {"ollama": "", "local": "headers = {X-Team = 't'}"}
    async with listing(tmp_path / "data", scripts, more) as (gateway, upstreams):
        answer = await listed(gateway, ("Authorization", "Bearer mine"), path=path)
        assert names(answer) == [
            *("gpt-5", "openai/gpt-5", "text-embedding-3", "openai/text-embedding-3"),
            *("anthropic/claude-x", "groq/openai/gpt-oss-120b", "ollama/llama3:latest", "gemini/gemini-3", "local/big"),
        ]
        assert answer.values(b"x-gateway-unlisted") == []
        sent = {name: upstream.asked for name, upstream in upstreams.items()}
        assert {name: [each.target for each in asked] for name, asked in sent.items()} == {
            "openai": ["/v1/models"],
            "anthropic": ["/v1/models?limit=1000"],
            "gemini": ["/v1beta/models?pageSize=1000"],
            "ollama": ["/api/tags"],
            "groq": ["/openai/v1/models"],
            "local": ["/v1/models"],
        }
        assert sent["openai"][0].header("authorization") == f"Bearer {KEY}"
        assert sent["anthropic"][0].header("x-api-key") == KEY
        assert sent["anthropic"][0].header("anthropic-version") == "2023-06-01"
        assert sent["gemini"][0].header("x-goog-api-key") == KEY
        assert sent["local"][0].header("x-team") == "t"
        assert [name for name, asked in sent.items() if "mine" in str(asked)] == []
        owners = {each["id"]: each["owned_by"] for each in json.loads(answer.body)["data"]}
        assert (owners["gpt-5"], owners["gemini/gemini-3"], owners["demo/chat"]) == ("o", "gemini", "demo")


async def test_every_name_leads_to_its_model(tmp_path: Path):
    """A name that another provider's prefix or claim takes is not told, and those that are told are asked for so."""
    scripts = {
        "openai": openais("gpt-5", "local/x", "claude-mine"),
        "anthropic": openais("claude-x"),
        "local": openais("big", "gpt-5"),
    }
    more = {"openai": "", "anthropic": f"api_key = '{KEY}'"}
    async with listing(tmp_path / "data", scripts, more) as (gateway, upstreams):
        told = names(await listed(gateway))
        assert told == [
            *("gpt-5", "openai/gpt-5", "openai/local/x", "claude-mine", "openai/claude-mine"),
            *("anthropic/claude-x", "local/big", "local/gpt-5"),
        ]
        for upstream in upstreams.values():
            upstream.answers(reply({"id": "1"}))
            upstream.asked.clear()
        for name in told:
            body = json.dumps({"model": name, "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]})
            head = [("Content-Type", "application/json")]
            await exchange(gateway.url, request("POST", "/v1/chat/completions", head, body.encode()))
        asked = {name: [each.json["model"] for each in upstream.asked] for name, upstream in upstreams.items()}
        assert asked == {
            "openai": ["gpt-5", "gpt-5", "local/x", "claude-mine", "claude-mine"],
            "anthropic": ["claude-x"],
            "local": ["big", "gpt-5"],
        }


@pytest.mark.parametrize(
    ("anthropics", "provider", "model", "told"),
    [
        (False, "anthropic", "claude-x", ["claude-x", "anthropic/claude-x"]),
        (False, "gemini", "gemini-3", ["gemini-3", "gemini/gemini-3"]),
        (False, "gemini", "gemma-3", ["gemini/gemma-3"]),
        (True, "openai", "gpt-5", ["gpt-5", "openai/gpt-5"]),
        (True, "openai", "gpt-oss-120b", ["openai/gpt-oss-120b"]),
        (False, "groq", "openai/gpt-5", ["groq/openai/gpt-5"]),
        (False, "openai", "groq/x", ["openai/groq/x"]),
        (False, "aws-bedrock", "claude-x", ["aws-bedrock/claude-x"]),
    ],
)
def test_a_makers_models_go_by_their_own_names(anthropics, provider, model, told):
    """Where those lead to it, and else with its prefix only."""
    providers = build(Config(), {"AWS_REGION": "us-east-1"})
    where = parse_path("GET", "/v1/models", routes.ANTHROPICS if anthropics else (), providers)
    found = names_of(providers[provider], [Model(model)], where, providers)
    assert [each.name for each in found] == told


async def test_a_provider_without_a_list_is_named(tmp_path: Path):
    """Bedrock's runtime has none."""
    environ = {"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": "us-east-1"}
    async with listing(tmp_path / "data", {"openai": openais("gpt-5")}, environ=environ) as (gateway, _):
        answer = await listed(gateway)
        assert (names(answer), answer.values(b"x-gateway-unlisted")) == (["gpt-5", "openai/gpt-5"], [b"aws-bedrock"])
        assert gateway.exchange()["attempts"] == 1


async def test_anthropics_clients_get_their_own_shape(tmp_path: Path):
    """What Anthropic says of its models stays, and others' models are there in its words."""
    scripts = {"openai": openais("gpt-5", context=5), "anthropic": ANTHROPICS}
    async with listing(tmp_path / "data", scripts) as (gateway, upstreams):
        answer = await listed(gateway, VERSION, ("x-api-key", "mine"), ("anthropic-beta", "b1"))
        whole = json.loads(answer.body)
        assert (whole["has_more"], whole["first_id"]) == (False, "openai/gpt-5")
        assert names(answer) == ["openai/gpt-5", "claude-x", "anthropic/claude-x"]
        by_name = {each["id"]: each for each in whole["data"]}
        assert by_name["claude-x"]["display_name"] == "X"
        assert by_name["anthropic/claude-x"]["created_at"] == "2026-01-01T00:00:00Z"
        assert "context" not in by_name["openai/gpt-5"]
        (asked,) = upstreams["anthropic"].asked
        assert (asked.header("x-api-key"), asked.header("anthropic-beta")) == (KEY, "b1")
        assert upstreams["openai"].asked[0].header("anthropic-beta") is None


@pytest.mark.parametrize("key", ["mine", None])
async def test_a_clients_key_is_for_the_provider_it_asked(tmp_path: Path, key):
    """The path's own, which is asked with it where no key is configured."""
    scripts = {"openai": openais("gpt-5"), "anthropic": ANTHROPICS}
    async with listing(tmp_path / "data", scripts, {"openai": ""}) as (gateway, upstreams):
        headers = [("Authorization", f"Bearer {key}"), ("If-None-Match", '"e1"')] if key else []
        assert "gpt-5" in names(await listed(gateway, *headers))
        assert upstreams["openai"].asked[0].header("authorization") == (f"Bearer {key}" if key else None)
        assert upstreams["openai"].asked[0].header("if-none-match") is None
        assert "mine" not in str(upstreams["anthropic"].asked)


def arrival(upstream: Upstream, script: list[Step]) -> asyncio.Event:
    """Answer by a script; return what is set when a request has come."""
    arrived = asyncio.Event()

    def answer(_asked: Asked) -> list[Step]:
        arrived.set()
        return script

    upstream.answer = answer
    return arrived


FAILURES: dict[str, tuple[list[Step], str]] = {
    "refuses the key": (reply({"error": {"message": f"no such key: {KEY}"}}, "401 X"), "auth"),
    "has no list": (reply({"detail": "nope"}, "404 X"), "bad_input"),
    "breaks off": ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", 0.02, RESET], "upstream_abort"),
    "speaks no HTTP": ([b"hello\r\n\r\n", CLOSE], "parsing"),
    "says no JSON": (reply(b"<html>"), "ok"),
    "says another thing": (reply({"hello": 1}), "ok"),
    "says too much": (reply(b"[" + b" " * 9 * 1024 * 1024 + b"]"), "ok"),
    "is silent": ([30.0], "timeout"),
    "stops within": ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", 30.0], "timeout"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_who_gives_no_list_is_named_and_the_others_are_there(tmp_path: Path, failure):
    """Whatever is wrong with one, it is told in the head, and its attempt says what it was."""
    script, outcome = FAILURES[failure]
    scripts = {"openai": openais("gpt-5"), "anthropic": script}
    data = tmp_path / "data"
    nobody = "\n[providers.z]\nbase_url = 'http://127.0.0.1:9'\n"
    more = {"anthropic": f"api_key = '{KEY}'{nobody}"}
    top = "default_timeout = 2.0\n" if outcome == "timeout" else ""
    async with listing(data, scripts, more, top=top) as (gateway, upstreams):
        answer = await listed(gateway)
        assert names(answer) == ["gpt-5", "openai/gpt-5"]
        assert answer.values(b"x-gateway-unlisted") == [b"anthropic, z"]
        root = gateway.exchange()
        assert (root["outcome"], root["http_status"], root["attempts"], root["retries"]) == ("ok", 200, 3, 0)
        rows = {row["provider"]: row for row in gateway.rows("CLIENT")}
        assert {name: row["outcome"] for name, row in rows.items()} == {
            "openai": "ok",
            "anthropic": outcome,
            "z": "sending",
        }
        if failure == "refuses the key":
            assert rows["anthropic"]["error"] == "no such key: [redacted]"
        if outcome == "timeout" or failure == "says too much":
            await upstreams["anthropic"].left()
        assert KEY not in json.dumps(gateway.rows())


async def test_spans_of_a_list_are_one_for_each_provider(tmp_path: Path):
    """Children of the exchange's, made at once, with what each took for itself and none of the waiting as ours."""
    gate = asyncio.Event()
    scripts = {"openai": openais("gpt-5"), "anthropic": ANTHROPICS}
    async with listing(tmp_path / "data", scripts) as (gateway, upstreams):
        one = arrival(upstreams["openai"], [gate, *scripts["openai"]])
        other = arrival(upstreams["anthropic"], [gate, 0.2, *ANTHROPICS])
        asking = asyncio.ensure_future(listed(gateway))
        async with asyncio.timeout(20):
            await asyncio.gather(one.wait(), other.wait())  # both before either has answered
        gate.set()
        await asking
        root, attempts = gateway.exchange(), gateway.rows("CLIENT")
        assert {row["parent_span_id"] for row in attempts} == {root["span_id"]}
        assert {row["trace_id"] for row in attempts} == {root["trace_id"]}
        assert sorted(row["attempt"] for row in attempts) == [0, 1]
        for row in attempts:
            assert row["reason"] == "listing"
            assert row["attributes"]["url.full"].endswith("/v1/models")
            assert not {"operation", "resend_count"} & row.keys()
        slow = next(row for row in attempts if row["provider"] == "anthropic")
        assert slow["duration_ns"] > 0.2e9
        assert all(row["overhead_us"] >= 0 for row in (root, *attempts))
        for row in (root, slow):
            assert row["overhead_us"] <= row["duration_ns"] / 1000 - 200_000


async def test_a_client_that_leaves_ends_every_span(tmp_path: Path):
    """The providers are let go, and what was begun is recorded."""
    async with listing(tmp_path / "data", {"openai": [30.0], "anthropic": [30.0]}) as (gateway, upstreams):
        arrived = [arrival(upstream, [30.0]) for upstream in upstreams.values()]
        async with connected(gateway.url) as client:
            await client.send(request("GET", "/v1/models"))
            async with asyncio.timeout(20):
                await asyncio.gather(*(each.wait() for each in arrived))
        await gateway.ended()
        for upstream in upstreams.values():
            await upstream.left()
        assert [row["outcome"] for row in gateway.rows()] == ["client_abort"] * 3


@pytest.mark.parametrize(
    ("method", "path"),
    [("HEAD", "/v1/models"), ("POST", "/v1/models"), ("GET", "/v1/models/gpt-5"), ("GET", "/openai/v1/models")],
)
async def test_other_requests_for_models_are_the_providers(tmp_path: Path, method, path):
    """One model, another method and a mount are relayed."""
    async with listing(tmp_path / "data", {"openai": openais("gpt-5"), "anthropic": ANTHROPICS}) as (
        gateway,
        upstreams,
    ):
        await exchange(gateway.url, request(method, path))
        assert [len(upstream.asked) for upstream in upstreams.values()] == [1, 0]


async def test_the_sdks_read_the_list(tmp_path: Path):
    """OpenAI's and Anthropic's own clients, all pages of it."""
    scripts = {"openai": openais("gpt-5"), "anthropic": ANTHROPICS}
    async with (
        listing(tmp_path / "data", scripts) as (gateway, _),
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="k") as one,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="k") as other,
    ):
        assert [model.id async for model in one.models.list()][:3] == ["gpt-5", "openai/gpt-5", "anthropic/claude-x"]
        found = [model async for model in other.models.list(limit=1)]
        assert [model.id for model in found][:3] == ["openai/gpt-5", "claude-x", "anthropic/claude-x"]
        assert found[1].display_name == "X"
