"""Several keys of one provider, and circuits, over real sockets: who is asked, and who rests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import monotonic

import pytest

from tests.support.chat_clients import QUICK, alias, answers, ask, facts, fails, provider
from tests.support.gateways import InProcess
from tests.support.upstream import Asked, Step, Upstream

KEYS = 'api_keys = ["key-aaaaaa", "key-bbbbbb", "key-cccccc"]'
LIMITED = [("Retry-After", "60")]


def shown(upstream: Upstream) -> str:
    """Return the keys that a provider was shown, by their first letters."""
    return "".join((asked.header("authorization") or "")[11:12] for asked in upstream.asked)


def unless(bad: str, failure: list[Step]) -> Callable[[Asked], list[Step]]:
    """Fail where one of these keys is shown."""
    return lambda asked: failure if (asked.header("authorization") or "")[11:12] in bad else answers("chat", asked)


@pytest.fixture(name="pool")
async def _pool(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker whose only provider has three keys."""
    async with InProcess(tmp_path / "pool", provider("mine", "chat", upstream.url, KEYS) + QUICK) as gateway:
        yield gateway


async def test_keys_are_used_in_turn(upstream: Upstream, pool: InProcess):
    """Each request is shown the next key, and its span says which by a name."""
    upstream.answer = lambda asked: answers("chat", asked)
    for _ in range(5):
        assert (await ask(pool, "chat", "mine/m")).status == 200
    assert shown(upstream) == "abcab"
    used = [row["attributes"]["gateway.attempt.key"] for row in pool.rows("CLIENT")]
    assert used == ["mine#1", "mine#2", "mine#3", "mine#1", "mine#2"]
    assert not any(b"key-" in path.read_bytes() for path in (pool.data / "live").iterdir())


async def test_a_limited_key_rests(upstream: Upstream, pool: InProcess):
    """The next key is tried at once; until the first one's Retry-After is over it is not shown again."""
    upstream.answer = unless("a", fails("chat", 429, LIMITED))
    for _ in range(4):
        assert (await ask(pool, "chat", "mine/m")).status == 200
    assert shown(upstream) == "ab" + "bcb"
    assert facts(pool, "outcome", "reason", "backoff_ms", "resend_count")[:2] == [
        ("rate_limit", "first", None, None),
        ("ok", "another key after rate_limit", 0.0, 1),
    ]
    first, *_ = pool.rows("SERVER")
    assert (first["retries"], first["rate_limited"], first["outcome"]) == (1, True, "ok")


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_key_that_is_refused_rests(status: int, upstream: Upstream, pool: InProcess):
    """A revoked key, or one whose money is spent, costs one attempt, not one of every few requests."""
    upstream.answer = unless("b", fails("chat", status))
    for _ in range(6):
        assert (await ask(pool, "chat", "mine/m")).status == 200
    assert shown(upstream).count("b") == 1


async def test_where_all_keys_are_limited_the_provider_is_given_up(upstream: Upstream, pool: InProcess):
    """Each key is tried once; then the limit is the client's to know, since it is longer than may be waited."""
    upstream.answers(fails("chat", 429, LIMITED))
    answer = await ask(pool, "chat", "mine/m")
    assert (answer.status, answer.values(b"retry-after")) == (429, [b"60"])
    assert answer.values(b"x-should-retry") == []
    assert shown(upstream) == "abc"
    assert [row[0] for row in facts(pool, "reason")] == ["first"] + ["another key after rate_limit"] * 2


async def test_the_key_that_is_free_soonest_is_waited_for(upstream: Upstream, pool: InProcess):
    """All keys are limited, one of them for a moment only: that one is tried again, and the others are left alone."""
    limits = {"a": "600", "b": "0.05", "c": "600"}
    seen: list[str] = []

    def answer(asked: Asked) -> list[Step]:
        key = (asked.header("authorization") or "")[11]
        seen.append(key)
        again = seen.count(key) > 1
        return answers("chat", asked) if again else fails("chat", 429, [("Retry-After", limits[key])])

    upstream.answer = answer
    assert (await ask(pool, "chat", "mine/m")).status == 200
    assert "".join(seen) == "abcb"


async def test_no_other_key_mends_a_failure_of_the_provider(upstream: Upstream, pool: InProcess):
    """A server error is waited for as with one key."""
    upstream.answers(fails("chat", 500))
    assert (await ask(pool, "chat", "mine/m")).status == 500
    assert [row[0] for row in facts(pool, "reason")] == ["first"] + ["retry after server"] * 3


# Circuits.

OPEN_SECONDS = 60.0
CIRCUIT = f"[circuit]\nfailures = 2\nopen_seconds = {OPEN_SECONDS}\n"


class Clock:
    """The time that circuits go by, which may be put forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return monotonic() + self.ahead


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("attempts", "handler"):
        monkeypatch.setattr(f"gateway.proxy.{module}.monotonic", clock)
    return clock


@pytest.fixture(name="guarded")
async def _guarded(upstream: Upstream, second: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker with two candidates, whose circuits open after two failures."""
    both = provider("one", "chat", upstream.url) + provider("two", "chat", second.url)
    toml = both + alias("smart", "one/m", "two/m") + QUICK + CIRCUIT
    async with InProcess(tmp_path / "guarded", toml) as gateway:
        yield gateway


async def test_a_circuit_opens_probes_and_closes(
    upstream: Upstream, second: Upstream, guarded: InProcess, clock: Clock
):
    """After two failures in a row the other one is asked first; one request probes; where it does well all go back."""
    upstream.answers(fails("chat", 503))
    for _ in range(3):
        assert (await ask(guarded, "chat", "smart")).status == 200
    assert (len(upstream.asked), len(second.asked)) == (2, 3)
    assert facts(guarded, "provider", "reason")[-1] == ("two", "first")

    clock.ahead += OPEN_SECONDS
    assert (await ask(guarded, "chat", "smart")).status == 200
    assert facts(guarded, "provider", "reason", "outcome")[-2:] == [
        ("one", "probe", "server"),
        ("two", "fallback after server", "ok"),
    ]

    clock.ahead += OPEN_SECONDS  # which is only half of the time, now
    assert (await ask(guarded, "chat", "smart")).status == 200
    assert len(upstream.asked) == 3

    clock.ahead += OPEN_SECONDS
    upstream.answer = lambda asked: answers("chat", asked)
    for _ in range(3):
        assert (await ask(guarded, "chat", "smart")).status == 200
    assert facts(guarded, "provider", "reason", "outcome")[-3:] == [
        ("one", "probe", "ok"),
        ("one", "first", "ok"),
        ("one", "first", "ok"),
    ]
    assert [row["retries"] for row in guarded.rows("SERVER")] == [1, 1, 0, 1, 0, 0, 0, 0]


async def test_one_request_at_a_time_probes(upstream: Upstream, guarded: InProcess, clock: Clock):
    """While a probe is under way all others go elsewhere; one whose client left gives way to the next."""
    upstream.answers(fails("chat", 503))
    for _ in range(2):
        await ask(guarded, "chat", "smart")
    clock.ahead += OPEN_SECONDS
    under_way = asyncio.Event()

    def stall(_asked: Asked) -> list[Step]:
        under_way.set()
        return [30.0]

    upstream.answer = stall
    probe = asyncio.ensure_future(ask(guarded, "chat", "smart"))
    await under_way.wait()
    assert (await ask(guarded, "chat", "smart")).status == 200
    assert len(upstream.asked) == 3
    probe.cancel()
    await upstream.left()
    await guarded.ended(4)
    upstream.answer = lambda asked: answers("chat", asked)
    await ask(guarded, "chat", "smart")
    assert facts(guarded, "provider", "reason", "outcome")[-1] == ("one", "probe", "ok")


@pytest.mark.parametrize("status", [400, 401, 404, 429])
async def test_what_is_no_failure_of_the_provider_opens_nothing(status: int, upstream: Upstream, guarded: InProcess):
    """A bad request or a limit says nothing of the provider's health."""
    upstream.answers(fails("chat", status))
    for _ in range(4):
        await ask(guarded, "chat", "smart")
    assert [row[0] for row in facts(guarded, "reason")].count("probe") == 0
    expected = 1 if status in {401, 429} else 4  # our own key rests
    assert len(upstream.asked) == expected


async def test_who_is_alone_is_asked_though_its_circuit_is_open(upstream: Upstream, guarded: InProcess):
    """There is nobody else to ask: nothing is refused unasked."""
    upstream.answers(fails("chat", 503))
    for _ in range(3):
        assert (await ask(guarded, "chat", "one/m", headers=[("x-gateway-retry", '{"max_tries": 1}')])).status == 503
    assert len(upstream.asked) == 3
