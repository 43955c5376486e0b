"""What an application says by runs, steps and events reaches the gateway as the seed's clients say it."""

import asyncio
import contextvars
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import client, ids
from gateway.client import Run, Step, configure, current_run, current_step, event, headers, run, step
from gateway.client.ids import RANDOM_BITS, uuid7
from gateway.client.settings import Settings, from_environ
from tests.support.listening import Listening, listening
from tests.support.upstream import Upstream


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[Listening]:
    async with listening(monkeypatch, upstream) as gateway:
        yield gateway


def parents(events: list[dict]) -> dict[str, str | None]:
    """Return each step's parent, by their names."""
    steps = [each for each in events if each["type"] == "step:start"]
    names = {each["step_id"]: each["data"]["name"] for each in steps}
    return {each["data"]["name"]: names.get(each["data"].get("parent_step")) for each in steps}


async def test_a_run_and_its_step_are_told_in_order(gateway):
    """Start of the run, start of the step, its end, the run's end: with all that was said of them, and nothing else."""
    configure(application="shop", environment="prod")
    with run(
        "answer", description="a ticket", input={"id": 7}, tags=["urgent"], info={"a": 1}, status="open", user="u-1"
    ) as r:
        with step("retrieve", type="tool", input="q", tags="one", info={"k": 2}) as s:
            s.output = ["doc"]
            s.add_info({"hits": 3}, cached=False)
        r.output = "done"
        r.add_info(cost=1)
    said = await gateway.events()
    times = [each.pop("time") for each in said]
    assert times == sorted(times)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time) for time in times)
    assert said == [
        {
            "type": "run:start",
            "id": r.id,
            "name": "answer",
            "description": "a ticket",
            "application": "shop",
            "environment": "prod",
            "status": "open",
            "input": {"id": 7},
            "tags": ["urgent"],
            "info": {"user_id": "u-1", "a": 1},
        },
        {
            "type": "step:start",
            "run_id": r.id,
            "step_id": s.id,
            "data": {"type": "tool", "name": "retrieve", "input": "q", "tags": ["one"], "info": {"k": 2}},
        },
        {
            "type": "step:end",
            "run_id": r.id,
            "step_id": s.id,
            "data": {"output": ["doc"], "info": {"hits": 3, "cached": False}},
        },
        {"type": "run:update", "id": r.id, "status": "finished", "output": "done", "info": {"cost": 1}},
    ]


async def test_what_nobody_said_is_not_told(gateway):
    """The least that a run and a step are; only an output is always there, because the seed wants one."""
    with run("r") as r, step("s") as s:
        pass
    said = [{name: value for name, value in each.items() if name != "time"} for each in await gateway.events()]
    assert said == [
        {"type": "run:start", "id": r.id, "name": "r"},
        {"type": "step:start", "run_id": r.id, "step_id": s.id, "data": {"type": "task", "name": "s"}},
        {"type": "step:end", "run_id": r.id, "step_id": s.id, "data": {"output": None}},
        {"type": "run:update", "id": r.id, "status": "finished"},
    ]


async def test_an_exception_marks_step_and_run_and_is_raised_on(gateway):
    """The very exception arrives; both are errors, with its type, message, and where it came from."""
    raised = ValueError("no stock")
    with pytest.raises(ValueError, match="no stock") as caught, run("r"), step("outer"), step("inner"):
        raise raised from KeyError("sku")
    assert caught.value is raised
    *_, inner, outer, ended = await gateway.events()
    assert [inner["type"], outer["type"], ended["type"]] == ["step:error", "step:error", "run:update"]
    assert ended["status"] == "error"
    error = inner["data"]["error"]
    assert error == outer["data"]["error"] == ended["output"]["error"]
    assert (error["type"], error["message"]) == ("ValueError", "no stock")
    assert "in test_an_exception_marks_step_and_run_and_is_raised_on" in error["stack"]
    assert error["stack"].endswith("after:\nKeyError: 'sku'")


@pytest.mark.parametrize("leaving", [GeneratorExit(), SystemExit(), SystemExit(0)])
async def test_leaving_is_no_error(gateway, leaving):
    """A program that ends in order, and a generator that is closed, have not failed."""
    with pytest.raises(type(leaving)), run("r"), step("s"):
        raise leaving
    *_, stepped, ended = await gateway.events()
    assert (stepped["type"], ended["status"]) == ("step:end", "finished")


async def test_a_cancelled_step_is_an_error(gateway):
    """So is a process that is told to exit with a failure."""

    @step("s")
    async def wait() -> None:
        await asyncio.sleep(60)

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(SystemExit), run("r"):
        sys.exit(3)
    said = await gateway.events()
    assert [each["status"] for each in said if each["type"] == "run:update"] == ["error", "error"]


async def test_status_and_state_can_be_told_meanwhile(gateway):
    """`update` and `state` say it at once; `status` is what the run is in the end."""
    with run("r", status="asked") as r, step("s") as s:
        r.update(status="half", output=1, info={"i": 2})
        r.update(info={"i": 3})
        s.state("waiting")
        r.status = "parked"
    said = await gateway.events()
    updates = [each for each in said if each["type"] == "run:update"]
    assert [each["status"] for each in updates] == ["half", "asked", "parked"]
    assert (updates[0]["output"], updates[0]["info"], updates[1]["info"]) == (1, {"i": 2}, {"i": 3})
    assert [each["data"] for each in said if each["type"] == "step:state"] == [{"state": "waiting"}]


async def test_steps_nest_across_awaits_and_tasks(gateway):
    """A step's parent is the one in which its task was made, however tasks take turns."""

    @step()
    async def leaf(_number: int) -> None:
        await asyncio.sleep(0)
        async with step("below"):
            await asyncio.sleep(0)

    async with run("r"):
        async with step("left"):
            first = asyncio.ensure_future(leaf(1))
        async with step("right"):
            second = asyncio.ensure_future(leaf(2))
            await asyncio.gather(first, second)
        assert current_step() is None
    assert current_run() is None
    said = await gateway.events()
    starts = {each["step_id"]: each["data"] for each in said if each["type"] == "step:start"}
    lines = []
    for data in starts.values():
        line, each = [data["name"]], data
        while each.get("parent_step"):
            each = starts[each["parent_step"]]
            line.append(each["name"])
        lines.append(" < ".join(line))
    assert sorted(lines) == [
        "below < leaf < left",
        "below < leaf < right",
        "leaf < left",
        "leaf < right",
        "left",
        "right",
    ]
    assert len({each["run_id"] for each in said if "run_id" in each}) == 1


async def test_a_thread_follows_by_a_copied_context(gateway):
    """`asyncio.to_thread` copies it, a plain thread has to be given it, and stands nowhere without."""

    def work(name: str) -> None:
        with step(name):
            pass

    async with run("r"), step("outer"):
        await asyncio.to_thread(work, "by asyncio")
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(work, "by a context")),
            threading.Thread(target=work, args=("alone",)),
        ]
        for thread in threads:
            thread.start()
            await asyncio.to_thread(thread.join)
    said = await gateway.events()
    assert parents(said) == {"outer": None, "by asyncio": "outer", "by a context": "outer", "alone": None}
    assert [each["name"] for each in said if each["type"] == "run:start"] == ["r", "alone"]


async def test_a_step_without_a_run_is_one_itself(gateway):
    """As with the seed's client: it has the step's name, input, output and end."""
    with step("alone", input=1, tags=["t"], info={"i": 1}, session="s-1") as s:
        assert current_run() is not None
        s.output = 2
    assert current_run() is None
    with pytest.raises(ZeroDivisionError), step("alone"):
        _ = 1 / 0
    said = await gateway.events()
    kinds = [each["type"] for each in said]
    assert kinds[:4] == ["run:start", "step:start", "step:end", "run:update"]
    assert kinds[4:] == ["run:start", "step:start", "step:error", "run:update"]
    assert (said[0]["name"], said[0]["input"], said[0]["tags"]) == ("alone", 1, ["t"])
    assert said[0]["info"] == {"session_id": "s-1", "i": 1}
    assert (said[3]["status"], said[3]["output"], said[7]["status"]) == ("finished", 2, "error")


async def test_a_run_within_a_run_is_one_of_its_own(gateway):
    """Its steps are its own, and afterwards the outer one goes on."""
    with run("outer", session="s-1"), step("before"):
        with run("inner") as inner, step("within"):
            assert headers()["x-gateway-session"] == "s-1"
        with step("after"):
            pass
    said = await gateway.events()
    assert parents(said) == {"before": None, "within": None, "after": "before"}
    (within,) = [each for each in said if each["type"] == "step:start" and each["data"]["name"] == "within"]
    assert within["run_id"] == inner.id


async def test_what_ends_out_of_turn_leaves_nobody_standing_in_it(gateway):
    """Whichever of two is left first, afterwards no code stands in what has ended."""
    outer, inner = run("outer"), step("inner")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert current_step() is inner
    inner.__exit__(None, None, None)
    assert current_run() is None
    assert len(await gateway.events()) == 4


async def test_functions_of_any_kind_are_decorated(gateway):
    """Each call is a step of its own; what comes back, and what kind of function it is, stays the same."""

    class Shop:
        @step(capture=True)
        def price(self, sku: str, *, count: int = 1) -> int:
            return len(sku) * count

    class Called:
        async def __call__(self, n: int) -> int:
            return n

    @step("double", type="tool", capture=True)
    async def double(n: int) -> int:
        return 2 * n

    @step("silent")
    def silent(secret: str) -> str:
        return secret

    @step("own", capture=True)
    def own(n: int) -> int:
        current_step().output = "other"
        return n

    assert inspect.iscoroutinefunction(double)
    assert inspect.signature(double) == inspect.signature(double.__wrapped__)
    assert double.__name__ == "double"

    @run("r", capture=True)
    async def main() -> int:
        assert silent("s3cret") == "s3cret"
        assert own(1) == 1
        assert await step("called")(Called())(4) == 4
        assert await step("partial")(partial(double, 5))() == 10
        return Shop().price("abc", count=2) + await double(n=3)

    assert await main() == 12
    assert await main() == 12
    said = await gateway.events()
    assert b"s3cret" not in b"".join(asked.body for asked in gateway.upstream.asked)
    runs = [each for each in said if each["type"] == "run:start"]
    assert len({each["id"] for each in runs}) == 2
    assert [each["output"] for each in said if each["type"] == "run:update"] == [12, 12]
    first = [each for each in said if each.get("run_id") == runs[0]["id"]]
    starts = {each["data"]["name"]: each for each in first if each["type"] == "step:start"}
    assert list(starts) == ["silent", "own", "called", "partial", "double", "price"]
    assert starts["price"]["data"]["input"] == {"sku": "abc", "count": 2}
    assert starts["double"]["data"]["input"] == {"n": 3}
    assert "input" not in starts["silent"]["data"]
    ends = {each["step_id"]: each["data"]["output"] for each in first if each["type"] == "step:end"}
    outputs = {name: ends[each["step_id"]] for name, each in starts.items()}
    assert outputs == {"silent": None, "own": "other", "called": None, "partial": None, "double": 6, "price": 6}


async def test_a_call_with_wrong_arguments_fails_as_before(gateway):
    """Taking the arguments for the input does not hide what Python says of them."""

    @step(capture=True)
    def f(a: int) -> int:
        return a

    with pytest.raises(TypeError, match="unexpected keyword argument 'b'"):
        f(b=1)
    said = await gateway.events()
    assert said[1]["data"]["input"] == {"args": [], "kwargs": {"b": 1}}
    assert said[2]["type"] == "step:error"


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


async def test_events_stand_where_they_are_said(gateway):
    """In the current run and step, and with the seed's word for unknown outside of any."""
    event("outside")
    with run("r") as r:
        event("in the run", {"n": 1})
        with step("s") as s:
            event("in the step", error=ValueError("odd"))
    said = {each.pop("type"): each for each in await gateway.events()}
    assert (said["outside"]["run_id"], said["outside"]["step_id"]) == (ids.NIL, ids.NIL)
    assert (said["in the run"]["run_id"], said["in the run"]["step_id"]) == (r.id, ids.NIL)
    assert said["in the run"]["data"] == {"n": 1}
    assert (said["in the step"]["run_id"], said["in the step"]["step_id"]) == (r.id, s.id)
    assert said["in the step"]["error"]["message"] == "odd"


def test_misuse_is_told_at_once():
    """What can only be a mistake in the program is an error that says what to change."""
    with pytest.raises(ValueError, match=r"run:update is no event of its own; use run\(\.\.\.\) and its update"):
        event("run:update", {"status": "x"})
    with pytest.raises(TypeError, match="unexpected keyword argument 'aplication'; metadata is application, environ"):
        run("r", aplication="shop")
    with pytest.raises(TypeError, match="'tenant'"):
        configure(tenant="x")
    with pytest.raises(ValueError, match="queue_events must be at least 1"):
        configure(queue_events=0)
    with pytest.raises(ValueError, match="timeout must be a number of seconds above 0"):
        configure(timeout=0)


async def test_one_object_is_one_run(gateway):
    """To use it twice is a mistake, and what it has begun goes on."""
    once = run("r")
    with once, pytest.raises(RuntimeError, match=r"this run has begun already; call run\(\) again"), once:
        pass
    assert [each["type"] for each in await gateway.events()] == ["run:start", "run:update"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("127.0.0.1:4000", "must be like http://127.0.0.1:4000"),
        ("ftp://host", "must be like http://127.0.0.1:4000"),
        ("http://", "must be like http://127.0.0.1:4000"),
        ("http://host:port", "is no URL"),
        ("http://host/a b", "ASCII without spaces"),
        ("http://hôst", "ASCII without spaces"),
        ("http://me:hunter2@host", "no user and no password"),
        ("http://host/?token=hunter2", "no query"),
    ],
)
def test_a_wrong_url_is_refused_by_name(url, why):
    """And what may be secret in it is not shown."""
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        configure(url=url)
    assert "hunter2" not in str(caught.value)


def test_the_environment_says_where_the_gateway_is():
    """GATEWAY_URL and GATEWAY_TOKEN; else it is on this machine. Nothing shows the token."""
    assert from_environ({}) == Settings(url="http://127.0.0.1:4000", token=None)
    said = from_environ({"GATEWAY_URL": "https://gw.example/llm/", "GATEWAY_TOKEN": "s3cret"})
    assert (said.address.shown, said.token) == ("https://gw.example:443/llm", "s3cret")
    assert "s3cret" not in repr(said)
    assert from_environ({"GATEWAY_URL": " ", "GATEWAY_TOKEN": "s3cret\n"}) == Settings(token="s3cret")
    with pytest.raises(ValueError, match="token must be ASCII without spaces") as caught:
        from_environ({"GATEWAY_TOKEN": "s3cret\nX: 1"})
    assert "s3cret" not in str(caught.value)
    assert from_environ({"GATEWAY_URL": "http://[::1]:81"}).address.shown == "http://[::1]:81"


def test_a_wrong_environment_is_told_and_costs_nothing_but_the_events():
    """The application runs on; what is configured later counts."""
    script = (
        "from gateway.client import run, dropped, flush, configure\nwith run('r'): pass\nprint(flush(), dropped())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={"GATEWAY_URL": "gateway:80", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True 0\n"
    assert done.stderr.count("GATEWAY_URL, GATEWAY_TOKEN: the gateway's url must be like http://") == 1


async def test_a_run_may_go_on_by_its_id(gateway):
    """A given id is kept: one of another process, or a name of one's own."""
    given = UUID("0190a1b2-c3d4-7e5f-8a6b-0123456789ab")
    with run("r", id=given) as r, step("s", id="fetch") as s:
        assert (r.id, r.trace_id, r.span_id) == (str(given), given.hex, "8a6b0123456789ab")
        assert s.span_id == ids.step_span_id("fetch", str(given))
    said = await gateway.events()
    assert (said[0]["id"], said[1]["step_id"]) == (str(given), "fetch")
    assert repr(r) == f"<Run 'r' {given}>"
    assert repr(s) == "<Step 's' fetch>"


async def test_where_a_run_stands_is_what_the_gateway_will_say(gateway):
    """Trace and span ids follow from the ids by the one rule that both sides have."""
    with run("r") as r, step("s") as s:
        assert UUID(r.id).version == UUID(s.id).version == 7
        assert (r.trace_id, s.trace_id) == (ids.trace_id(r.id), r.trace_id)
        assert (r.span_id, s.span_id) == (ids.run_span_id(r.id), ids.step_span_id(s.id, r.id))
        assert r.span_id != s.span_id
    assert not [each for each in await gateway.events() if "trace_id" in each or "span_id" in each.get("data", {})]


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_an_id_is_a_uuid_of_version_7(milliseconds, random):
    """It holds its time and all random bits, so that ids sort by time and do not meet."""
    made = UUID(uuid7(milliseconds, random))
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == milliseconds
    assert (made.int >> 64 & 0xFFF) << 62 | made.int & (1 << 62) - 1 == random


async def test_it_can_be_turned_off(gateway):
    """Then the code runs as before, and nobody hears of it."""
    configure(enabled=False)
    with run("r"), step("s"):
        assert headers() == {}
        event("e")
    assert await gateway.events() == []
    configure(enabled=True)
    with run("r"):
        assert headers() != {}
    assert len(await gateway.events()) == 2


def test_it_is_light():
    """An application that imports the client gets nothing of what the gateway runs on."""
    script = "import sys; before = set(sys.modules); import gateway.client; print(*sorted(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in said if name.split(".")[0] == "gateway"}
    assert {name for name in ours if not name.startswith("gateway.client")} == {"gateway", "gateway.ids"}
    heavy = ("aiohttp", "duckdb", "opentelemetry", "httpx", "httpx2", "click", "rich", "asyncio", "multiprocessing")
    assert [name for name in said if name.split(".")[0] in heavy] == []


@pytest.mark.integration
def test_decorated_functions_keep_their_types(tmp_path: Path):
    """A type checker knows of a decorated function what it knew before, and of `with` that nothing is swallowed."""
    program = tmp_path / "program.py"
    program.write_text(
        "from collections.abc import AsyncIterator, Coroutine\n"
        "from typing import Any, assert_type\n"
        "from gateway.client import Run, Step, run, step\n"
        "@run('r')\ndef plain(a: int, *, b: str = '') -> float:\n    return float(a)\n"
        "@step('s', type='tool', capture=True, user='u')\nasync def later(a: int) -> str:\n    return str(a)\n"
        "@step()\nasync def many(a: int) -> AsyncIterator[int]:\n    yield a\n"
        "def ends() -> int:\n    with run('r') as r, step('s') as s:\n"
        "        assert_type((r, s), tuple[Run, Step])\n        return 1\n"
        "assert_type(plain(1, b=''), float)\n"
        "_ = assert_type(later(1), Coroutine[Any, Any, str])\n"
        "assert_type(many(1), AsyncIterator[int])\n"
        "plain('x')\nplain(1, c=1)\nrun('r', user=1)\nrun('r', nobody='x')\n"
    )
    environ = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "--follow-imports=silent",
         "--no-error-summary", str(program)],
        cwd=tmp_path, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wrong = [line.rpartition("[")[2] for line in done.stdout.splitlines() if ": error: " in line]
    assert wrong == ["arg-type]", "call-arg]", "arg-type]", "call-arg]"], done.stdout + done.stderr


def test_all_that_is_public_is_there():
    """What the module says it has, it has; `run` and `step` are the classes themselves."""
    assert all(hasattr(client, name) for name in client.__all__)
    assert (run, step) == (Run, Step)
