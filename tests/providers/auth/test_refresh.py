import asyncio
from collections.abc import Iterator

import pytest
from msgspec import Struct

from gateway.errors import ExchangeError, Kind
from gateway.providers.auth.refresh import CredentialError, Refresher


class Key(Struct, frozen=True):
    """A credential."""

    name: str
    expires: float | None = None


class Source:
    """Returns scripted credentials, or raises scripted errors, one for each refresh."""

    def __init__(self, *script: Key | CredentialError) -> None:
        self.script: Iterator[Key | CredentialError] = iter(script)
        self.refreshes: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, now: float) -> Key:
        """Return or raise the next of the script, once the gate is open."""
        self.refreshes.append(now)
        await self.gate.wait()
        given = next(self.script)
        if isinstance(given, CredentialError):
            raise given
        return given


def refresher(source: Source) -> Refresher[Key]:
    """Return a refresher that refreshes 100 s early."""
    return Refresher(source.find, early=100.0, code="c", remedy="Set X.")


async def test_a_credential_is_refreshed_early() -> None:
    """It is cached until the given seconds before its expiry."""
    source = Source(Key("1", 1000.0), Key("2", 2000.0))
    cache = refresher(source)
    assert [(await cache.get(now)).name for now in (0.0, 899.9, 900.0)] == ["1", "1", "2"]
    assert source.refreshes == [0.0, 900.0]


async def test_a_short_life_is_halved() -> None:
    """A credential whose life is shorter than twice the early seconds is refreshed at half of it."""
    cache = refresher(Source(Key("1", 60.0), Key("2", 1000.0)))
    assert [(await cache.get(now)).name for now in (0.0, 29.9, 30.0)] == ["1", "1", "2"]


async def test_a_credential_without_an_expiry_is_read_again() -> None:
    """Its source is read again after five minutes."""
    cache = refresher(Source(Key("1"), Key("2")))
    assert [(await cache.get(now)).name for now in (0.0, 299.9, 300.0)] == ["1", "1", "2"]


async def test_an_expired_credential_is_none() -> None:
    """A source that returns what has expired has failed."""
    with pytest.raises(ExchangeError, match="the credentials found have expired Set X") as raised:
        await refresher(Source(Key("1", 5.0))).get(5.0)
    assert (raised.value.kind, raised.value.code) == (Kind.AUTH, "c")


@pytest.mark.parametrize(("retryable", "kind"), [(False, Kind.AUTH), (True, Kind.SENDING)])
async def test_a_failure_is_remembered_for_five_seconds(retryable: bool, kind: Kind) -> None:
    """Requests within that time fail at once, each with an error of its own; the next one tries again."""
    source = Source(CredentialError("no.", retryable=retryable), Key("1"))
    cache = refresher(source)
    errors = []
    for now in (0.0, 4.9):
        with pytest.raises(ExchangeError, match=r"^no. Set X.$") as raised:
            await cache.get(now)
        errors.append(raised.value)
    assert errors[0] is not errors[1]
    assert {error.kind for error in errors} == {kind}
    assert (await cache.get(5.0)).name == "1"
    assert source.refreshes == [0.0, 5.0]


async def test_the_old_credential_serves_while_it_is_good() -> None:
    """A refresh that fails is tried again after five seconds; at the expiry its error is raised."""
    source = Source(Key("1", 1000.0), *[CredentialError("no.")] * 3)
    cache = refresher(source)
    assert [(await cache.get(now)).name for now in (0.0, 998.0, 999.0)] == ["1"] * 3
    with pytest.raises(ExchangeError):
        await cache.get(1000.0)
    assert source.refreshes == [0.0, 998.0, 1000.0]


async def test_one_refresh_serves_all() -> None:
    """Requests share a refresh; one that is cancelled does not cancel it, and a good old credential does not wait."""
    source = Source(Key("1", 1000.0), Key("2", 2000.0))
    cache = refresher(source)
    source.gate.clear()
    waiting = [asyncio.ensure_future(cache.get(0.0)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert {(await each).name for each in waiting[1:]} == {"1"}
    assert waiting[0].cancelled()

    source.gate.clear()
    refreshing = asyncio.ensure_future(cache.get(950.0))
    await asyncio.sleep(0)
    assert (await cache.get(950.0)).name == "1"
    assert not refreshing.done()
    source.gate.set()
    assert (await refreshing).name == "2"
    assert source.refreshes == [0.0, 950.0]


async def test_a_refused_credential_is_refreshed() -> None:
    """Forgetting the current credential causes a refresh; forgetting an older one does not."""
    source = Source(Key("1"), Key("2"))
    cache = refresher(source)
    first = await cache.get(0.0)
    cache.forget(Key("0"))
    assert await cache.get(0.0) is first
    cache.forget(first)
    assert (await cache.get(0.0)).name == "2"
    cache.forget(first)
    assert (await cache.get(0.0)).name == "2"
    assert len(source.refreshes) == 2
