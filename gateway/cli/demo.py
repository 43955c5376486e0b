"""`gateway demo`: mixed traffic in the shape of the SDKs' requests, and queries about it."""

import asyncio
import contextlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from gateway.errors import GatewayError
from gateway.providers.http.client import Client, Origin, WireError

_LISTENING = re.compile(r"http://\S+")
_QUESTIONS = ("What is a span?", "Why was it slow?", "use the tool, please", "Who asked for this?")
_TOOL = {"type": "object", "properties": {"city": {"type": "string"}}}
_CHAT_TOOL = {"type": "function", "function": {"name": "weather", "parameters": _TOOL}}
_MODELS = ("chat", "echo", "reasoning", "no-usage", "flaky", "rate-limited", "broken-stream", "error-500", "slow")

# Titles and queries that are run afterwards.
QUERIES = (
    (
        "Responses to clients",
        """
SELECT model, count(*) AS exchanges, sum(retries)::INT AS retries,
    count(*) FILTER (outcome <> 'ok') AS failed,
    round(median(duration_ms), 1) AS median_ms,
    sum(input_tokens)::INT AS input, sum(output_tokens)::INT AS output
FROM exchanges GROUP BY model ORDER BY exchanges DESC, model""",
    ),
    (
        "Upstream attempts",
        """
SELECT operation, stream, count(*) AS attempts,
    round(median(ttfc_ms), 1) AS first_chunk_ms,
    string_agg(DISTINCT outcome, ', ') AS outcomes,
    string_agg(DISTINCT usage_source, ', ') AS usage
FROM attempts GROUP BY ALL ORDER BY attempts DESC""",
    ),
    (
        "Nothing is lost: accepted = stored + in flight + interrupted + dropped",
        """
SELECT sum(accepted)::INT AS accepted, sum(stored)::INT AS stored,
    sum(in_flight)::INT AS in_flight, sum(interrupted)::INT AS interrupted,
    sum(dropped)::INT AS dropped
FROM ledger""",
    ),
)


@contextlib.contextmanager
def running(data: Path) -> Iterator[str]:
    """Run a gateway on a free port and yield its URL. Raises GatewayError if it does not start."""
    options = ["--bare", "--host", "127.0.0.1", "--port", "0", "--data", str(data)]
    command = [sys.executable, "-m", "gateway", "serve", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:  # noqa: S603  our own command
        try:
            output = []
            for line in process.stderr or ():
                output.append(line)
                if found := _LISTENING.search(line):
                    break
            else:
                raise GatewayError(f"the gateway did not start: {''.join(output).strip()}")
            yield found.group(0)
        finally:
            process.terminate()
            process.communicate()


def traffic(rounds: int) -> list[tuple[str, dict[str, object]]]:
    """Return paths and bodies, the same in every run."""
    requests: list[tuple[str, dict[str, object]]] = []
    for number in range(rounds):
        question = _QUESTIONS[number % len(_QUESTIONS)]
        model = f"demo/{_MODELS[number % len(_MODELS)]}"
        messages = [{"role": "user", "content": f"{question} ({number})"}]
        requests += [
            ("/v1/chat/completions", {"model": model, "messages": messages, "stream": True, "tools": [_CHAT_TOOL]}),
            ("/v1/chat/completions", {"model": "demo/chat", "messages": messages, "temperature": 0.2}),
            (
                "/v1/messages",
                {"model": "demo/chat", "max_tokens": 200, "messages": messages, "stream": number % 2 == 0},
            ),
            ("/v1/responses", {"model": "demo/reasoning", "input": question, "stream": number % 3 == 0}),
            ("/v1/embeddings", {"model": "demo/embed", "input": [question]}),
        ]
    return requests


async def send(url: str, rounds: int, progress: Callable[[int, int], None]) -> None:
    """Send the traffic, eight requests at a time. `progress` gets the numbers of requests done and of all."""
    origin, _ = Origin.from_url(url)
    todo = traffic(rounds)
    done = 0
    gate = asyncio.Semaphore(8)
    client = Client()

    async def one(path: str, body: dict[str, object]) -> None:
        nonlocal done
        headers = [(b"Content-Type", b"application/json"), (b"User-Agent", b"gateway-demo/1")]
        async with gate:
            # One model breaks its streams.
            with contextlib.suppress(WireError):
                response = await client.send(
                    origin,
                    b"POST",
                    path.encode(),
                    headers,
                    msgspec.json.encode(body),
                    connect_timeout=5.0,
                    first_byte_timeout=60.0,
                )
                while not response.complete:
                    await response.read(60.0)
        done += 1
        progress(done, len(todo))

    try:
        async with asyncio.TaskGroup() as group:
            for path, body in todo:
                group.create_task(one(path, body))
    finally:
        await client.close()
