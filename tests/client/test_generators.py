"""Decorated generators: their step is current within them, and not in their caller."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.client import current_step, run, step
from tests.client.test_runs import parents
from tests.support.event_receiver import EventReceiver, event_receiver
from tests.support.upstream import Upstream


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[EventReceiver]:
    async with event_receiver(monkeypatch, upstream) as gateway:
        yield gateway


async def test_a_generators_caller_does_not_stand_in_its_step(gateway):
    """What it does between its yields is in the step; what its caller does meanwhile is not."""

    @step("talk", capture=True)
    def talk(n: int) -> Iterator[int]:
        for each in range(n):
            with step(f"word {each}"):
                pass
            got = yield each
            assert got == f"got {each}"
        return "all"

    assert inspect.isgeneratorfunction(talk)
    with run("r"):
        words = talk(2)
        assert next(words) == 0
        assert current_step() is None
        with step("meanwhile"):
            assert words.send("got 0") == 1
            assert current_step().name == "meanwhile"
        with pytest.raises(StopIteration, match="all"):
            words.send("got 1")
    said = await gateway.events()
    assert parents(said) == {"talk": None, "word 0": "talk", "meanwhile": None, "word 1": "talk"}
    assert said[-2]["data"] == {"output": "all"}


@pytest.mark.parametrize("how", ["exhausted", "closed", "fails", "is thrown at"])
async def test_a_generator_ends_its_step_once_however_it_ends(gateway, how):
    """Exhausted or closed it has finished; an exception of its own, or one that it lets pass, is an error."""
    cleaned = []

    @step("sync")
    def sync() -> Iterator[int]:
        try:
            yield 1
            if how == "fails":
                raise LookupError
        finally:
            cleaned.append(current_step().name)

    @step("async")
    async def asynchronous() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.sleep(0)
            if how == "fails":
                raise LookupError
        finally:
            await asyncio.sleep(0)
            cleaned.append(current_step().name)

    assert inspect.isasyncgenfunction(asynchronous)
    async with run("r"):
        one, other = sync(), asynchronous()
        assert (next(one), await anext(other)) == (1, 1)
        assert current_step() is None
        match how:
            case "exhausted":
                assert list(one) == [] == [each async for each in other]
            case "closed":
                one.close()
                await other.aclose()
            case "fails":
                with pytest.raises(LookupError):
                    next(one)
                with pytest.raises(LookupError):
                    await anext(other)
            case _:
                with pytest.raises(LookupError):
                    one.throw(LookupError())
                with pytest.raises(LookupError):
                    await other.athrow(LookupError())
    assert cleaned == ["sync", "async"]
    said = await gateway.events()
    expected = "step:end" if how in {"exhausted", "closed"} else "step:error"
    assert [each["type"] for each in said[3:-1]] == [expected] * 2
    assert said[-1]["status"] == "finished"


async def test_an_async_generator_hands_on_what_it_is_sent(gateway):
    """As an asynchronous generator without a step does; an exception thrown in may be answered."""

    @step("echo")
    async def echo() -> AsyncIterator[str]:
        got = ""
        while got != "end":
            try:
                got = yield got
            except LookupError:
                got = "looked up"

    talk = echo()
    assert await talk.asend(None) == ""
    assert await talk.asend("a") == "a"
    assert await talk.athrow(LookupError()) == "looked up"
    with pytest.raises(StopAsyncIteration):
        await talk.asend("end")
    assert [each["type"] for each in await gateway.events()][-2:] == ["step:end", "run:update"]
