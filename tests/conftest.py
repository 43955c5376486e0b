"""What every test gets: an environment without keys or endpoints, and a loop on which nothing may block."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from blockbuster import blockbuster_ctx
from hypothesis import HealthCheck, settings

from tests.support.chat_clients import answers
from tests.support.gateways import InProcess, to
from tests.support.paths import FIXTURES
from tests.support.upstream import Upstream

# How fast a machine draws and runs examples is no property of what is tested.
settings.register_profile("whole", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("daily", settings.get_profile("whole"), max_examples=15)
settings.load_profile("whole")

# A suite that runs in the background ignores Ctrl-C and a closed terminal; the commands that it starts must not.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# The gateways of tests are configured by the tests alone; set here, so that modules and children have it too.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_CLEARED = ("OPENAI_", "ANTHROPIC_", "OTEL_", "GATEWAY_TOKEN", *_PROXIES)
for _name in [name for name in os.environ if name.upper().startswith(_CLEARED)]:
    del os.environ[_name]
os.environ["XDG_CONFIG_HOME"] = os.devnull

# What may block: the journal's appends and what comes with them, a look at the store before it is asked, which the
# recorder's loop has time for, and a test that itself asks the store.
_MAY_BLOCK = {
    "gateway/tracing/journal.py": {
        "__init__",
        "_append",
        "_create",
        "_close",
        "close",
        "_append_batch",
        "rotate",
        "tick",
    },
    "gateway/store/query.py": {"_encoded"},
    "gateway/server/memory.py": {"resident"},
    "tests/support/gateways.py": {"__init__", "_lines", "ask", "sealed"},
}


def pytest_configure(config: pytest.Config) -> None:
    """Draw fewer examples in the daily loop; a property test with a number of examples of its own keeps that."""
    if "not integration" in config.option.markexpr:
        settings.load_profile("daily")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector away from imports and items: no collection visits them, then or in the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_report_header() -> str:
    """Name the DuckDB that the tests run with."""
    return f"duckdb {duckdb.__version__}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the soaks, unless `-m` names them: any other expression leaves them out, as no expression does."""
    if "soak" in config.option.markexpr:
        return
    soaks = [item for item in items if item.get_closest_marker("soak")]
    config.hook.pytest_deselected(items=soaks)
    items[:] = [item for item in items if item not in soaks]


@pytest.fixture(autouse=True, scope="session")
def _nothing_blocks() -> Iterator[None]:
    """Fail a test in which the package blocks its event loop."""
    with blockbuster_ctx(scanned_modules=["gateway"]) as blockbuster:
        for function in blockbuster.functions.values():
            for file, functions in _MAY_BLOCK.items():
                function.can_block_in(file, functions)
        yield


@pytest.fixture(name="read", scope="session")
def _read() -> Callable[[str], bytes]:
    """Read a fixture of tests/dialects/fixtures by its name."""
    return lambda name: (FIXTURES / name).read_bytes()


@pytest.fixture(name="upstream")
async def _upstream() -> AsyncIterator[Upstream]:
    """Start a scripted provider."""
    async with Upstream() as upstream:
        yield upstream


@pytest.fixture(name="second")
async def _second() -> AsyncIterator[Upstream]:
    """Start another scripted provider, which speaks OpenAI's chat and is well."""
    async with Upstream(lambda asked: answers("chat", asked)) as second:
        yield second


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker in this process that sends all to `upstream`; its retries wait a millisecond."""
    async with InProcess(tmp_path / "data", to(upstream.url)) as gateway:
        yield gateway
