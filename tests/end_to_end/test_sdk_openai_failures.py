"""To OpenAI's Python SDK failures are what they are without the gateway; but retries the gateway makes itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from tests.support.gateways import InProcess, to
from tests.support.sdks import CHAT, FOREVER, HELLO, KEY, TRIES, facts, parts_of, recorded, recorded_failure, said, text
from tests.support.upstream import CLOSE, RESET, Step, Upstream, events, reply, stream

ASK: dict[str, Any] = {"model": "gpt-5.4-mini", "messages": HELLO}

Read = Callable[[str], bytes]


@pytest.fixture(name="client")
async def _client(gateway: InProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    """Make it as anybody would: two retries, ten minutes."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client:
        yield client


# The odd spacing shows whether an error's body is the provider's own.
ERROR = b'{"error":  {"message":"No \xc3\xa9.","type":"some_type","param":"model","code":"some_code"}}\n'


def failing(status: str, *headers: tuple[str, str]) -> list[Step]:
    """Fail as the provider does."""
    return reply(ERROR, status, [("x-request-id", "req_bad"), *headers])


OVERLOADED = failing("500 Internal Server Error")


@pytest.mark.parametrize(
    ("status", "raised", "outcome", "tries"),
    [
        ("400 Bad Request", openai.BadRequestError, "bad_input", 1),
        ("401 Unauthorized", openai.AuthenticationError, "auth", 1),
        ("403 Forbidden", openai.PermissionDeniedError, "auth", 1),
        ("404 Not Found", openai.NotFoundError, "bad_input", 1),
        ("422 Unprocessable Entity", openai.UnprocessableEntityError, "bad_input", 1),
        ("429 Too Many Requests", openai.RateLimitError, "rate_limit", TRIES),
        ("500 Internal Server Error", openai.InternalServerError, "server", TRIES),
        ("503 Service Unavailable", openai.InternalServerError, "server", TRIES),
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_errors_are_the_sdks_own(
    client: openai.AsyncOpenAI,
    upstream: Upstream,
    gateway: InProcess,
    status: str,
    raised: type[openai.APIStatusError],
    outcome: str,
    tries: int,
    streamed: bool,
):
    """An error has the class, body and request id it has without the gateway, which adds no word on retries."""
    upstream.answers(failing(status))
    with pytest.raises(raised) as caught:
        await client.with_options(max_retries=0).chat.completions.create(**ASK, stream=streamed)
    error = caught.value
    assert upstream.asked[0].json["model"] == "gpt-5.4-mini"
    assert len(upstream.asked) == tries
    assert error.response.content == ERROR
    assert (error.request_id, error.type, error.param, error.code) == ("req_bad", "some_type", "model", "some_code")
    assert "x-should-retry" not in error.response.headers
    assert error.response.headers["x-gateway-trace-id"] == recorded_failure(gateway, int(status[:3]), outcome, tries)


@pytest.mark.parametrize("code", ["insufficient_quota", "rate_limit_exceeded"])
async def test_only_a_used_up_quota_is_not_sent_again(
    client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, code: str
):
    """Of two errors with one status the SDK and the gateway try only the one again that may pass."""
    error = {"error": {"message": "No.", "type": code, "param": None, "code": code}}
    upstream.answers(reply(error, "429 Too Many Requests", [("retry-after-ms", "1")]))
    with pytest.raises(openai.RateLimitError):
        await client.with_options(max_retries=1).chat.completions.create(**ASK)
    assert len(upstream.asked) == (1 if code == "insufficient_quota" else 2 * TRIES)
    kind = "out_of_credits" if code == "insufficient_quota" else "rate_limit"
    assert {row["outcome"] for row in gateway.rows()} == {kind}


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_retries_are_not_seen_by_the_client(
    client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read, streamed: bool
):
    """After two failures the third try's answer is all that the SDK sees; each try is a row, its tokens count once."""
    good = stream(events(read("chat_text.sse"))) if streamed else reply(CHAT)
    upstream.answers([RESET], OVERLOADED, good)
    answer = await client.chat.completions.create(**ASK, stream=streamed)
    if streamed:
        assert len([chunk async for chunk in answer]) == 4
    else:
        assert answer.to_dict() == CHAT
    assert len(upstream.asked) == 3
    assert len({(asked.target, asked.body) for asked in upstream.asked}) == 1
    root, attempts = recorded(gateway)
    assert [row["outcome"] for row in attempts] == ["upstream_abort", "server", "ok"]
    assert [row["reason"] for row in attempts] == ["first", "retry after upstream_abort", "retry after server"]
    assert [row.get("backoff_ms") for row in attempts] == [None, 1.0, 2.0]
    assert facts(root, "outcome", "retries", "rate_limited", "total_tokens") == (
        "ok", 2, False, 1293 if streamed else 29,
    )  # fmt: skip


async def test_a_rate_limit_is_waited_for(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess):
    """The gateway waits as long as a 429 says, tries again, and the SDK sees only the answer."""
    limited = failing("429 Too Many Requests", ("retry-after-ms", "30"), ("retry-after", "1"))
    upstream.answers(limited, reply(CHAT))
    assert (await client.chat.completions.create(**ASK)).to_dict() == CHAT
    root, (first, second) = recorded(gateway)
    assert facts(root, "outcome", "rate_limited", "retries") == ("ok", True, 1)
    assert facts(first, "outcome", "error_type") == ("rate_limit", "429")
    assert facts(second, "outcome", "backoff_ms", "reason") == ("ok", 30.0, "retry after rate_limit")


async def test_a_long_rate_limit_is_the_clients(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess):
    """A wait longer than the gateway's longest is left to the client, with the provider's own word for it."""
    upstream.answers(failing("429 Too Many Requests", ("retry-after", "77")))
    with pytest.raises(openai.RateLimitError) as caught:
        await client.with_options(max_retries=0).chat.completions.create(**ASK)
    assert caught.value.response.headers["retry-after"] == "77"
    assert "x-should-retry" not in caught.value.response.headers
    assert facts(recorded(gateway)[0], "outcome", "attempts", "rate_limited") == ("rate_limit", 1, True)


async def test_what_the_gateway_does_not_retry_the_sdk_does(
    client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess
):
    """A conflict, which only the SDK tries again, is an exchange each time, and each says which retry it is."""
    upstream.answers(failing("409 Conflict", ("retry-after-ms", "1")), reply(CHAT))
    assert (await client.chat.completions.create(**ASK)).to_dict() == CHAT
    rows = [recorded(gateway, n)[0] for n in range(2)]
    assert [row["attributes"]["gateway.client.retry_count"] for row in rows] == ["0", "1"]
    assert [facts(row, "http_status", "attempts") for row in rows] == [(409, 1), (200, 1)]


async def test_a_provider_out_of_reach(tmp_path: Path, upstream: Upstream):
    """An error of the gateway's own is of the SDK's class, names the provider and setting, and is tried four times."""
    await upstream.__aexit__()
    async with (
        InProcess(tmp_path / "data", to(upstream.url)) as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client,
    ):
        with pytest.raises(openai.InternalServerError, match=r"'openai' failed.*\.openai\.base_url") as caught:
            await client.with_options(max_retries=0).chat.completions.create(**ASK)
        assert (caught.value.status_code, caught.value.type, caught.value.code) == (502, "server_error", "sending")
        root, attempts = recorded(gateway)
        assert facts(root, "outcome", "http_status", "attempts") == ("sending", 502, TRIES)
        assert {row["outcome"] for row in attempts} == {"sending"}


async def collect(answer: openai.AsyncStream[Any], got: list[str], until: str = "") -> None:
    """Read a stream's text, to its end or until it says something."""
    async for chunk in answer:
        content = chunk.choices[0].delta.content or ""
        got.append(content)
        if until and until in content:
            return


async def test_an_error_within_a_stream(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read):
    """The provider's error event is raised by the SDK after what came before it, and is no success in the store."""
    upstream.answers(stream(events(read("chat_error.sse"))))
    answer = await client.chat.completions.create(**ASK, stream=True)
    got: list[str] = []
    with pytest.raises(openai.APIError, match="The server had an error") as caught:
        await collect(answer, got)
    assert got == ["Once upon"]
    assert caught.value.type == "server_error"
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "http_status") == ("server", 200)
    assert facts(attempt, "outcome", "error_type", "finish_reasons", "usage_source") == (
        "server", "server_error", ["error"], "estimated",
    )  # fmt: skip
    assert said(attempt)[0][2] == [text("Once upon")]


@pytest.mark.parametrize("end", [RESET, CLOSE])
@pytest.mark.parametrize("beyond", [0, 40], ids=["between events", "within an event"])
async def test_a_broken_stream(
    client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read, end: str, beyond: int
):
    """A stream that the provider breaks off is never tried again, never looks whole, and is recorded as cut."""
    pieces = events(read("chat_text.sse"))
    upstream.answers(stream([*pieces[:3], *([pieces[3][:beyond]] if beyond else []), 0.05], end=end))
    asked = {"include_usage": True}  # else the gateway holds what is no whole event, and never passes on a part of one
    answer = await client.chat.completions.create(**ASK, stream=True, stream_options=asked)
    got: list[str] = []
    with pytest.raises(openai.APIConnectionError if beyond else openai.APIError):
        await collect(answer, got)
    assert "".join(got) == "Grüß dich 👋 東京"
    assert len(upstream.asked) == 1
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "attempts") == ("upstream_abort", 1)
    assert facts(attempt, "outcome", "usage_source", "finish_reasons") == ("upstream_abort", "estimated", ["error"])
    assert said(attempt)[0][2] == [text("Grüß dich 👋 東京")]


@pytest.mark.parametrize(
    ("fixture", "last", "outcome", "finish_reasons", "source", "tries"),
    [
        ("responses_failed.sse", "response.failed", "server", ["error"], "estimated", 1),
        ("responses_error.sse", "error", "rate_limit", ["error"], "estimated", 4),  # before any content
        ("responses_incomplete.sse", "response.incomplete", "ok", ["length"], "reported", 1),
    ],
)
async def test_a_response_that_does_not_complete(
    client: openai.AsyncOpenAI,
    upstream: Upstream,
    gateway: InProcess,
    read: Read,
    fixture: str,
    last: str,
    outcome: str,
    finish_reasons: list[str],
    source: str,
    tries: int,
):
    """A streamed response tells its failure in an event of its own, which arrives, and which the row is true to."""
    upstream.answers(stream(events(read(fixture))))
    answer = await client.responses.create(model="gpt-5.4", input="Hello", stream=True)
    assert [event.type async for event in answer][-1] == last
    root, (*_, attempt) = recorded(gateway)
    assert facts(root, "outcome", "http_status", "attempts") == (outcome, 200, tries)
    assert facts(attempt, "outcome", "finish_reasons", "usage_source") == (outcome, finish_reasons, source)


async def test_a_broken_response(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read):
    """A streamed response that the provider breaks off raises the SDK's error, and is recorded as cut."""
    upstream.answers(stream([*events(read("responses_text.sse"))[:17], 0.05], end=RESET))
    answer = await client.responses.create(model="gpt-5.4", input="Hello", stream=True)
    got: list[str] = []

    async def collect_text() -> None:
        async for event in answer:
            got.extend([event.delta] if event.type == "response.output_text.delta" else [])

    with pytest.raises(openai.APIError, match="'openai' failed"):
        await collect_text()
    assert got == ["Hi", " thère."]
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "attempts") == ("upstream_abort", 1)
    assert facts(attempt, "outcome", "usage_source") == ("upstream_abort", "estimated")
    assert parts_of(attempt)[-1] == text("Hi thère.")


async def by_closing(answer: openai.AsyncStream[Any]) -> None:
    """Close the response half way."""
    await collect(answer, [], until="東京")
    await answer.close()


async def by_raising(answer: openai.AsyncStream[Any]) -> None:
    """Raise within the stream's context."""
    with suppress(KeyError):
        async with answer:
            await collect(answer, [], until="東京")
            raise KeyError


async def by_being_cancelled(answer: openai.AsyncStream[Any]) -> None:
    """Be cancelled while waiting for the next chunk."""
    await collect(answer, [], until="東京")
    task = asyncio.get_running_loop().create_task(collect(answer, []))
    await asyncio.sleep(0)  # it waits now
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("leave", [by_closing, by_raising, by_being_cancelled])
async def test_leaving_a_stream_half_way(
    client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess, read: Read, leave: Any
):
    """However a client leaves, the provider is left at once, and what it had said is recorded with an estimate."""
    upstream.answers(stream([*events(read("chat_text.sse"))[:3], FOREVER]))
    await leave(await client.chat.completions.create(**ASK, stream=True))
    await upstream.left()
    await gateway.ended()
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "attempts", "stream", "error_type") == ("client_abort", 1, True, None)
    assert facts(attempt, "outcome", "usage_source", "error_type") == ("client_abort", "estimated", None)
    assert said(attempt)[0][2] == [text("Grüß dich 👋 東京")]
    assert attempt["input_tokens"] > 0
    assert attempt["output_tokens"] > 0


async def test_leaving_before_the_answer(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess):
    """A call that is cancelled while the provider thinks leaves the provider too; nothing is known of its tokens."""
    asked = asyncio.Event()

    def thinking(_: Any) -> list[Step]:
        asked.set()
        return [FOREVER]

    upstream.answer = thinking
    task = asyncio.get_running_loop().create_task(client.chat.completions.create(**ASK))
    await asked.wait()
    task.cancel()
    await asyncio.wait([task])
    await upstream.left()
    await gateway.ended()
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "http_status", "attempts") == ("client_abort", None, 1)
    assert facts(attempt, "outcome", "http_status") == ("client_abort", None)
    assert facts(attempt, "usage_source", "total_tokens") == (None, None)
    assert said(attempt, "input") == [("user", None, [text("Hello")])]


async def test_leaving_during_a_backoff(client: openai.AsyncOpenAI, upstream: Upstream, gateway: InProcess):
    """A client that leaves while the gateway waits to try again ends the exchange, and no further try is made."""
    upstream.answers(failing("429 Too Many Requests", ("retry-after", "4")))
    task = asyncio.get_running_loop().create_task(client.chat.completions.create(**ASK))
    await gateway.ended(1, "CLIENT")
    task.cancel()
    await asyncio.wait([task])
    await gateway.ended()
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "attempts", "rate_limited") == ("client_abort", 1, True)
    assert attempt["outcome"] == "rate_limit"
    assert len(upstream.asked) == 1


async def test_the_clients_own_timeout(upstream: Upstream, gateway: InProcess):
    """Where the SDK gives up first, its retry is an exchange of its own, and neither is left with the provider."""
    upstream.answers([FOREVER])
    patience = httpx2.Timeout(60.0, read=1.0)
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=patience, max_retries=1) as client:
        with pytest.raises(openai.APITimeoutError):
            await client.chat.completions.create(**ASK)
    await upstream.left(2)
    await gateway.ended(2)
    rows = [recorded(gateway, n)[0] for n in range(2)]
    assert [row["outcome"] for row in rows] == ["client_abort", "client_abort"]
    assert [row["attributes"]["gateway.client.retry_count"] for row in rows] == ["0", "1"]
