"""`gateway config` uses the gateway on the data folder, or one at a URL, or changes the folder itself."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli.main import main
from tests.support.gateways import Process, to
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream

SECRET = "sk-planted-0123456789"
LOCAL = "http://127.0.0.1:9/v1"
SMART = '{"candidates": ["openai/gpt-5.4-mini"], "order": "random"}'
OFFLINE = {"generation": None, "applied": False}
TOKEN = "the-token-0123456789"


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ran(*words: str, stdin: str = "", **environ: str) -> Result:
    """Run `gateway config` in this process, without a running gateway."""
    return CliRunner().invoke(main, ["config", *words], input=stdin, env=environ)


def kept(folder: Path) -> Any:
    """Return what the data folder keeps."""
    return json.loads((folder / "gateway-data" / "config.json").read_text())


SETS: dict[str, tuple[tuple[str, ...], str, Any]] = {
    "a provider": (
        ("providers", "local", f"base_url={LOCAL}", "dialect=openai-chat", "timeout=30", "stream_usage=true"),
        "",
        {"base_url": LOCAL, "dialect": "openai-chat", "timeout": 30.0, "stream_usage": True},
    ),
    "text that looks like something else": (
        ("providers", "local", f"base_url={LOCAL}", "prefix=12", 'headers={"x-a": "b=c"}', 'dialect=["gemini"]'),
        "",
        {"base_url": LOCAL, "prefix": "12", "headers": {"x-a": "b=c"}, "dialect": ["gemini"]},
    ),
    "an alias by values": (
        ("aliases", "smart", "order=random", 'candidates=["openai/gpt-5.4-mini"]'),
        "",
        json.loads(SMART),
    ),
    "an alias as JSON": (("aliases", "smart", "--json", SMART), "", json.loads(SMART)),
    "an alias from a pipe": (("aliases", "smart", "--json", "-"), SMART, json.loads(SMART)),
    "a key from a pipe": (("api_keys", "team", "-"), f"{SECRET}\n", SECRET),
    "a key of the environment": (("api_keys", "team", "--env", "TEAM_KEY"), "", "${env:TEAM_KEY}"),
    "a key as JSON": (("api_keys", "team", "--json", '{"source": "env", "value": "TEAM_KEY"}'), "", "${env:TEAM_KEY}"),
    "a key as an argument": (("api_keys", "team", SECRET), "", SECRET),
}


@pytest.mark.parametrize(("words", "stdin", "entry"), SETS.values(), ids=SETS.keys())
def test_each_way_to_give_an_entry(folder, words, stdin, entry):
    """Entries are stored in the folder if no gateway runs; a key in an argument is warned of."""
    result = ran("set", *words, stdin=stdin, TEAM_KEY=SECRET)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == OFFLINE
    assert kept(folder) == {words[0]: {words[1]: entry}}
    assert ("shell's history" in result.stderr) == (SECRET in words)
    assert SECRET not in result.output
    assert "no gateway runs on gateway-data" in result.stderr


WRONG: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing said": (("set", "providers", "local"), "give the entry as values"),
    "said twice": (("set", "api_keys", "a", "-", "--env", "A"), "give the entry as values"),
    "no table": (("set", "retry", "a", "b=c"), "'retry' is not one of"),
    "no value": (("set", "providers", "local", "base_url"), "'base_url' is not key=value"),
    "two keys": (("set", "api_keys", "a", "b", "c"), "a key is one value"),
    "a key's option": (("set", "providers", "a", "--env", "A"), "--env is for keys"),
    "no number": (("set", "providers", "a", f"base_url={LOCAL}", "timeout=soon"), "timeout: Expected `float | null`"),
    "no setting": (("set", "providers", "a", f"base_ur={LOCAL}"), "$.providers.a.base_ur: there is no such key"),
    "no JSON": (("set", "aliases", "a", "--json", "{"), "not valid JSON"),
    "half of a list": (("set", "aliases", "a", "candidates=["), "not valid JSON"),
    "a variable that is not set": (("set", "api_keys", "a", "--env", "NOT_SET"), "NOT_SET is not set"),
    "nothing to delete": (("delete", "aliases", "a"), "no aliases.a to delete"),
    "nothing to show": (("get", "aliases", "a"), "no aliases.a"),
    "no name": (("get", "aliases", ""), "a name cannot be empty"),
    "no URL": (("list", "--url", "localhost:4000"), "is not the URL of a gateway"),
    "nobody there": (("list", "--url", "http://127.0.0.1:9"), "connection refused at http://127.0.0.1:9"),
}


@pytest.mark.parametrize(("words", "error"), WRONG.values(), ids=WRONG.keys())
def test_invalid_changes_are_refused(folder, words, error):
    """There is a message and no traceback, and nothing is stored."""
    result = ran(*words)
    assert result.exit_code in {1, 2}
    assert error in result.stderr
    assert result.stdout == ""
    assert not (folder / "gateway-data" / "config.json").exists()


def test_entries_are_listed_with_their_origins_and_no_secret(folder):
    """Text and JSON include the file of -c, whose entries cannot be deleted."""
    (folder / "other.toml").write_text(f"[providers.local]\nbase_url = '{LOCAL}'\napi_key = '{SECRET}'")
    ran("set", "api_keys", "team", "-", stdin=SECRET)
    assert ran("set", "aliases", "mine", "candidates=['local/m']".replace("'", '"'), "-c", "other.toml").exit_code == 0
    listed = ran("list", "-c", "other.toml")
    for words in ("$.providers.local.base_url", LOCAL, "other.toml", "$.aliases.mine.candidates", "config.json"):
        assert words in listed.stdout
    found = json.loads(ran("list", "-c", "other.toml", "--json").stdout)
    assert found["aliases"]["mine"]["comes_to"]["candidates"] == ["local/m"]
    one = json.loads(ran("get", "api_keys", "team", "--json", "-c", "other.toml").stdout)
    assert one["api_keys"]["team"]["settings"][0]["value"] == "set, not shown"
    assert SECRET not in listed.output + json.dumps(found)
    refused = ran("delete", "providers", "local", "-c", "other.toml")
    assert (refused.exit_code, "other.toml; remove it there" in refused.stderr) == (1, True)
    assert ran("list").stderr.startswith("Error: ")  # the alias needs the file that is not named
    assert ran("delete", "aliases", "mine").exit_code == 0
    assert set(kept(folder)) == {"api_keys"}
    assert ran("get", "providers", "openai").stdout == ""


async def command(*words: str, stdin: bytes = b"", **options: Any) -> tuple[int, str, str]:
    """Run the real command beside a gateway."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway", "config", *words, **options,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin)
    return process.returncode or 0, out.decode(), err.decode()


@pytest.mark.integration
async def test_a_running_gateway_applies_changes(upstream: Upstream, tmp_path):
    """It is reached by its folder without a token, or by its URL with one; changes apply at once."""
    toml = to(upstream.url, f"[auth]\nrequired = true\ntoken = '{TOKEN}'\n")
    models = request("GET", "/new/v1/models", [("x-gateway-token", TOKEN)])
    async with Process(tmp_path, toml) as gateway:
        data = ("--data", str(gateway.data))
        assert (await exchange(gateway.url, models)).status == 404
        code, out, err = await command("set", "providers", "new", f"base_url={upstream.url}", *data)
        assert (code, json.loads(out), err) == (0, {"generation": 2, "applied": True}, "")
        assert (await exchange(gateway.url, models)).status == 200
        url = ("--url", gateway.url)
        code, out, err = await command("delete", "providers", "new", *url)
        assert (code, out) == (1, "")
        assert "Authorization: Bearer TOKEN (setting: $.auth.token); set GATEWAY_TOKEN" in err
        environ = gateway._environ | {"GATEWAY_TOKEN": TOKEN}
        code, out, err = await command("set", "api_keys", "k", "-", *url, stdin=SECRET.encode(), env=environ)
        assert (code, json.loads(out), err) == (0, {"generation": 3, "applied": True}, "")
        code, out, err = await command("list", "--json", *url, env=environ)
        assert (code, SECRET in out + err) == (0, False)
        assert set(json.loads(out)) == {"providers", "aliases", "api_keys"}
        code, out, _ = await command("delete", "providers", "new", *data)
        assert (code, json.loads(out)) == (0, {"generation": 4, "applied": True})
        assert (await exchange(gateway.url, models)).status == 404
        code, _, err = await command("delete", "providers", "openai", *data)
        assert (code, "gateway.toml; remove it there" in err) == (1, True)


@pytest.mark.integration
async def test_a_restarting_recorder_is_waited_for(upstream: Upstream, tmp_path):
    """The gateway is there, and would not know of a change beside it at once."""
    async with Process(tmp_path, to(upstream.url)) as gateway:
        recorder, _ = gateway.children()
        gateway.process.send_signal(signal.SIGSTOP)
        os.kill(recorder, signal.SIGKILL)
        asked = asyncio.get_running_loop().create_task(
            command("set", "api_keys", "k", "-", "--data", str(gateway.data), stdin=b"key")
        )
        await asyncio.sleep(1.0)
        assert not asked.done()
        gateway.process.send_signal(signal.SIGCONT)
        code, out, _ = await asked
        assert (code, json.loads(out)["applied"]) == (0, True)


@pytest.mark.integration
async def test_another_server_at_the_url_is_an_error(upstream: Upstream, tmp_path):
    """Something else answers at the URL."""
    code, out, err = await command("list", "--url", upstream.url, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert "there is no gateway page at" in err
