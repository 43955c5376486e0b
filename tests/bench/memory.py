"""`python -m tests.bench.memory`: the resident memory of one worker through bursts of large requests, and after them.

Each burst is 200 requests of 1 MB at once, held by the upstream until most are there; the line has the highest and the
last resident memory in MB, at rest, through each of five bursts, and after 10 idle seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.bench.processes import family
from tests.bench.rows import ROOT

REQUESTS, SIZE, BURSTS, IDLE_SECONDS = 200, 1_000_000, 5, 10.0
HOLD_SECONDS = 2.0
_ANSWER = {
    "id": "c",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
}
FORMS = {
    "as it came": ("/v1/chat/completions", "m"),
    "renamed": ("/v1/chat/completions", "local/m"),
    "translated": ("/v1/chat/completions", "claude/m"),
}


def _body(path: str, model: str, number: int) -> bytes:
    """Return a request of 1 MB in ten messages, each another one."""
    text = "".join(f"{number:04d} of a long text. " for _ in range(SIZE // 220))
    turns = [{"role": "user" if turn % 2 == 0 else "assistant", "content": text} for turn in range(10)]
    body = json.dumps(
        {"model": model, "max_tokens": 5, "messages": [*turns, {"role": "user", "content": "?"}]}
    ).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


async def _upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    answer = json.dumps(_ANSWER).encode()
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            while length:
                length -= len(await reader.read(min(length, 1 << 16)))
            await asyncio.sleep(HOLD_SECONDS)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(answer)
            )
            writer.write(answer)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _ask(port: int, request: bytes) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1])


def _worker(pid: int) -> int:
    """Return the pid of the worker: the last child of the gateway."""
    return max(stat.pid for stat in family(pid) if stat.pid != pid)


def _rss(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


async def _watched(pid: int, seconds: float, peak: list[float]) -> None:
    ends = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < ends:
        peak.append(_rss(pid))
        await asyncio.sleep(0.02)


async def measure(root: Path, form: str) -> list[str]:
    """Return the line of one checkout and form."""
    server = await asyncio.start_server(_upstream, "127.0.0.1", 0, backlog=1024)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "gateway.toml"
        config.write_text(
            f'[providers.openai]\nbase_url = "{upstream}/v1"\napi_key = "k"\n'
            f'[providers.local]\nbase_url = "{upstream}/v1"\napi_key = "k"\n'
            f'[providers.claude]\nbase_url = "{upstream}"\ndialect = "anthropic-messages"\napi_key = "k"\n'
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "serve", "--bare", "-c", config, "--port", "0",
            "--data", Path(folder) / "data", cwd=root, env={"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"},
            stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        assert process.stderr is not None
        line = b""
        while b"http://" not in line:
            line = await process.stderr.readline()
        port = int(line.partition(b"http://")[2].rpartition(b":")[2].split()[0].strip(b"/."))
        draining = asyncio.ensure_future(process.stderr.read())
        pid = _worker(process.pid)
        found = [f"{_rss(pid):.0f}"]
        requests = [_body(*FORMS[form], number) for number in range(REQUESTS)]
        for _ in range(BURSTS):
            peak: list[float] = []
            watching = asyncio.ensure_future(_watched(pid, 600, peak))
            statuses = await asyncio.gather(*(_ask(port, request) for request in requests))
            watching.cancel()
            found.append(f"{max(peak):.0f}" + ("" if set(statuses) == {200} else f" {set(statuses)}"))
        await asyncio.sleep(IDLE_SECONDS)
        found.append(f"{_rss(pid):.0f}")
        process.terminate()
        await process.wait()
        draining.cancel()
    server.close()
    return found


def main() -> None:
    """Print a line for each checkout and form."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="measure another checkout first")
    parser.add_argument("--form", choices=FORMS, action="append", help="only these forms of a request")
    options = parser.parse_args()
    print("checkout | form | at rest | peak of each burst | after 10 s idle", flush=True)
    for root in [*([options.before] if options.before else []), ROOT]:
        for form in options.form or FORMS:
            rest, *bursts, after = asyncio.run(measure(root, form))
            print(f"{root.name} | {form} | {rest} | {', '.join(bursts)} | {after}", flush=True)


if __name__ == "__main__":
    main()
