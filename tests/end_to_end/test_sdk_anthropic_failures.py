"""To Anthropic's Python SDK failures are what they are without the gateway; but retries the gateway makes itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from tests.support.gateways import InProcess, to
from tests.support.sdks import FOREVER, HELLO, KEY, MESSAGE, TRIES, facts, recorded, recorded_failure, said, text
from tests.support.upstream import CLOSE, RESET, Step, Upstream, events, reply, stream

ASK: dict[str, Any] = {"model": "claude-sonnet-5", "max_tokens": 1024, "messages": HELLO}

Read = Callable[[str], bytes]


@pytest.fixture(name="client")
async def _client(gateway: InProcess) -> AsyncIterator[anthropic.AsyncAnthropic]:
    """Make it as anybody would: two retries, ten minutes."""
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY) as client:
        yield client


# The odd spacing shows whether an error's body is the provider's own.
ERROR = b'{"type":"error",  "error":{"type":"some_type","message":"No \xc3\xa9."},"request_id":"req_bad"}\n'


def failing(status: str, *headers: tuple[str, str]) -> list[Step]:
    """Fail as the provider does."""
    return reply(ERROR, status, [("request-id", "req_bad"), *headers])


@pytest.mark.parametrize(
    ("status", "raised", "outcome", "tries"),
    [
        ("400 Bad Request", anthropic.BadRequestError, "bad_input", 1),
        ("401 Unauthorized", anthropic.AuthenticationError, "auth", 1),
        ("403 Forbidden", anthropic.PermissionDeniedError, "auth", 1),
        ("404 Not Found", anthropic.NotFoundError, "bad_input", 1),
        ("413 Payload Too Large", anthropic.RequestTooLargeError, "bad_input", 1),
        ("429 Too Many Requests", anthropic.RateLimitError, "rate_limit", TRIES),
        ("500 Internal Server Error", anthropic.InternalServerError, "server", TRIES),
        ("529 ", anthropic.OverloadedError, "server", TRIES),
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_errors_are_the_sdks_own(
    client: anthropic.AsyncAnthropic,
    upstream: Upstream,
    gateway: InProcess,
    status: str,
    raised: type[anthropic.APIStatusError],
    outcome: str,
    tries: int,
    streamed: bool,
):
    """An error has the class, body and request id it has without the gateway, which adds no word on retries."""
    upstream.answers(failing(status))
    with pytest.raises(raised) as caught:
        await client.with_options(max_retries=0).messages.create(**ASK, stream=streamed)
    error = caught.value
    assert type(error) is raised
    assert len(upstream.asked) == tries
    assert error.response.content == ERROR
    assert (error.request_id, error.type, error.body["request_id"]) == ("req_bad", "some_type", "req_bad")
    assert "x-should-retry" not in error.response.headers
    assert error.response.headers["x-gateway-trace-id"] == recorded_failure(gateway, int(status[:3]), outcome, tries)


SOON = ("retry-after-ms", "1")
SPENT = reply(
    {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "Your credit balance is too low."},
    },
    "429 Too Many Requests",
)


@pytest.mark.parametrize("status", ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"])
async def test_an_outage_longer_than_the_gateways_tries_is_survived_by_the_sdks_own(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess, status: str
):
    """Five failures are too many for four tries; the SDK sends the request again, as it does without the gateway."""
    for url in (upstream.url, gateway.url):
        upstream.asked.clear()
        upstream.answers(*[failing(status, SOON)] * 5, reply(MESSAGE))
        persistent = client.with_options(max_retries=10, base_url=url)
        assert (await persistent.messages.create(**ASK)).to_dict() == MESSAGE
        assert len(upstream.asked) == 6
    rows = [recorded(gateway, n)[0] for n in range(2)]
    assert [facts(row, "http_status", "attempts") for row in rows] == [(int(status[:3]), TRIES), (200, 2)]


@pytest.mark.parametrize(
    ("answer", "tries"),
    [
        (SPENT, 1),
        (failing("501 Not Implemented"), 1),
        (failing("500 Internal Server Error", ("x-should-retry", "false")), 1),
        (failing("529 ", ("x-should-retry", "true"), SOON), 2 * TRIES),
    ],
    ids=["no credits", "unsupported", "the provider refuses", "the provider asks"],
)
async def test_the_sdk_sends_again_what_may_pass(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess, answer: list[Step], tries: int
):
    """A used up quota and 501 are sent once; a provider's own `x-should-retry` reaches the SDK as it came."""
    upstream.answers(answer)
    with pytest.raises(anthropic.APIStatusError):
        await client.with_options(max_retries=1).messages.create(**ASK)
    assert len(upstream.asked) == tries
    assert len(gateway.rows("SERVER")) == (2 if tries > 1 else 1)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
async def test_retries_are_not_seen_by_the_client(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess, read: Read, streamed: bool
):
    """After two failures the third try's answer is all that the SDK sees; each try is a row, its tokens count once."""
    good = stream(events(read("messages_text.sse"))) if streamed else reply(MESSAGE)
    upstream.answers(failing("529 "), failing("429 Too Many Requests", ("retry-after", "0.02")), good)
    answer = await client.messages.create(**ASK, stream=streamed)
    if streamed:
        assert [event.type async for event in answer][-1] == "message_stop"
    else:
        assert answer.to_dict() == MESSAGE
    assert len(upstream.asked) == 3
    assert len({(asked.target, asked.body) for asked in upstream.asked}) == 1
    root, attempts = recorded(gateway)
    assert [row["outcome"] for row in attempts] == ["server", "rate_limit", "ok"]
    assert [row["reason"] for row in attempts] == ["first", "retry after server", "retry after rate_limit"]
    assert [row.get("backoff_ms") for row in attempts] == [None, 1.0, 20.0]
    assert facts(root, "outcome", "retries", "rate_limited", "total_tokens") == (
        "ok", 2, True, 40 if streamed else 121,
    )  # fmt: skip


async def test_a_provider_out_of_reach(tmp_path: Path, upstream: Upstream):
    """An error of the gateway's own is of the SDK's class, names the provider and setting, and is tried four times."""
    await upstream.__aexit__()
    async with (
        InProcess(tmp_path / "data", to(upstream.url)) as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY) as client,
    ):
        with pytest.raises(anthropic.InternalServerError) as caught:
            await client.with_options(max_retries=0).messages.create(**ASK)
        root, attempts = recorded(gateway)
        assert caught.value.status_code == 502
        assert caught.value.body["type"] == "error"
        assert caught.value.body["request_id"] == root["trace_id"]
        assert caught.value.body["error"]["type"] == "api_error"
        assert "$.providers.anthropic.base_url" in caught.value.body["error"]["message"]
        assert facts(root, "outcome", "http_status", "attempts") == ("sending", 502, TRIES)
        assert {row["outcome"] for row in attempts} == {"sending"}


async def collect(answer: anthropic.AsyncStream[Any], got: list[str], until: str = "") -> None:
    """Read a stream's text, to its end or until it says something."""
    async for event in answer:
        if event.type == "content_block_delta":
            got.append(event.delta.text)
            if until and until in event.delta.text:
                return


async def test_an_error_within_a_stream(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess, read: Read
):
    """The provider's `event: error` is raised by the SDK after what came before it, and is no success in the store."""
    upstream.answers(stream(events(read("messages_error.sse"))))
    answer = await client.messages.create(**ASK, stream=True)
    got: list[str] = []
    with pytest.raises(anthropic.APIStatusError, match="Overloaded") as caught:
        await collect(answer, got)
    assert got == ["Half an ans"]
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "Overloaded"},
        "request_id": "req_01",
    }
    assert len(upstream.asked) == 1
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "http_status") == ("server", 200)
    assert facts(attempt, "outcome", "error_type", "finish_reasons") == ("server", "overloaded_error", ["error"])
    assert said(attempt)[0][2] == [text("Half an ans")]
    assert attempt["input_tokens"] == 25


@pytest.mark.parametrize("end", [RESET, CLOSE])
@pytest.mark.parametrize("beyond", [0, 40], ids=["between events", "within an event"])
async def test_a_broken_stream(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess, read: Read, end: str, beyond: int
):
    """A stream that the provider breaks off is never tried again, never looks whole, and is recorded as cut."""
    pieces = events(read("messages_text.sse"))
    upstream.answers(stream([*pieces[:5], *([pieces[5][:beyond]] if beyond else []), 0.05], end=end))
    answer = await client.messages.create(**ASK, stream=True)
    got: list[str] = []
    with pytest.raises((anthropic.APIError, httpx2.HTTPError)):
        await collect(answer, got)
    assert got == ["Hello", ", 世界!"]
    assert len(upstream.asked) == 1
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "attempts") == ("upstream_abort", 1)
    assert facts(attempt, "outcome", "finish_reasons") == ("upstream_abort", ["error"])
    assert said(attempt)[0][2] == [text("Hello, 世界!")]


async def by_closing(client: anthropic.AsyncAnthropic) -> None:
    """Close the response half way."""
    answer = await client.messages.create(**ASK, stream=True)
    await collect(answer, [], until="世界")
    await answer.close()


async def by_raising_in_the_helper(client: anthropic.AsyncAnthropic) -> None:
    """Raise within the context of the SDK's helper."""
    with suppress(KeyError):
        async with client.messages.stream(**ASK) as answer:
            async for spoken in answer.text_stream:
                if "世界" in spoken:
                    raise KeyError


async def by_being_cancelled(client: anthropic.AsyncAnthropic) -> None:
    """Be cancelled while waiting for the next event."""
    answer = await client.messages.create(**ASK, stream=True)
    await collect(answer, [], until="世界")
    task = asyncio.get_running_loop().create_task(collect(answer, []))
    await asyncio.sleep(0)  # it waits now
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize("leave", [by_closing, by_raising_in_the_helper, by_being_cancelled])
async def test_leaving_a_stream_half_way(
    client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess, read: Read, leave: Any
):
    """However a client leaves, the provider is left at once, and what it had said is recorded with an estimate."""
    upstream.answers(stream([*events(read("messages_text.sse"))[:5], FOREVER]))
    await leave(client)
    await upstream.left()
    await gateway.ended()
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "attempts", "stream", "error_type") == ("client_abort", 1, True, None)
    assert facts(attempt, "outcome", "input_tokens", "error_type") == ("client_abort", 25, None)
    assert said(attempt)[0][2] == [text("Hello, 世界!")]
    assert facts(attempt, "usage_source", "output_tokens") == ("estimated", 4)


async def test_leaving_before_the_answer(client: anthropic.AsyncAnthropic, upstream: Upstream, gateway: InProcess):
    """A call that is cancelled while the provider thinks leaves the provider too; nothing is known of its tokens."""
    asked = asyncio.Event()

    def thinking(_: Any) -> list[Step]:
        asked.set()
        return [FOREVER]

    upstream.answer = thinking
    task = asyncio.get_running_loop().create_task(client.messages.create(**ASK))
    await asked.wait()
    task.cancel()
    await asyncio.wait([task])
    await upstream.left()
    await gateway.ended()
    root, (attempt,) = recorded(gateway)
    assert facts(root, "outcome", "http_status", "attempts") == ("client_abort", None, 1)
    assert facts(attempt, "outcome", "http_status", "usage_source") == ("client_abort", None, None)
