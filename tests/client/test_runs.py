"""What an application says by runs, steps and events reaches the gateway as the seed's clients say it."""

import asyncio
import contextvars
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from gateway import client, ids
from gateway.client import Run, Step, configure, current_run, current_step, event, headers, run, step
from tests.support.event_receiver import EventReceiver, event_receiver
from tests.support.upstream import Upstream


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[EventReceiver]:
    async with event_receiver(monkeypatch, upstream) as gateway:
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


def test_all_that_is_public_is_there():
    """What the module says it has, it has; `run` and `step` are the classes themselves."""
    assert all(hasattr(client, name) for name in client.__all__)
    assert (run, step) == (Run, Step)
