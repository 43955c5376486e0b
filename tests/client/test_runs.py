"""Runs, steps and events of an application, and the requests in which they reach the gateway."""

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


async def test_events_of_a_run_and_its_step(gateway):
    """The events are run start, step start, step end and run end, with exactly the given fields."""
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


async def test_fields_that_were_not_given_are_absent(gateway):
    """Optional fields are absent, except a step's output, which chronicle requires."""
    with run("r") as r, step("s") as s:
        pass
    said = [{name: value for name, value in each.items() if name != "time"} for each in await gateway.events()]
    assert said == [
        {"type": "run:start", "id": r.id, "name": "r"},
        {"type": "step:start", "run_id": r.id, "step_id": s.id, "data": {"type": "task", "name": "s"}},
        {"type": "step:end", "run_id": r.id, "step_id": s.id, "data": {"output": None}},
        {"type": "run:update", "id": r.id, "status": "finished"},
    ]


async def test_an_exception_is_recorded_and_raised(gateway):
    """The exception is raised unchanged; step and run are errors with its type, message and stack."""
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
    assert "in test_an_exception_is_recorded_and_raised" in error["stack"]
    assert error["stack"].endswith("after:\nKeyError: 'sku'")


@pytest.mark.parametrize("leaving", [GeneratorExit(), SystemExit(), SystemExit(0)])
async def test_system_exit_and_generator_exit_are_no_errors(gateway, leaving):
    """A program that exits in order, and a generator that is closed, have not failed."""
    with pytest.raises(type(leaving)), run("r"), step("s"):
        raise leaving
    *_, stepped, ended = await gateway.events()
    assert (stepped["type"], ended["status"]) == ("step:end", "finished")


async def test_a_cancelled_step_is_an_error(gateway):
    """A cancelled step, and an exit with a failure, are errors."""

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


async def test_status_and_state_are_sent_at_once(gateway):
    """`update` and `state` send at once; `status` is the run's last status."""
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
    """A step's parent is the step in which its task was created, however tasks interleave."""

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


async def test_a_thread_needs_a_copied_context(gateway):
    """`asyncio.to_thread` copies the context; a plain thread without a copy has no current run."""

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


async def test_a_step_without_a_run_is_a_run_of_its_own(gateway):
    """Its run has the step's name, input, output and end, as with chronicle's client."""
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
    """An inner run has its own steps; afterwards the outer one is current again."""
    with run("outer", session="s-1"), step("before"):
        with run("inner") as inner, step("within"):
            assert headers()["x-gateway-session"] == "s-1"
        with step("after"):
            pass
    said = await gateway.events()
    assert parents(said) == {"before": None, "within": None, "after": "before"}
    (within,) = [each for each in said if each["type"] == "step:start" and each["data"]["name"] == "within"]
    assert within["run_id"] == inner.id


async def test_scopes_may_end_out_of_order(gateway):
    """Whichever of two scopes ends first, no ended one is current afterwards."""
    outer, inner = run("outer"), step("inner")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert current_step() is inner
    inner.__exit__(None, None, None)
    assert current_run() is None
    assert len(await gateway.events()) == 4


async def test_an_event_belongs_to_the_current_step(gateway):
    """An event has the ids of the current run and step, or chronicle's nil id outside of any."""
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


def test_misuse_raises_at_once():
    """A mistake of the program raises an error that names the remedy."""
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


async def test_a_run_is_continued_by_its_id(gateway):
    """A given id, of another process or any text, is used unchanged."""
    given = UUID("0190a1b2-c3d4-7e5f-8a6b-0123456789ab")
    with run("r", id=given) as r, step("s", id="fetch") as s:
        assert (r.id, r.trace_id, r.span_id) == (str(given), given.hex, "8a6b0123456789ab")
        assert s.span_id == ids.step_span_id("fetch", str(given))
    said = await gateway.events()
    assert (said[0]["id"], said[1]["step_id"]) == (str(given), "fetch")
    assert repr(r) == f"<Run 'r' {given}>"
    assert repr(s) == "<Step 's' fetch>"


async def test_trace_ids_are_those_of_the_gateway(gateway):
    """Client and gateway derive the same trace and span ids."""
    with run("r") as r, step("s") as s:
        assert UUID(r.id).version == UUID(s.id).version == 7
        assert (r.trace_id, s.trace_id) == (ids.trace_id(r.id), r.trace_id)
        assert (r.span_id, s.span_id) == (ids.run_span_id(r.id), ids.step_span_id(s.id, r.id))
        assert r.span_id != s.span_id
    assert not [each for each in await gateway.events() if "trace_id" in each or "span_id" in each.get("data", {})]


async def test_a_disabled_client_sends_nothing(gateway):
    """With `enabled=False` the code runs unchanged, and no event is sent."""
    configure(enabled=False)
    with run("r"), step("s"):
        assert headers() == {}
        event("e")
    assert await gateway.events() == []
    configure(enabled=True)
    with run("r"):
        assert headers() != {}
    assert len(await gateway.events()) == 2


def test_the_client_imports_no_library_of_the_server():
    """Importing the client imports no library of the server."""
    script = "import sys; before = set(sys.modules); import gateway.client; print(*sorted(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    ours = {name for name in said if name.split(".")[0] == "gateway"}
    assert {name for name in ours if not name.startswith("gateway.client")} == {"gateway", "gateway.ids"}
    heavy = ("aiohttp", "duckdb", "opentelemetry", "httpx", "httpx2", "click", "rich", "asyncio", "multiprocessing")
    assert [name for name in said if name.split(".")[0] in heavy] == []


def test_public_names():
    """Every name in `__all__` exists; `run` and `step` are the classes."""
    assert all(hasattr(client, name) for name in client.__all__)
    assert (run, step) == (Run, Step)
