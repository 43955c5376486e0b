"""However attempts go and whenever a client leaves: every span ends once, with one outcome, and none is lost."""

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FIXTURES
from tests.support.examples import examples
from tests.support.gateways import InProcess, to
from tests.support.raw_http import connected, request
from tests.support.upstream import CLOSE, RESET, Step, Upstream, events, reply, stream

MAX_TRIES = 3
RETRYABLE = {"rate_limit", "server", "upstream_abort", "parsing", "sending", "generic"}
BROKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
PATHS = {
    "/v1/chat/completions": "chat_text.sse",
    "/v1/messages": "messages_text.sse",
    "/v1/responses": "responses_text.sse",
    "/v1/files": "chat_error.sse",
    "/openai/deployments/d/embeddings": "chat_text.sse",
}

statuses = st.sampled_from([200, 200, 204, 302, 400, 401, 402, 404, 418, 429, 429, 500, 503, 529])
ends = st.sampled_from([b"0\r\n\r\n", b"0\r\n\r\n", CLOSE, RESET, b"zz\r\n"])


def _reply(status: int, told: list[tuple[str, str]]) -> list[Step]:
    return reply({"error": {"message": "no"}} if status >= 400 else {"id": "1", "model": "m"}, f"{status} X", told)


def _stream(fixture: str, count: int, pause: float, end: Step) -> list[Step]:
    return stream([*events((FIXTURES / fixture).read_bytes())[:count], pause], end=end)


words = st.sampled_from([[], [], [("retry-after-ms", "1")], [("Retry-After", "99")], [("x-should-retry", "false")]])
scripts = st.one_of(
    st.builds(_reply, statuses, words),
    st.sampled_from([[RESET], [CLOSE], [b"no HTTP\r\n\r\n"], [BROKEN, CLOSE], [BROKEN, b"{", 0.005, RESET], [0.3]]),
    st.builds(_stream, st.sampled_from(sorted(PATHS.values())), st.integers(0, 9), st.sampled_from([0.0, 0.01]), ends),
)
exchanges = st.fixed_dictionaries(
    {
        "path": st.sampled_from(sorted(PATHS)),
        "stream": st.booleans(),
        "scripts": st.lists(scripts, min_size=1, max_size=MAX_TRIES + 1),
        # After how many pieces of the body the client leaves: -1 before the head, None never.
        "leaves": st.sampled_from([None, None, None, -1, 0, 1, 3]),
    }
)


async def _client(url: str, asked: dict[str, Any]) -> None:
    said = [{"role": "user", "content": "hi"}]
    asks = {"input": said} if asked["path"].endswith("responses") else {"messages": said, "max_tokens": 1}
    body = {"model": "m", "stream": asked["stream"], **asks}
    async with connected(url) as client:
        head = [("Content-Type", "application/json")]
        await client.send(request("POST", asked["path"], head, json.dumps(body).encode()))
        if asked["leaves"] == -1:
            await asyncio.sleep(0.01)
            return
        try:
            await client.head()
        except ConnectionError:
            return
        pieces = 0
        while asked["leaves"] is None or pieces < asked["leaves"]:
            if not await client.piece():
                return
            pieces += 1


async def _run(asked: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[tuple[Any, ...]]]:
    """Send the exchanges one after another; return the journal's lines and what the ledger says."""
    toml = f"max_tries = {MAX_TRIES}\nmax_backoff = 5.0\n[timeouts]\nfirst_byte = 0.1\nidle = 0.1\n"
    with tempfile.TemporaryDirectory() as folder:
        async with Upstream() as upstream, InProcess(Path(folder) / "data", to(upstream.url, toml)) as gateway:
            for each in asked:
                upstream.answers(*each["scripts"])
                before = len(gateway.rows("SERVER"))
                await _client(gateway.url, each)
                await gateway.ended(before + 1)
            counts = "accepted, stored, in_flight, interrupted, dropped, attempts"
            ledger = gateway.ask(f"SELECT {counts} FROM ledger")  # noqa: S608  our own names
        journals = Path(folder).glob("data/live/*.jsonl")
        lines = [json.loads(line) for path in journals for line in path.read_bytes().splitlines()]
    return lines, ledger


@pytest.mark.integration
@given(st.lists(exchanges, min_size=1, max_size=4))
@examples(30, deadline=None)
def test_every_span_ends_once_with_one_outcome(asked):
    """Over random statuses, streams, breaks and clients that leave: the journal's books balance."""
    _check(asked)


@pytest.mark.soak
@pytest.mark.timeout(900)
@given(st.lists(exchanges, min_size=1, max_size=8))
@examples(500, deadline=None)
def test_every_span_ends_once_in_thousands_of_exchanges(asked):
    """The same, many times over."""
    _check(asked)


def _check(asked: list[dict[str, Any]]) -> None:
    lines, ledger = asyncio.run(_run(asked))
    for problem in _problems(lines):
        raise AssertionError(problem)
    attempts = sum(line.get("kind") == "CLIENT" for line in lines)
    assert ledger == [(len(asked), len(asked), 0, 0, 0, attempts)]


def _problems(lines: list[dict[str, Any]]) -> Iterator[str]:
    starts = Counter(line["span_id"] for line in lines if line["t"] == "start")
    roots = [line for line in lines if line["t"] == "span" and line["kind"] == "SERVER"]
    attempts = [line for line in lines if line["t"] == "span" and line["kind"] == "CLIENT"]
    ids = Counter(row["span_id"] for row in (*roots, *attempts))
    if ids and max(ids.values()) > 1:
        yield f"a span ended twice: {ids}"
    if starts != Counter(row["span_id"] for row in roots):
        yield "starts and ends of exchanges differ"
    by_root = {row["span_id"]: [each for each in attempts if each["parent_span_id"] == row["span_id"]] for row in roots}
    if sum(map(len, by_root.values())) != len(attempts):
        yield "an attempt has no exchange"
    for root in roots:
        yield from (f"{problem}: {root}" for problem in _of_exchange(root, by_root[root["span_id"]]))
        yield from (
            f"{problem}: {row}" for row in by_root[root["span_id"]] for problem in _of_attempt(row, root, lines)
        )


def _of_exchange(root: dict[str, Any], attempts: list[dict[str, Any]]) -> Iterator[str]:
    if not root.get("outcome"):
        yield "no outcome"
    if root["attempts"] != len(attempts) or root["retries"] != max(0, len(attempts) - 1):
        yield "the attempts are miscounted"
    if len(attempts) > MAX_TRIES:
        yield "too many attempts"
    if not attempts and (root["outcome"] == "ok" or not root.get("error")):
        yield "neither an attempt nor an error"
    for index, row in enumerate(attempts):
        if (
            row["attempt"] != index
            or row.get("resend_count") != (index or None)
            or ("backoff_ms" in row) != bool(index)
        ):
            yield "an attempt is out of place"
        if index < len(attempts) - 1 and (row["outcome"] not in RETRYABLE or "ttfc_s" in row):
            yield "tried again though it could not be"
    if attempts and root["outcome"] not in {attempts[-1]["outcome"], "client_abort"}:
        yield "the exchange did not end as its last attempt"
    if root["outcome"] == "ok" and {"error", "error_type", "status"} & root.keys():
        yield "a success with an error"
    if root["rate_limited"] != any(row.get("http_status") == 429 for row in attempts):
        yield "rate_limited is wrong"
    if any(key.startswith("gen_ai.") for key in root.get("attributes", {})):
        yield "gen_ai.* on the root"


def _of_attempt(row: dict[str, Any], root: dict[str, Any], lines: list[dict[str, Any]]) -> Iterator[str]:
    if not row.get("outcome") or row["trace_id"] != root["trace_id"]:
        yield "no outcome, or of another trace"
    if (row["outcome"] in {"ok", "client_abort"}) != ("error_type" not in row):
        yield "error.type does not fit the outcome"
    if row["outcome"] == "ok" and row["http_status"] >= 400:
        yield "an error status is ok"
    if lines.index(row) > lines.index(root):
        yield "ended after its exchange"
    counts = [row.get(f"{name}_tokens") for name in ("input", "output")]
    if (row.get("usage_source") is None) != (counts == [None, None]):
        yield "tokens without their provenance, or none with one"
    if row["duration_ns"] < 0 or row["overhead_us"] < 0 or row["start_ns"] < root["start_ns"] - 5_000_000:
        yield "its times cannot be"
