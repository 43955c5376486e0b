"""Headers and hooks: requests to the gateway have the current run and step, and no others do."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest

from gateway import ids as run_ids
from gateway.client import (
    configure,
    headers,
    httpx_async_hook,
    httpx_async_hook_for,
    httpx_hook,
    httpx_hook_for,
    run,
    step,
)
from tests.support.event_receiver import ACCEPTED, EventReceiver, event_receiver
from tests.support.sdks import CHAT, HELLO, KEY, MESSAGE
from tests.support.upstream import Asked, Upstream, reply

OURS = ("traceparent", "x-gateway-")


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[EventReceiver]:
    """Start a gateway that listens, and answers calls as OpenAI and Anthropic would."""
    async with event_receiver(monkeypatch, upstream) as gateway:
        answers = {"/events": ACCEPTED, "/v1/chat/completions": reply(CHAT), "/v1/messages": reply(MESSAGE)}
        upstream.answer = lambda asked: list(answers.get(asked.target, reply({})))
        yield gateway


def ours(asked: Asked) -> dict[str, str]:
    """Return those headers of a request that are the client's."""
    return {name.lower(): value for name, value in asked.headers if name.lower().startswith(OURS)}


def calls(upstream: Upstream) -> list[dict[str, str]]:
    """Return the client's headers of each call, in order."""
    return [ours(asked) for asked in upstream.asked if asked.target != "/events"]


@pytest.mark.usefixtures("gateway")
async def test_headers_say_run_step_trace_and_metadata():
    """Outside of any run the metadata only; in a run its span, in a step that one's."""
    assert headers() == {}
    configure(application="shop", environment="prod")
    assert headers() == {"x-gateway-application": "shop", "x-gateway-environment": "prod"}
    with run("r", session="s-1", user="u-1", application="other", extra={"é": [1]}) as r:
        assert headers() == {
            "traceparent": f"00-{run_ids.trace_id(r.id)}-{run_ids.run_span_id(r.id)}-01",
            "x-gateway-run": r.id,
            "x-gateway-application": "other",
            "x-gateway-environment": "prod",
            "x-gateway-session": "s-1",
            "x-gateway-user": "u-1",
            "x-gateway-extra-meta": '{"\\u00e9": [1]}',
        }
        with step("s", step_index=2, prompt_id="p", prompt_version=3, workflow_id="w", workflow_name="n") as s:
            said = headers()
            assert said["traceparent"] == f"00-{r.trace_id}-{run_ids.step_span_id(s.id)}-01"
            assert (said["x-gateway-run"], said["x-gateway-step"]) == (r.id, s.id)
            assert (said["x-gateway-step-index"], said["x-gateway-prompt-version"]) == ("2", "3")
            assert (said["x-gateway-prompt-id"], said["x-gateway-session"]) == ("p", "s-1")
            assert (said["x-gateway-workflow-id"], said["x-gateway-workflow-name"]) == ("w", "n")
        with step("s", organization_id="o", project_id="q", user="u-2"):
            said = headers()
            assert (said["x-gateway-organization-id"], said["x-gateway-project-id"]) == ("o", "q")
            assert said["x-gateway-user"] == "u-2"
            assert "x-gateway-step-index" not in said
    assert set(headers()) == {"x-gateway-application", "x-gateway-environment"}


async def test_headers_are_such_that_any_library_sends_them(gateway, caplog):
    """One line of ASCII each, not too long; what would have the request refused is left out and logged."""
    odd: Any = {"step_index": "two", "prompt_version": 10**10, "extra": {"x": "y" * 5000}}
    with run("r", user="Zoë\r\nX-Evil: 1", session="s" * 5000, workflow_name="  \n ", prompt_id=7, id="né", **odd):
        said = headers()
        assert said["x-gateway-user"] == "Zo%C3%AB  X-Evil: 1"
        assert said["x-gateway-run"] == "n%C3%A9"
        assert said["x-gateway-session"] == "s" * 1024
        assert said["x-gateway-prompt-id"] == "7"
        left_out = {
            "x-gateway-workflow-name",
            "x-gateway-step-index",
            "x-gateway-prompt-version",
            "x-gateway-extra-meta",
        }
        assert not left_out & set(said)
        assert headers() == said
        assert all(name.isascii() and value.isascii() and value.isprintable() for name, value in said.items())
        request = urllib.request.Request(f"{gateway.url}/v1/models", headers=said)
        await asyncio.to_thread(lambda: urllib.request.urlopen(request).close())
        async with httpx.AsyncClient(event_hooks={"request": [httpx_async_hook]}) as client:
            await client.get(f"{gateway.url}/v1/models")
    assert calls(gateway.upstream) == [said, said]
    assert len(caplog.records) == 3


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_hooks_add_them_to_requests_of_httpx(gateway, library):
    """In clients of either kind, of either library; each request has those of where it is made."""
    configure(token="s3cret")

    def synchronous() -> None:
        with library.Client(event_hooks={"request": [httpx_hook]}) as client:
            client.post(f"{gateway.url}/v1/chat/completions", json={})

    async with library.AsyncClient(event_hooks={"request": [httpx_async_hook]}) as client:
        async with run("r"), step("one") as one:
            first = headers()
            await asyncio.to_thread(synchronous)
            await client.post(f"{gateway.url}/v1/chat/completions", json={})
        async with step("two") as two:
            second = headers()
            await client.get(f"{gateway.url}/v1/models", params={"a": 1})
        await client.get(f"{gateway.url}/v1/models")
    token = {"x-gateway-token": "s3cret"}
    assert calls(gateway.upstream) == [first | token, first | token, second | token, token]
    assert first["x-gateway-step"] == one.id != two.id


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
async def test_nobody_else_learns_of_them(gateway, library, upstream):
    """Neither another host or port, nor one to which the gateway redirects; this machine has several names."""
    configure(token="s3cret")
    port = gateway.url.rpartition(":")[2]
    async with Upstream() as other:
        upstream.answer = lambda asked: list(
            ACCEPTED if asked.target == "/events" else reply({}, "307 Temporary Redirect", [("Location", other.url)])
        )
        async with library.AsyncClient(event_hooks={"request": [httpx_async_hook]}, follow_redirects=True) as client:
            async with run("r", user="u-1"):
                await client.get(f"{other.url}/elsewhere")
                await client.post(
                    f"http://localhost:{port}/v1/x", content=b"y", headers={"X-Own": "1", "x-gateway-user": "u-9"}
                )
            assert set(calls(upstream)[0]) == {"traceparent", "x-gateway-run", "x-gateway-token", "x-gateway-user"}
        assert [ours(asked) for asked in other.asked] == [{}, {"x-gateway-user": "u-9"}]
        assert other.asked[1].header("X-Own") == "1"


async def test_a_redirect_within_the_gateway_keeps_them(gateway, upstream):
    """Then they are those of the first request again."""
    to_other = reply({}, "307 Temporary Redirect", [("Location", "/there")])
    upstream.answer = lambda asked: list(to_other if asked.target == "/here" else ACCEPTED)
    async with httpx.AsyncClient(event_hooks={"request": [httpx_async_hook]}, follow_redirects=True) as client:
        with run("r"):
            await client.get(f"{gateway.url}/here")
    here, there = calls(upstream)
    assert here == there != {}


async def test_a_hook_for_another_url_gives_ids_but_no_token(gateway):
    """A second gateway may be told of runs; the token is the first one's."""
    configure(token="s3cret")
    async with Upstream() as other:
        hooks = {"request": [httpx_async_hook_for(f"{other.url}/v1")]}
        with run("r", user="u-1"):
            said = headers()
            async with httpx.AsyncClient(event_hooks=hooks) as client:
                await client.get(f"{other.url}/v1/models")
                await client.get(f"{gateway.url}/v1/models")
            with httpx.Client(event_hooks={"request": [httpx_hook_for(other.url)]}) as client:
                await asyncio.to_thread(client.get, f"{other.url}/v1/models")
        assert [ours(asked) for asked in other.asked] == [said, said]
    assert calls(gateway.upstream) == [{}]
    with pytest.raises(ValueError, match="must be like http"):
        httpx_hook_for("localhost")


async def test_what_the_caller_says_wins(gateway):
    """Each header by itself, in any case."""
    own = {"Traceparent": f"00-{'a' * 32}-{'b' * 16}-00", "X-Gateway-User": "mine", "X-GATEWAY-STEP": "own"}
    async with httpx.AsyncClient(event_hooks={"request": [httpx_async_hook]}) as client:
        with run("r", user="u-1", session="s-1") as r, step("s"):
            await client.get(f"{gateway.url}/v1/models", headers=own)
    (said,) = calls(gateway.upstream)
    assert said == {name.lower(): value for name, value in own.items()} | {
        "x-gateway-run": r.id,
        "x-gateway-session": "s-1",
    }


async def test_openai_and_anthropic_send_them(gateway):
    """By the http client that each SDK has, synchronous and not; or by `extra_headers`, without any hook."""
    url = gateway.url
    async with (
        openai.AsyncOpenAI(
            base_url=f"{url}/v1",
            api_key=KEY,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"request": [httpx_async_hook]}),
        ) as of_openai,
        anthropic.AsyncAnthropic(
            base_url=url,
            api_key=KEY,
            http_client=anthropic.DefaultAsyncHttpxClient(event_hooks={"request": [httpx_async_hook]}),
        ) as of_anthropic,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as plain,
    ):

        def synchronous() -> None:
            with (
                openai.OpenAI(
                    base_url=f"{url}/v1",
                    api_key=KEY,
                    http_client=openai.DefaultHttpxClient(event_hooks={"request": [httpx_hook]}),
                ) as first,
                anthropic.Anthropic(
                    base_url=url,
                    api_key=KEY,
                    http_client=anthropic.DefaultHttpxClient(event_hooks={"request": [httpx_hook]}),
                ) as second,
            ):
                first.chat.completions.create(model="m", messages=HELLO)
                second.messages.create(model="m", messages=HELLO, max_tokens=9)

        async with run("r"), step("s"):
            said = headers()
            await of_openai.chat.completions.create(model="m", messages=HELLO)
            await of_anthropic.messages.create(model="m", messages=HELLO, max_tokens=9)
            await plain.chat.completions.create(model="m", messages=HELLO, extra_headers=headers())
            await plain.chat.completions.create(model="m", messages=HELLO)
            await asyncio.to_thread(synchronous)
    assert calls(gateway.upstream) == [said, said, said, {}, said, said]


@pytest.mark.usefixtures("gateway")
async def test_a_hook_that_breaks_does_not_break_the_request(caplog):
    """It is logged once."""

    class Nothing:
        """No request at all."""

    httpx_hook(Nothing())
    await httpx_async_hook(Nothing())
    assert [each.getMessage() for each in caplog.records] == ["a request could not be given its headers"]
