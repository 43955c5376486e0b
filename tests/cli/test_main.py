"""The command as a user meets it: real processes, data on stdout, all else on stderr, exit codes."""

import asyncio
import csv
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.gateways import Process, to
from tests.support.paths import ROOT
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream

GATEWAY = (sys.executable, "-m", "gateway")
COMMANDS = ("serve", "check", "doctor", "config", "sql", "tail", "demo", "import", "export", "recorder")
PATIENCE = 45.0
MODELS = request("GET", "/v1/models")


class Ran(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str


async def run(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Ran:
    """Run the command in a folder, to its end."""
    process = await asyncio.create_subprocess_exec(
        *GATEWAY, *arguments, cwd=folder, env=ENVIRON | dict(environ or {}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return Ran(process.returncode or 0, out.decode(), err.decode())


_LEFT_OUT = ("OTEL_", "GATEWAY_", "OPENAI_", "ANTHROPIC_")
ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith(_LEFT_OUT)}
ENVIRON["PYTHONPATH"] = str(ROOT)


@pytest.fixture(name="store", scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Leave a folder behind in which `gateway demo` has run once; its data is in gateway-data."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [*GATEWAY, "demo", "--rounds", "2", "--json"], cwd=folder, env=ENVIRON, capture_output=True, check=True
    )
    (folder / "out").write_bytes(done.stdout)
    (folder / "err").write_bytes(done.stderr)
    return folder


# -- help, and what cannot work


@pytest.mark.integration
@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_explains_itself_by_example(tmp_path, command):
    """Its help has at least one example."""
    ran = await run(tmp_path, command, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert re.search(rf"^  gateway {command}\b", ran.out, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
async def test_the_command_explains_itself(tmp_path):
    """--help names all commands, --version the version."""
    ran = await run(tmp_path, "--help")
    assert ran.code == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", ran.out, re.MULTILINE)
    ran = await run(tmp_path, "--version")
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(r"gateway, version \d+\.\d+\.\d+\S*\n", ran.out)


WRONG: dict[str, tuple[list[str], int, str]] = {
    "unknown command": (["sqll"], 2, "Did you mean 'sql'?"),
    "unknown option": (["--prot", "1"], 2, "--port"),
    "no port": (["--port", "99999"], 2, "--port"),
    "no number of workers": (["--workers", "0"], 2, "--workers"),
    "unknown host": (["--host", "no.such.host.invalid", "--port", "0"], 1, "--host"),
    "no config": (["-c", "missing.toml", "--port", "0"], 1, "missing.toml: there is no such file"),
    "bad key": (
        ["-c", "key.toml", "--port", "0"],
        1,
        "key.toml: $.retry.max_tires: there is no such key; did you mean `max_tries`?",
    ),
    "bad value": (
        ["-c", "value.toml", "--port", "0"],
        1,
        "value.toml: $.timeouts.idle: Expected `float`, got `str`",
    ),
    "bad variable": (
        ["-c", "variable.toml", "--port", "0"],
        1,
        "variable.toml: $.providers.a.api_key: the environment variable NO_SUCH",
    ),
    "bad provider": (["-c", "provider.toml", "--port", "0"], 1, "provider.toml: $.providers.a: base_url is missing"),
    "no TOML": (["-c", "toml.toml", "--port", "0"], 1, "toml.toml: not valid TOML"),
    "data is a file": (["--data", "key.toml", "--port", "0"], 2, "--data"),
    "data below a file": (["--data", "key.toml/x", "--port", "0"], 1, "--data"),
    "sql without a query": (["sql"], 2, "QUERY"),
    "sql without data": (["sql", "SELECT 1"], 1, "there is no data folder gateway-data"),
    "tail without data": (["tail"], 1, "there is no data folder gateway-data"),
}
FILES = {
    "key.toml": "[retry]\nmax_tires = 1\n",
    "value.toml": "[timeouts]\nidle = 'long'\n",
    "variable.toml": "[providers.a]\napi_key = '${env:NO_SUCH}'\n",
    "provider.toml": "[providers.a]\nprefix = 'a/'\n",
    "toml.toml": "[retry\n",
}


@pytest.mark.integration
@pytest.mark.parametrize(("arguments", "code", "said"), WRONG.values(), ids=WRONG.keys())
async def test_errors_are_on_stderr(tmp_path, arguments, code, said):
    """One message with the place and what to change, no traceback, nothing on stdout, and an exit code."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    ran = await run(tmp_path, *arguments)
    assert ran.code == code
    assert said in ran.err
    assert "Error: " in ran.err
    assert "Traceback" not in ran.err
    assert ran.out.replace("time", "").split()[:1] in ([], ["status"])  # a table's head may have been out


async def test_a_bare_command_serves(tmp_path):
    """Without a word it is `serve` with the defaults: it wants ./gateway-data."""
    (tmp_path / "gateway-data").write_text("a file")
    ran = await run(tmp_path)
    assert ran.code == 2
    assert "gateway serve" in ran.err
    assert "gateway-data" in ran.err


# -- serve


@asynccontextmanager
async def serving(folder: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[str]]]:
    """Run the command until the block ends; yield the process and its output until it listened."""
    process = await asyncio.create_subprocess_exec(
        *GATEWAY, *arguments, cwd=folder, env=ENVIRON,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said: list[str] = []
    try:
        assert process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            while not any("OTLP" in line for line in said):
                line = await process.stderr.readline()
                assert line, said
                said.append(line.decode())
        yield process, said
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


@pytest.mark.integration
async def test_options_without_a_command_serve(tmp_path):
    """The commands on stderr work when pasted; stdout stays empty and the exit code is 0."""
    async with serving(tmp_path, "--port", "0", "--data", "traces") as (process, said):
        text = "".join(said)
        url = re.search(r"is listening on (http://127\.0\.0\.1:\d+)$", text, re.MULTILINE).group(1)
        exports = dict(re.findall(r"^  export (\w+)=(\S+)", text, re.MULTILINE))
        assert exports == {"OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url}
        assert "gateway tail -f --data traces" in text
        assert f"duckdb {Path('traces/spans.duckdb')}" in text
        assert "set OTEL_EXPORTER_OTLP_ENDPOINT" in text
        assert "token" not in text
        answer = await exchange(
            url, request("POST", "/v1/chat/completions", [], b'{"model":"demo/chat","messages":[]}')
        )
        assert answer.status == 200
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, out, err) == (0, b"", b"")
    ran = await run(tmp_path, "sql", "--data", "traces", "--csv", "SELECT count(*) AS n FROM exchanges")
    assert (ran.code, ran.out) == (0, "n\n1\n")


@pytest.mark.integration
async def test_standard_input_is_left_alone(tmp_path):
    """A gateway in a pipeline or in a script reads nothing of what is not its own."""
    read, write = os.pipe()
    os.write(write, b"for somebody else")
    process = await asyncio.create_subprocess_exec(
        *GATEWAY, "--port", "0", cwd=tmp_path, env=ENVIRON, stdin=read, stderr=subprocess.PIPE
    )
    assert b"listening" in await process.stderr.readline()
    process.terminate()
    await asyncio.wait_for(process.communicate(), PATIENCE)
    assert os.read(read, 100) == b"for somebody else"
    os.close(read)
    os.close(write)


@pytest.mark.integration
async def test_a_port_that_is_taken_is_an_error(tmp_path):
    """The message names host, port and the option; the data folder is free again."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = str(sock.getsockname()[1])
        for workers in ("1", "2"):
            ran = await run(tmp_path, "--port", port, "--workers", workers)
            assert (ran.code, ran.out) == (1, "")
            assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in ran.err
            assert "--port" in ran.err


@pytest.mark.integration
async def test_a_data_folder_that_is_in_use_is_an_error(upstream: Upstream, tmp_path):
    """A second gateway on a data folder is an error; the first one is not disturbed."""
    async with Process(tmp_path, to(upstream.url)) as gateway:
        for arguments in (["--port", "0", "--data", str(gateway.data)], ["demo", "--data", str(gateway.data)]):
            ran = await run(tmp_path, *arguments)
            assert (ran.code, ran.out) == (1, "")
            assert f"another gateway is using {gateway.data}" in ran.err
            assert "--data" in ran.err
        assert (await exchange(gateway.url, MODELS)).status == 200


@pytest.mark.integration
async def test_auto_is_a_worker_a_core(upstream: Upstream, tmp_path):
    """`--workers auto` uses the cores that the process may use."""
    async with Process(tmp_path, to(upstream.url), "--workers", "auto") as gateway:
        assert len(gateway.children()) == 1 + len(os.sched_getaffinity(0))


@pytest.mark.integration
@pytest.mark.parametrize("said", ["", "a-token-of-mine-12345"])
async def test_beyond_loopback_a_token_is_needed(upstream: Upstream, tmp_path, said):
    """A token is generated and shown if none is set; one that is set is not shown."""
    environ = {"GATEWAY_TOKEN": said}
    async with Process(tmp_path, to(upstream.url), "--host", "0.0.0.0", environ=environ) as gateway:
        assert (await exchange(gateway.url, MODELS)).status == 401
        for _ in range(500):
            text = gateway.log.read_text()
            shown = re.search(r"^  token +(\S{24,})  ", text, re.MULTILINE)
            if "OTLP  " in text and (said or shown):
                break
            await asyncio.sleep(0.02)
        assert (shown is None) == bool(said)
        assert not said or said not in text
        token = said or shown.group(1)
        answer = await exchange(gateway.url, request("GET", "/v1/models", [("x-gateway-token", token)]))
        assert answer.status == 200


# -- reading


@pytest.mark.integration
async def test_the_demo_shows_data_on_stdout_and_progress_on_stderr(store: Path):
    """With --json each line of stdout is a JSON object; stderr names the data folder."""
    rows = [json.loads(line) for line in (store / "out").read_text().splitlines()]
    assert sum(row.get("exchanges", 0) for row in rows) == 10
    assert rows[-1] == {"accepted": 10, "stored": 10, "in_flight": 0, "interrupted": 0, "dropped": 0}
    err = (store / "err").read_text()
    assert "sending 10 requests to a gateway at" in err
    assert "the traces are in gateway-data" in err
    assert "Traceback" not in err


FORMS = {
    "csv": (["--csv"], 'a,b,c\n1,"[1,2]",\n'),
    "csv by default": ([], 'a,b,c\n1,"[1,2]",\n'),
    "json": (["--json"], '{"a":1,"b":[1,2],"c":null}\n'),
}


@pytest.mark.parametrize(("options", "out"), FORMS.values(), ids=FORMS.keys())
async def test_sql_prints_rows(tmp_path: Path, options, out):
    """As CSV for programs by default, or as JSON lines; nothing else is on stdout."""
    (tmp_path / "gateway-data").mkdir()
    assert await run(tmp_path, "sql", *options, "SELECT 1 AS a, [1, 2] AS b, NULL AS c") == (0, out, "")


@pytest.mark.integration
async def test_sql_prints_a_table(store: Path):
    """A table has column names, and NULL differs from an empty text."""
    ran = await run(store, "sql", "--table", "SELECT 'x' AS word, NULL AS nothing")
    assert ran.code == 0
    assert {"word", "nothing", "x", "NULL"} <= set(ran.out.split())


@pytest.mark.integration
async def test_sql_names_the_limit_that_cut_rows(store: Path):
    """On stderr, so that stdout stays data."""
    ran = await run(store, "sql", "--limit", "2", "FROM exchanges")
    assert len(list(csv.reader(io.StringIO(ran.out)))) == 3
    assert "--limit" in ran.err
    assert ran.code == 0


@pytest.mark.integration
@pytest.mark.parametrize(
    ("query", "said"), [("SELEC", "SELEC"), ("DROP VIEW spans", "only a query"), ("FROM nope", "nope")]
)
async def test_the_error_of_a_query_is_on_stderr(store: Path, query, said):
    """Exit code 1, DuckDB's own words, no traceback."""
    ran = await run(store, "sql", query)
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.integration
async def test_a_closed_pipe_is_no_error(store: Path):
    """`gateway sql ... | head -1` ends without a word."""
    command = f"{sys.executable} -m gateway sql --limit 50000 'FROM range(50000)' | head -1"
    process = await asyncio.create_subprocess_shell(
        command, cwd=store, env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert await asyncio.wait_for(process.communicate(), PATIENCE) == (b"range\n", b"")


@pytest.mark.integration
async def test_tail_shows_the_last_exchanges(store: Path):
    """A line each under a heading, or a JSON object each, the newest last."""
    ran = await run(store, "tail", "-n", "3")
    head, *lines = ran.out.splitlines()
    assert (ran.code, ran.err, len(lines)) == (0, "", 3)
    assert head.split()[:2] == ["time", "status"]
    ran = await run(store, "tail", "-n", "3", "--json")
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["trace_id"] for row in rows] == [line.split()[-1] for line in lines]
    assert [row["started_at"] for row in rows] == sorted(row["started_at"] for row in rows)


@pytest.mark.integration
async def test_tail_follows(upstream: Upstream, tmp_path):
    """With -f new exchanges are lines as they end, until Ctrl-C, which is no error."""
    async with Process(tmp_path, to(upstream.url)) as gateway:
        process = await asyncio.create_subprocess_exec(
            *GATEWAY, "tail", "-f", "-n", "0", "--json", "--data", str(gateway.data),
            env=ENVIRON, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        lines: list[bytes] = []

        async def read() -> None:
            while len(lines) < 2:
                lines.append(await process.stdout.readline())

        reading = asyncio.get_running_loop().create_task(read())
        for sent in range(200):
            await exchange(gateway.url, request("GET", f"/v1/models/{sent}"))
            if reading.done():
                break
            await asyncio.sleep(0.1)
        await asyncio.wait_for(reading, PATIENCE)
        first, second = (json.loads(line)["path"] for line in lines)
        assert int(second.rpartition("/")[2]) == int(first.rpartition("/")[2]) + 1
        process.send_signal(signal.SIGINT)
        _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert (process.returncode, err) == (0, b"")
