"""A second attempt where the first byte is late, over real sockets: who wins is relayed, who loses is recorded."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_clients import (
    CLIENTS,
    QUICK,
    Headers,
    alias,
    answers,
    ask,
    chat_request,
    facts,
    fails,
    provider,
)
from tests.support.gateways import InProcess
from tests.support.raw_http import connected
from tests.support.upstream import CLOSE, RESET, Answer, Asked, Step, Upstream, reply

LATE_MS = 60
FOREVER = 30.0
WARM = 3


def hedges(percentile: float, min_ms: float) -> str:
    """Return the settings of hedging."""
    return f"[hedge]\npercentile = {percentile}\nmin_ms = {min_ms}\nmin_samples = 1\n"


@pytest.fixture(name="hedge")
def _hedge() -> str:
    """Late is what takes LATE_MS, and longer than the quickest so far: a slow first answer does not put it off."""
    return hedges(0.01, LATE_MS)


@pytest.fixture(name="fleet")
async def _fleet(hedge: str, upstream: Upstream, second: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker that hedges, and has seen the first byte of each candidate some times."""
    toml = (
        provider("one", "chat", upstream.url, 'api_key = "planted-in-one"')
        + provider("two", "chat", second.url, 'api_key = "planted-in-two"')
        + alias("both", "one/m", "two/m")
        + hedge
    )
    async with InProcess(tmp_path / "fleet", toml + QUICK) as gateway:
        upstream.answer = second.answer
        for model in ("one/m", "two/m") * WARM:
            assert (await ask(gateway, "chat", model)).status == 200
        upstream.asked.clear()
        second.asked.clear()
        yield gateway


def late(seconds: float, steps: list[Step] | None = None) -> Answer:
    """Answer so much later."""
    return lambda asked: [seconds, *(steps or answers("chat", asked))]


def one_by_one(*scripts: Answer) -> Answer:
    """Answer each request by another script."""
    left = iter(scripts)

    def answer(asked: Asked) -> Iterable[Step]:
        return next(left)(asked)

    return answer


def raced(gateway: InProcess, *columns: str) -> list[tuple[Any, ...]]:
    """Return columns of the attempts, without those of the beginning; no overhead may be below zero."""
    assert all(row["overhead_us"] >= 0 for row in gateway.rows())
    return facts(gateway, *columns)[2 * WARM :]


def root(gateway: InProcess) -> dict[str, Any]:
    """Return the latest exchange."""
    return gateway.rows("SERVER")[-1]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_the_quicker_one_is_relayed(
    client: str, streamed: bool, upstream: Upstream, second: Upstream, fleet: InProcess
):
    """The next candidate is asked beside the first, and wins; the first is let go of and recorded with its cost."""
    upstream.answer = late(FOREVER)
    answer = await ask(fleet, client, "both", streamed=streamed)
    assert (answer.status, answer.whole) == (200, True)
    assert b"Good " in answer.body
    await upstream.left()
    assert (len(upstream.asked), len(second.asked)) == (1, 1)
    lost, won = sorted(fleet.rows("CLIENT"), key=lambda row: row["start_ns"])[2 * WARM :]
    assert (lost["outcome"], lost["provider"], lost["reason"], lost["attempt"]) == ("hedge_lost", "one", "first", 0)
    assert (lost["usage_source"], lost["input_tokens"] > 0) == ("estimated", True)
    assert "output_tokens" not in lost
    assert "error_type" not in lost
    assert "status" not in lost
    assert (won["outcome"], won["provider"], won["attempt"]) == ("ok", "two", 1)
    assert won["reason"] == f"hedge after {LATE_MS} ms"
    assert "resend_count" not in won
    exchange = root(fleet)
    assert (exchange["outcome"], exchange["provider"], exchange["request_model"]) == ("ok", "two", "both")
    assert (exchange["attempts"], exchange["retries"], exchange["response_model"]) == (2, 0, won["response_model"])
    assert exchange["usage_source"] == won["usage_source"]
    assert exchange["input_tokens"] == lost["input_tokens"] + won["input_tokens"]
    assert exchange["output_tokens"] == won["output_tokens"]
    raced(fleet)


async def test_who_is_late_may_still_win(upstream: Upstream, second: Upstream, fleet: InProcess):
    """The first candidate answers before the second: then that one is the loser."""
    upstream.answer = late(3 * LATE_MS / 1000)
    second.answer = late(FOREVER)
    assert (await ask(fleet, "chat", "both")).status == 200
    await second.left()
    assert raced(fleet, "provider", "outcome", "reason") == [
        ("one", "ok", "first"),
        ("two", "hedge_lost", f"hedge after {LATE_MS} ms"),
    ]
    assert (root(fleet)["provider"], root(fleet)["attempts"]) == ("one", 2)


@pytest.mark.parametrize("hedge", [hedges(0.01, 20_000.0)], ids=["patient"])
async def test_who_is_in_time_is_not_hedged(second: Upstream, fleet: InProcess):
    """A first byte before its time is up: one attempt."""
    for streamed in (False, True):
        assert (await ask(fleet, "chat", "both", streamed=streamed)).status == 200
    assert raced(fleet, "provider", "outcome") == [("one", "ok")] * 2
    assert second.asked == []


@pytest.mark.parametrize("hedge", [hedges(0.01, 20_000.0)], ids=["patient"])
async def test_who_fails_in_time_is_not_hedged(upstream: Upstream, fleet: InProcess):
    """That is a fallback like any other."""
    upstream.answers(fails("chat", 500))
    assert (await ask(fleet, "chat", "both")).status == 200
    assert raced(fleet, "provider", "outcome", "reason") == [
        ("one", "server", "first"),
        ("two", "ok", "fallback after server"),
    ]


@pytest.mark.parametrize("first_fails", [True, False], ids=["the first", "the second"])
async def test_where_one_fails_the_other_is_waited_for(
    first_fails: bool, upstream: Upstream, second: Upstream, fleet: InProcess
):
    """A failure in the race is recorded as what it is, and does not end the other attempt."""
    fast, slow = 2 * LATE_MS / 1000, 4 * LATE_MS / 1000
    upstream.answer = late(fast, fails("chat", 503)) if first_fails else late(slow)
    second.answer = late(slow) if first_fails else late(fast / 4, fails("chat", 503))
    assert (await ask(fleet, "chat", "both")).status == 200
    hedge = f"hedge after {LATE_MS} ms"
    assert raced(fleet, "provider", "outcome", "reason") == [
        ("one", "server" if first_fails else "ok", "first"),
        ("two", "ok" if first_fails else "server", hedge),
    ]
    assert root(fleet)["outcome"] == "ok"


async def test_where_both_fail_it_goes_on_as_without_a_race(upstream: Upstream, second: Upstream, fleet: InProcess):
    """Both were tried: what comes is another round, with a backoff, and no other race."""
    upstream.answer = late(3 * LATE_MS / 1000, fails("chat", 500))
    second.answer = late(LATE_MS / 1000, fails("chat", 503))
    answer = await ask(fleet, "chat", "both")
    assert (answer.status, answer.values(b"x-should-retry")) == (503, [])
    assert raced(fleet, "provider", "outcome", "reason", "backoff_ms") == [
        ("one", "server", "first", None),
        ("two", "server", f"hedge after {LATE_MS} ms", None),
        ("one", "server", "another round after server", 1.0),
        ("two", "server", "another round after server", 2.0),
    ]
    assert (root(fleet)["attempts"], root(fleet)["retries"], root(fleet)["outcome"]) == (4, 2, "server")


async def test_a_limit_that_was_met_in_the_race_is_waited_for(upstream: Upstream, second: Upstream, fleet: InProcess):
    """How long the one that failed first said to wait is not forgotten over the other one."""
    upstream.answer = late(2 * LATE_MS / 1000, fails("chat", 429, [("Retry-After", "1")]))
    second.answer = late(1.5 * LATE_MS / 1000, fails("chat", 429, [("Retry-After", "60")]))
    headers: Headers = [("x-gateway-retry", '{"max_tries": 3}')]
    assert (await ask(fleet, "chat", "both", headers=headers)).status == 429
    _, *rows, (*again, waited) = raced(fleet, "provider", "reason", "backoff_ms")
    assert rows == [("two", f"hedge after {LATE_MS} ms", None)]
    assert again == ["one", "another round after rate_limit"]
    assert 1.0 < waited < 1000


@pytest.mark.parametrize("how", [RESET, CLOSE])
async def test_a_head_alone_does_not_win(how: str, upstream: Upstream, second: Upstream, fleet: InProcess):
    """A response that breaks before its body is a failure, and the other attempt is waited for."""
    upstream.answer = late(4 * LATE_MS / 1000)
    second.answers([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n", 0.02, how])
    assert (await ask(fleet, "chat", "both")).status == 200
    assert raced(fleet, "provider", "outcome", "reason") == [
        ("one", "ok", "first"),
        ("two", "upstream_abort", f"hedge after {LATE_MS} ms"),
    ]


async def test_a_client_that_leaves_during_the_race_ends_both(upstream: Upstream, second: Upstream, fleet: InProcess):
    """Both providers are let go of, and both attempts say that the client left."""
    both = asyncio.Event()

    def stall(_asked: Asked) -> list[Step]:
        both.set()
        return [FOREVER]

    upstream.answer, second.answer = late(FOREVER), stall
    async with connected(fleet.url) as connection:
        await connection.send(chat_request("chat", "both"))
        await both.wait()
    await upstream.left()
    await second.left()
    await fleet.ended(2 * WARM + 1)
    assert raced(fleet, "provider", "outcome") == [("one", "client_abort"), ("two", "client_abort")]
    assert (root(fleet)["outcome"], root(fleet)["attempts"]) == ("client_abort", 2)


@pytest.mark.parametrize(("tries", "attempts"), [(1, 1), (2, 2)])
async def test_a_hedge_is_one_of_the_tries(tries: int, attempts: int, upstream: Upstream, fleet: InProcess):
    """Where none is left the first is waited for."""
    upstream.answer = late(3 * LATE_MS / 1000)
    headers: Headers = [("x-gateway-retry", f'{{"max_tries": {tries}}}')]
    assert (await ask(fleet, "chat", "both", headers=headers)).status == 200
    assert len(raced(fleet, "provider")) == attempts


async def test_one_candidate_is_hedged_by_itself(upstream: Upstream, fleet: InProcess):
    """With nobody else to ask the same one is asked once more: another connection may be quicker."""
    upstream.answer = one_by_one(late(FOREVER), late(0))
    assert (await ask(fleet, "chat", "one/m")).status == 200
    assert raced(fleet, "provider", "outcome") == [("one", "hedge_lost"), ("one", "ok")]


@pytest.mark.parametrize("hedge", [hedges(0.9, LATE_MS)], ids=["by all of them"])
async def test_how_long_a_loser_was_waited_for_is_not_forgotten(upstream: Upstream, fleet: InProcess):
    """It counts among the first bytes that were seen: else each race would make the next one come sooner."""
    for number in (1, 2):
        upstream.answer = one_by_one(late(FOREVER), late(LATE_MS / 1000))
        assert (await ask(fleet, "chat", "one/m")).status == 200
        await upstream.left(number)
    waited = [int(row[0].split()[2]) for row in raced(fleet, "reason") if row[0].startswith("hedge")]
    assert waited[0] >= LATE_MS
    assert waited[1] > waited[0]


async def test_the_keys_of_both_are_kept_out(upstream: Upstream, second: Upstream, fleet: InProcess):
    """A provider that repeats a key in its error is not believed: no line of the journal has either."""
    said = {"error": {"message": "not planted-in-one, not planted-in-two", "type": "test"}}
    upstream.answer = late(3 * LATE_MS / 1000, reply(said, "500 No"))
    second.answer = late(LATE_MS / 1000, reply(said, "500 No"))
    assert (await ask(fleet, "chat", "both")).status == 500
    for path in (fleet.data / "live").iterdir():
        assert b"planted-in" not in path.read_bytes()


async def test_the_loser_of_a_tie_leaves_its_provider(upstream: Upstream, second: Upstream, fleet: InProcess):
    """Of responses that begin within one turn of the event loop one is relayed, the other one's connection closed."""
    both, asked_both = asyncio.Event(), asyncio.Event()

    def streamed(asked: Asked) -> list[Step]:
        if upstream.asked and second.asked:
            asked_both.set()
        head, first, *_ = answers("chat", asked)
        return [both, head, first, FOREVER]

    upstream.answer = second.answer = streamed
    async with connected(fleet.url) as connection:
        await connection.send(chat_request("chat", "both", streamed=True))
        await asked_both.wait()
        both.set()
        assert (await connection.head())[0] == 200
        for _ in range(200):
            if upstream.gone + second.gone:
                break
            await asyncio.sleep(0.01)
        assert upstream.gone + second.gone == 1
