"""The process for npm's packages, a gateway before all providers, and the table at the end of a run."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.matrix.clients import PYTHON, Ask
from tests.matrix.expected import SPEAKS, WHY
from tests.matrix.node import Node
from tests.matrix.scenes import CASES
from tests.matrix.upstreams import UPSTREAMS, settings
from tests.support.gateways import InProcess
from tests.support.upstream import Upstream

_CELL = "test_cell["


@pytest.fixture(name="node", scope="session")
def _node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Start Node's process when it is first asked."""
    node = Node(tmp_path_factory.mktemp("node"))
    yield node
    node.stop()


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker for which `upstream` is each of the providers."""
    async with InProcess(tmp_path / "data", settings(upstream.url)) as gateway:
        yield gateway


@pytest.fixture(name="ask")
def _ask(client: str, request: pytest.FixtureRequest) -> Ask:
    """Return what asks with the client of a test."""
    if client in PYTHON:
        return PYTHON[client]
    node: Node = request.getfixturevalue("node")
    return lambda *asked: node.ask(client, *asked)


@pytest.fixture(name="note")
def _note(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return what notes facts for the table."""
    return lambda **facts: request.node.user_properties.extend(facts.items())


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the matrix: a line for each client and provider, a column for each case."""
    lost: dict[tuple[str, str, str], set[str]] = {}
    failed = set()
    for report in [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]:
        if _CELL not in report.nodeid or report.when != "call":
            continue
        words = report.nodeid.partition(_CELL)[2].removesuffix("]").split("-")
        cell = (words[0], words[1], words[2])
        lost.setdefault(cell, set()).update(dict(report.user_properties).get("lost", ()))
        failed |= {cell} if report.failed else set()
    if len(lost) < len(UPSTREAMS):
        return
    letters = {name: chr(ord("a") + n) for n, name in enumerate(WHY)}
    write = terminalreporter.write_line
    terminalreporter.section("matrix")
    write("Each case whole and streamed; letters mark content that cannot be expressed on the way, and the reason.")
    write(f"{'client':17}{'provider':10}" + "".join(f"{name:15}" for name in CASES))
    for client in SPEAKS:
        for provider in UPSTREAMS:
            row = ""
            for name in CASES:
                cell = (client, provider, name)
                marks = "".join(sorted(letters[each] for each in lost.get(cell, ())))
                row += f"{'FAILED' if cell in failed else f'ok {marks}' if cell in lost else 'not run':15}"
            write(f"{client:17}{provider:10}{row}")
    for name in sorted({name for names in lost.values() for name in names}, key=list(WHY).index):
        write(f"  {letters[name]}  {name}: {WHY[name]}")
