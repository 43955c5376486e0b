"""`gateway doctor` as a whole: clean without leaks, and each hole that is cut into a gateway is found and named."""

import asyncio
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.cli.doctor.report import Report, write
from gateway.cli.doctor.run import Progress, examine, load
from gateway.cli.doctor.sinks import SINKS
from tests.support.paths import ROOT

_LEFT_OUT = ("OTEL_", "GATEWAY_", "OPENAI_", "ANTHROPIC_")
ENVIRON = {key: value for key, value in os.environ.items() if not key.startswith(_LEFT_OUT)}
ENVIRON["PYTHONPATH"] = str(ROOT)

# One of everything that decides about leaks; what is secret here is real, and may be nowhere.
REAL = "real-0123456789abcdefghij"
EVERYTHING = f"""
[capture]
store = "full"
otlp = "metadata"
[redaction]
builtin = ["keys", "emails", "cards", "phones"]
patterns = {{ticket = 'TICKET-\\d+'}}
[requests]
override_url = true
api_keys = true
[otlp]
vocabulary = "llm"
[store]
grace_seconds = 0.0
max_age_days = 0.00001
[retry]
max_tries = 1
[circuit]
failures = 1
[hedge]
percentile = 0.5
min_samples = 1
[sql]
max_rows = 5
[auth]
required = true
token = "{REAL}"
[providers.local]
base_url = "http://127.0.0.1:9/v1"
api_key = "{REAL}"
headers = {{x-team = "{REAL}"}}
[providers.anthropic]
api_keys = ["{REAL}-1", "{REAL}-2"]
[providers.openai]
base_url = "http://127.0.0.1:9/v1"
dialect = ["openai-responses"]
prefix = "oai/"
[providers.vertex]
base_url = "https://nowhere.invalid/v1/projects/p/locations/l/publishers/google"
[api_keys]
team = "{REAL}"
[aliases.smart]
candidates = [{{provider = "local", model = "x", api_key_name = "team"}}, "anthropic/claude-sonnet-5"]
"""


class Ran(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str


async def run(folder: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> Ran:
    """Run `gateway doctor` in a folder, to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "doctor", *arguments, cwd=folder, env=ENVIRON | dict(environ or {}),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return Ran(process.returncode or 0, out.decode(), err.decode())


def examined(folder: Path, hole: str, toml: str = "") -> Report:
    """Examine a gateway with a hole."""
    (folder / "gateway.toml").write_text(toml)
    loaded, built = load(folder / "gateway.toml", folder / "data", ENVIRON | {"OPENAI_API_KEY": REAL}, folder)
    progress = Progress(lambda _: None, lambda _done, _total: None)
    return examine(
        loaded, built, random.Random(7), progress, command=(sys.executable, "-m", "tests.support.leaky_gateway", hole)
    )


@pytest.mark.integration
@pytest.mark.timeout(120)
async def test_the_default_configuration_is_clean(tmp_path):
    """Every request had its expected result, every sink was searched, and no file is left in the working directory."""
    ran = await run(tmp_path, "--json")
    report = json.loads(ran.out)
    assert (ran.code, report["result"], report["leaks"], report["unchecked"]) == (0, "clean", [], [])
    assert {cell for line in report["lines"] for cell in line["sinks"].values()} == {"ok"}
    assert list(report["lines"][0]["sinks"]) == list(SINKS)
    assert report["lines"][-1]["requests"] > 100
    assert "searching every sink" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
@pytest.mark.timeout(120)
async def test_a_configuration_with_everything_in_it_is_clean(tmp_path):
    """Its providers and aliases are tried too, with canaries for keys: none of its own keys is used or shown."""
    (tmp_path / "gateway.toml").write_text(EVERYTHING)
    # Whoever was asked by these would be heard of: nobody is there.
    real = {
        "OPENAI_API_KEY": REAL,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
    }
    ran = await run(tmp_path, "--example", "about TICKET-4711", environ=real)
    assert ran.code == 0, ran.out[-3000:]
    lines = {line.rpartition(" (")[0]: line for line in ran.out.splitlines() if " (" in line}
    assert "(4)" in lines["your providers, error"]
    assert "(1)" in lines["your aliases, answer"]
    assert "wrong token" in lines
    assert "LEAK" not in ran.out
    assert "not checked" not in ran.out
    assert ran.out.splitlines()[-1].startswith("no leaks (")
    assert REAL not in ran.out + ran.err
    assert [each.name for each in tmp_path.iterdir()] == ["gateway.toml"]


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_keys_that_are_not_redacted_are_found_on_every_path_and_in_every_sink(tmp_path, capsys):
    """Each kind of key is named, with the path, the sink and what to change; no canary is repeated."""
    report = examined(tmp_path, "keys_everywhere")
    assert (report.result, report.code) == ("leaks", 1)
    found = {(leak.row, leak.sink) for leak in report.leaks}
    for row in ("answer", "stream", "error 401", "retry, then an answer", "client's keys, error 401"):
        assert {(row, sink) for sink in ("journals", "segments", "SQL", "OTLP spans", "pages")} <= found
    for row in ("relayed unread", "connection refused", "URL with a password", "answer"):
        assert (row, "log") in found
    assert ("a maker's key, another provider", "another provider") in found
    kinds = " ".join({leak.kind for leak in report.leaks})
    for kind in ("Authorization: Basic", "x-api-key", "x-goog-api-key", "?key=", "a cookie", "OPENAI_API_KEY",
                 "$.providers.NAME.api_keys", "$.providers.NAME.headers", "$.api_keys.doctor", "AWS_SESSION_TOKEN",
                 "the gateway's token"):  # fmt: skip
        assert kind in kinds
    assert {"plain", "percent-encoded", "base64"} <= {leak.form for leak in report.leaks}
    told = {leak.row for leak in report.leaks if leak.sink == "client"}
    assert {"connection refused", "unknown path", "invalid options"} <= told
    assert all(leak.path == leak.row or leak.path.startswith(f"{leak.row}: ") for leak in report.leaks if leak.row)
    assert all(leak.change and leak.place for leak in report.leaks)
    cells = {line.path: line.sinks for line in report.lines}
    assert cells["answer"]["log"] == cells["error 401"]["SQL"] == "leak"
    assert cells["answer"]["check"] == "ok"
    write(report, as_json=False)
    told = capsys.readouterr().out
    assert "leak 40: " in told
    assert "more leaks; --json has them all" in told
    assert re.search(r"(sk|gw)-\w{8}/", told + repr(report)) is None


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_content_that_is_stored_against_the_configuration_is_found(tmp_path):
    """By [capture], by what a request asks for, and by [redaction]."""
    toml = '[capture]\nstore = "metadata"\n[redaction]\nbuiltin = ["emails", "cards"]\n'
    report = examined(tmp_path, "content_everywhere", toml)
    assert report.result == "leaks"
    kinds = {leak.kind for leak in report.leaks if leak.sink == "SQL"}
    assert kinds >= {"a prompt", "a completion", "a system prompt", "a tool result", "the body of an error",
                     "arguments of a tool call in a request", "a run's input",
                     "a value of [redaction], emails", "a value of [redaction], cards"}  # fmt: skip
    assert "$.capture.store" in next(leak.change for leak in report.leaks if leak.kind == "a prompt")
    assert any(leak.row == "less capture requested" for leak in report.leaks)
    assert not any("key" in leak.kind for leak in report.leaks)


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_requests_without_their_expected_result_are_not_clean(tmp_path, capsys, monkeypatch):
    """A gateway without retries and exports is reported as not checked."""
    monkeypatch.setattr("gateway.cli.doctor.run._EXPORT_SECONDS", 0.5)
    report = examined(tmp_path, "less_than_asked")
    assert (report.result, report.code, report.leaks) == ("not checked", 3, ())
    whys = {(each.row, each.why) for each in report.unchecked}
    assert ("error 500, retried", "the provider was asked 1 times, not 2") in whys
    assert any(row == "retry, then an answer" for row, _ in whys)
    assert ("answer", "the collector got no span of it") in whys
    cells = {line.path: line.sinks for line in report.lines}
    assert cells["retry, then an answer"]["SQL"] == "not checked"
    assert (cells["answer"]["SQL"], cells["answer"]["OTLP spans"]) == ("ok", "not checked")
    write(report, as_json=False)
    told = capsys.readouterr().out
    assert "not checked:\n" in told
    assert "things were not checked" in told.splitlines()[-1]


WRONG: dict[str, tuple[list[str], str, str]] = {
    "a file that is not there": (["-c", "nope.toml"], "", "nope.toml"),
    "an unknown key": ([], "x = 1", "$.x"),
    "an alias of nobody": ([], '[aliases.a]\ncandidates = ["nobody-knows"]', "$.aliases.a"),
    "an example of nothing": (["--example", "text"], "", "--example number 1"),
}


@pytest.mark.parametrize(("arguments", "toml", "said"), WRONG.values(), ids=WRONG.keys())
async def test_a_configuration_that_cannot_work_fails_at_once(tmp_path, arguments: list[str], toml: str, said: str):
    """Nothing is started; the exit code is 2, and the message names the place."""
    (tmp_path / "gateway.toml").write_text(toml)
    ran = await run(tmp_path, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_a_gateway_that_does_not_start_is_not_clean(tmp_path):
    """Its output is in the error."""
    (tmp_path / "gateway.toml").write_text("")
    loaded, built = load(tmp_path / "gateway.toml", tmp_path / "data", ENVIRON, tmp_path)
    progress = Progress(lambda _: None, lambda _done, _total: None)
    with pytest.raises(Exception, match=r"did not start.*no such hole"):
        examine(
            loaded,
            built,
            random.Random(7),
            progress,
            command=(sys.executable, "-c", "raise SystemExit('no such hole')"),
        )
