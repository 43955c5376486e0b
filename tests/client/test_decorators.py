"""Decorated functions of any kind: each call is a run or a step, and the function behaves as before."""

import inspect
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from gateway.client import current_step, run, step
from tests.support.event_receiver import EventReceiver, event_receiver
from tests.support.upstream import Upstream


@pytest.fixture(name="gateway")
async def _gateway(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> AsyncIterator[EventReceiver]:
    async with event_receiver(monkeypatch, upstream) as gateway:
        yield gateway


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
