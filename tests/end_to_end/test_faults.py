"""The fault matrix: each thing a provider may do wrong, with one candidate, with a good second one, and with both bad.

A table of its cells is printed at the end of a run.
"""

import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterable
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_clients import ask, provider
from tests.support.gateways import InProcess
from tests.support.provider_faults import (
    ANSWERS,
    EVENTS,
    EXPECTED,
    EXPECTED_OF_STREAMS,
    SITUATIONS,
    WHOLE_BODY,
    bad_urls,
    cell,
    good,
    settings,
    without_trust,
)
from tests.support.raw_http import Answer
from tests.support.upstream import Upstream

Note = Callable[[str, str, bool, str], None]


class Table:
    """The cells that were seen; pytest prints them when all is done."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, bool], str] = {}

    def note(self, fault: str, situation: str, streamed: bool, said: str) -> None:
        """Take down a cell."""
        self._seen[fault, situation, streamed] = said

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print a line for each fault and situation, and one more where a stream fares otherwise."""
        if len(self._seen) < 2 * len(SITUATIONS) * len(EXPECTED):
            return
        terminalreporter.section("faults")
        for fault in EXPECTED:
            for situation in SITUATIONS:
                whole, streamed = (self._seen[fault, situation, each] for each in (False, True))
                name = fault if situation == SITUATIONS[0] else ""
                terminalreporter.write_line(f"{name:28}{situation:20}{whole}")
                if streamed != whole:
                    terminalreporter.write_line(f"{'':28}{'    streamed':20}{streamed}")


@pytest.fixture(name="note", scope="session")
def _note(request: pytest.FixtureRequest) -> Note:
    table = Table()
    request.config.pluginmanager.register(table, "faults")
    return table.note


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate that signs itself, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    pem, key = folder / "server.pem", folder / "key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", pem],
        check=True,
        capture_output=True,
    )
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    return pem


@pytest.fixture(name="urls")
async def _urls(fault: str, upstream: Upstream, certificate: Path) -> AsyncIterator[str]:
    """Give where a fault is found."""
    upstream.answer = lambda asked: ANSWERS[fault](bool(asked.json["stream"]))
    async with without_trust(certificate) as (tls, plain):
        yield bad_urls(fault, upstream, tls, plain)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("fault", EXPECTED)
async def test_fault(fault: str, situation: str, streamed: bool, urls: str, tmp_path: Path, note: Note):
    """The client gets, and each attempt was made for, waited and ended, what the table says."""
    async with Upstream(lambda _: good(streamed=streamed)) as healthy:
        second = healthy.url if situation == "the second is good" else urls
        both = (("first", urls), ("second", second))
        toml = "".join(provider(name, "chat", f"{url}/v1", more="") for name, url in both)
        async with InProcess(tmp_path / "data", toml + settings(fault)) as gateway:
            model = "one" if situation == "one candidate" else "two"
            answer = await ask(gateway, "chat", model, streamed=streamed)
            rows = gateway.rows("CLIENT")
            root = gateway.exchange()
    said = cell(fault, answer, rows)
    note(fault, situation, streamed, said)
    assert said == (EXPECTED_OF_STREAMS if streamed else EXPECTED)[fault][SITUATIONS.index(situation)]
    check_rows(fault, root, rows, answer, ["first"] if situation == "one candidate" else ["first", "second"])
    if said.endswith(" ok"):
        assert answer.body == (b"".join(EVENTS) if streamed else json.dumps(WHOLE_BODY).encode())


def check_rows(
    fault: str, root: dict[str, Any], rows: list[dict[str, Any]], answer: Answer, candidates: Iterable[str]
) -> None:
    """Require that the spans agree with one another, and with what the client was told."""
    assert [row["attempt"] for row in rows] == list(range(len(rows)))
    assert [row["provider"] for row in rows] == list(islice(cycle(candidates), len(rows)))
    for row, before in pairwise(reversed(rows)):
        assert row["reason"].endswith(f" after {before['outcome']}")
        assert row["resend_count"] == row["attempt"]
    last = rows[-1]
    assert (root["attempts"], root["retries"], root["http_status"]) == (len(rows), len(rows) - 1, answer.status)
    assert (root["outcome"], root["provider"]) == (last["outcome"], last["provider"])
    assert root["rate_limited"] == any(row["outcome"] == "rate_limit" for row in rows)
    assert ("error" in root) == (last["outcome"] != "ok")
    assert all(row["overhead_us"] >= 0 for row in [root, *rows])
    own = {"500, not to be retried": [b"false"], "409, to be retried": [b"true"]}
    # None of these failures is final and sent again by SDKs, so the gateway adds no word of its own.
    assert answer.values(b"x-should-retry") == own.get(fault if answer.status >= 400 else "", [])


def test_each_fault_has_its_line():
    """The table and the scripts speak of the same faults."""
    elsewhere = {"refused", "no such name", "a certificate of somebody's", "no TLS"}
    assert set(EXPECTED) == set(EXPECTED_OF_STREAMS) == set(ANSWERS) | elsewhere
