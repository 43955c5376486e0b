"""`gateway check`: values with their origins, errors with their remedies, and no secret."""

import contextlib
import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.check import load, write
from gateway.config.model import Config
from tests.cli.test_main import Ran, run

FULL = """
port = 4100
default_timeout = 60
[providers.local]
base_url = "http://${env:LOCAL_HOST:-127.0.0.1}:9000/v1"
api_key = "${env:LOCAL_KEY}"
headers = {x-team = "planted-header"}
timeout = 5.0
[providers.two]
base_url = "http://127.0.0.1:9001/v1"
api_keys = ["planted-list", "${env:SECOND:-planted-default}"]
[providers.ollama]
[api_keys]
team = "planted-team"
[aliases.smart]
order = "weighted"
candidates = ["groq/llama", {provider = "local", model = "big"}, {provider = "two", model = "m", api_key_name = "team"}]
[aliases.all]
candidates = ["smart", "gpt-5.4"]
"""
ENVIRON = {"LOCAL_KEY": "planted-environ", "GATEWAY_TOKEN": "planted-token", "GROQ_API_KEY": "planted-groq"}


async def told(folder: Path, *options: str, environ: Mapping[str, str] | None = None) -> tuple[Ran, dict[str, Any]]:
    """Run `gateway check --json` and return its output."""
    ran = await run(folder, "check", "--json", *options, environ=environ)
    return ran, json.loads(ran.out)


async def test_every_value_has_its_origin(tmp_path):
    """Of a file, with the variables in it; of the environment; or a default. No setting is left out."""
    (tmp_path / "gateway.toml").write_text(FULL)
    ran, said = await told(tmp_path, environ=ENVIRON)
    assert (ran.code, ran.err, said["ok"], said["error"]) == (0, "", True, None)
    file = str(tmp_path / "gateway.toml")
    assert said["files"] == [file]
    settings = {each["path"]: (each["value"], each["origin"]) for each in said["settings"]}
    of_file = {"kind": "file", "file": file, "variables": []}
    default = {"kind": "default", "file": None, "variables": []}
    assert settings["$.port"] == (4100, of_file)
    assert settings["$.host"] == ("127.0.0.1", default)
    assert settings["$.retry.increase"] == ({"type": "exponential", "multiplier": 2.0}, default)
    assert settings["$.providers.local.base_url"] == (
        "http://127.0.0.1:9000/v1",
        of_file | {"variables": ["LOCAL_HOST"]},
    )
    assert settings["$.providers.local.api_key"] == ("${env:LOCAL_KEY} (set)", of_file | {"variables": ["LOCAL_KEY"]})
    assert settings["$.providers.local.headers.x-team"] == ("set, not shown", of_file)
    assert settings["$.providers.two.api_keys"][0] == ["set, not shown", "${env:SECOND} (not set; it has a default)"]
    assert settings["$.providers.ollama"] == ({}, of_file)
    assert settings["$.api_keys.team"] == ("set, not shown", of_file)
    assert settings["$.aliases.all.candidates"] == (["smart", "gpt-5.4"], of_file)
    assert settings["$.requests.api_keys"] == (False, default)
    from_environment = {"kind": "environment", "file": None, "variables": ["GATEWAY_TOKEN"]}
    assert settings["$.auth.token"] == ("${env:GATEWAY_TOKEN} (set)", from_environment)
    assert {path.split(".")[1] for path in settings} == set(Config.__struct_fields__)


async def test_providers_name_the_key_they_use(tmp_path):
    """A key is named by the path of its setting or its variable, never shown."""
    (tmp_path / "gateway.toml").write_text(FULL)
    environ = ENVIRON | {"AWS_REGION": "eu-west-1", "OLLAMA_HOST": "127.0.0.1:1234"}
    _, said = await told(tmp_path, environ=environ)
    found = {each["name"]: each for each in said["providers"]}
    assert {name: each["key"] for name, each in found.items() if each["ready"]} == {
        "local": "$.providers.local.api_key",
        "two": "$.providers.two.api_keys",
        "groq": "GROQ_API_KEY",
        "ollama": "the client's, if it brings one",
        "aws-bedrock": "the AWS credential chain",
        "demo": "none",
    }
    assert found["anthropic"]["key"] == "the client's, or ANTHROPIC_API_KEY (not set)"
    assert found["ollama"]["url"] == "http://127.0.0.1:1234"
    assert found["ollama"]["origin"]["variables"] == ["OLLAMA_HOST"]
    assert found["local"]["url"] == "http://127.0.0.1:9000/v1"


async def test_aliases_list_their_candidates(tmp_path):
    """Aliases within them are resolved; a key of a candidate's own has its name."""
    (tmp_path / "gateway.toml").write_text(FULL)
    _, said = await told(tmp_path, environ=ENVIRON)
    smart = ["groq/llama", "local/big", "two/m (key: team)"]
    assert said["aliases"] == [
        {"name": "smart", "order": "weighted", "candidates": smart},
        {"name": "all", "order": "listed", "candidates": [*smart, "openai/gpt-5.4"]},
    ]


async def test_plain_lines_have_the_same_values(tmp_path):
    """For a terminal's readers there is a table, for others a line each: path, value, origin."""
    (tmp_path / "gateway.toml").write_text(FULL)
    ran = await run(tmp_path, "check", environ=ENVIRON)
    assert (ran.code, ran.err) == (0, "")
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["$.port", "4100", "gateway.toml"] in lines
    assert ["$.host", "127.0.0.1", "default"] in lines
    assert "  smart  weighted  groq/llama -> local/big -> two/m (key: team)" in ran.out.splitlines()
    assert "planted" not in ran.out


async def test_variables_of_a_dotenv_file_count(tmp_path):
    """They are set, as the gateway would find them."""
    (tmp_path / "my.toml").write_text(
        "[providers.local]\nbase_url = 'http://127.0.0.1:9'\napi_key = '${env:LOCAL_KEY}'"
    )
    (tmp_path / ".env").write_text("LOCAL_KEY=planted\nDEEPSEEK_API_KEY=planted\nnonsense\n")
    ran, said = await told(tmp_path, "-c", "my.toml")
    assert next(each["key"] for each in said["providers"] if each["name"] == "deepseek") == "DEEPSEEK_API_KEY"
    assert said["files"] == [str(tmp_path / "my.toml"), str(tmp_path / ".env")]
    assert ran.code == 0
    assert ran.err == f"Warning: {tmp_path}/.env: line 3 is not KEY=VALUE and is ignored; correct it\n"
    assert "planted" not in ran.out


CANNOT = {
    "a retention of nothing": (
        "[store]\nmax_bytes = 0",
        "$.store.max_bytes must be from 1 to 1125899906842624, not 0; leave it out to keep everything",
    ),
    "an alias to nothing": (
        "[aliases.a]\ncandidates = []",
        "$.aliases.a.candidates: the alias has no models; name one",
    ),
    "no provider for a model": ("[aliases.a]\ncandidates = ['x']", "$.aliases.a.candidates[0]: no provider is known"),
    "an unknown provider": (
        "[aliases.a]\ncandidates = [{provider = 'opnai', model = 'm'}]",
        "$.aliases.a.candidates[0].provider: there is no provider 'opnai'; did you mean 'openai'?",
    ),
    "an unknown key": (
        "[aliases.a]\ncandidates = [{provider = 'openai', model = 'm', api_key_name = 'k'}]",
        "$.aliases.a.candidates[0].api_key_name: there is no key 'k'; there are none",
    ),
    "a circle": (
        "[aliases.a]\ncandidates = ['b']\n[aliases.b]\ncandidates = ['a']",
        "$.aliases.a.candidates: the aliases go in a circle (a -> b -> a); take one of them out",
    ),
    "an alias of itself": (
        "[aliases.a]\ncandidates = ['a']",
        "$.aliases.a.candidates: the aliases go in a circle (a -> a)",
    ),
    "a missing variable": (
        "[providers.a]\nbase_url = 'http://x'\napi_key = '${env:NO_SUCH}'",
        "$.providers.a.api_key: the environment variable NO_SUCH is not set; set it, or write ${env:NO_SUCH:-default}",
    ),
    "an empty key": ("[api_keys]\nk = '${env:NO_SUCH:-}'", "$.api_keys.k is empty; write the key, or ${env:NAME}"),
    "a prefix twice": (
        "[providers.a]\nbase_url = 'http://x'\nprefix = 'p/'\n[providers.b]\nbase_url = 'http://y'\nprefix = 'p/'",
        "$.providers.b.prefix 'p/' is also the prefix of $.providers.a",
    ),
    "no base_url": ("[providers.a]\nprefix = 'a/'", "$.providers.a: base_url is missing; set the URL of its API"),
    "a reserved name": ("[providers.demo]\nbase_url = 'http://x'", "$.providers.demo: the name is taken"),
    "a path's name": (
        "[providers.models]\nbase_url = 'http://x'",
        "$.providers.models: paths of an API begin with it",
    ),
    "no such file": (None, ""),
}


@pytest.mark.parametrize(("text", "said"), CANNOT.values(), ids=CANNOT)
async def test_a_configuration_that_cannot_work_fails(tmp_path, text, said):
    """Exit code 1 and one message: the file, the path in it, and the remedy; what was loaded is shown all the same."""
    if text is None:
        ran, report = await told(tmp_path, "-c", "no-such.toml")
        begins = "no-such.toml: there is no such file"
    else:
        (tmp_path / "gateway.toml").write_text(text)
        ran, report = await told(tmp_path)
        begins = f"{tmp_path}/gateway.toml: {said}"
    assert ran.code == 1
    assert ran.err.startswith(f"Error: {begins}")
    assert report["error"].startswith(begins)
    assert report["ok"] is False
    assert "Traceback" not in ran.err


async def test_runtime_overrides_are_checked_too(tmp_path):
    """It is the data folder's, which --data names."""
    data = tmp_path / "traces"
    data.mkdir()
    (data / "config.json").write_text('{"api_keys": {"team": "planted"}, "aliases": {"a": {"candidates": ["gpt-5"]}}}')
    ran, said = await told(tmp_path, "--data", "traces")
    settings = {each["path"]: each for each in said["settings"]}
    assert ran.code == 0
    assert settings["$.api_keys.team"]["value"] == "set, not shown"
    assert settings["$.api_keys.team"]["origin"]["file"] == str(data / "config.json")
    assert said["aliases"] == [{"name": "a", "order": "listed", "candidates": ["openai/gpt-5"]}]


# -- no secret

SECRET = "planted-0123456789"
VARIABLES = ("MY_KEY", "OPENAI_API_KEY", "AWS_BEARER_TOKEN_BEDROCK")
written = st.sampled_from(
    [
        SECRET,
        f" {SECRET}\n",
        f"Bearer {SECRET}",
        f"Bearer {SECRET} ${{env:MY_KEY}}",
        "${env:MY_KEY}",
        "x${env:MY_KEY}",
        f"${{env:NO_SUCH:-{SECRET}}}",
        f"${{env:MY_KEY:-{SECRET}}}",
        f"{SECRET}\x01",
        "",
    ]
)
urls = st.sampled_from(
    [
        "http://127.0.0.1:9000/v1",
        f"http://user:{SECRET}@127.0.0.1/v1",
        f"http://127.0.0.1/v1?key={SECRET}",
        f"http://127.0.0.1/v1#{SECRET}",
        f"http://user:{SECRET}@[::1",
        "http://127.0.0.1/${env:MY_KEY}/v1",
        f"http://127.0.0.1/${{env:NO_KEY:-{SECRET}}}/v1",
        SECRET.join(["", ":// "]),
    ]
)
a_provider = st.fixed_dictionaries(
    {"base_url": urls},
    optional={
        "api_key": written,
        "api_keys": st.lists(written, max_size=2),
        "headers": st.dictionaries(st.sampled_from(["x-a", "Authorization", "a b"]), written, max_size=2),
        "dialect": st.sampled_from(["openai-chat", "gemini", SECRET]),
        "timeout": st.sampled_from([1.0, SECRET]),
        "prefix": st.just("p/"),
    },
)
configurations = st.fixed_dictionaries(
    {},
    optional={
        "providers": st.dictionaries(st.sampled_from(["a", "b", "openai", "vertex", "A B"]), a_provider, max_size=3),
        "api_keys": st.dictionaries(st.sampled_from(["k", "l.m"]), written, max_size=2),
        "auth": st.fixed_dictionaries({}, optional={"token": written, "required": st.booleans(), "tokn": written}),
        "aliases": st.dictionaries(
            st.just("s"),
            st.fixed_dictionaries({"candidates": st.just([{"provider": "a", "model": "m", "api_key_name": "k"}])}),
        ),
        "port": st.sampled_from([1, -1, SECRET]),
    },
)


async def test_a_variable_that_is_named_like_a_secret_is_not_filled_in(tmp_path):
    """Addresses and aliases may refer to one too."""
    toml = "[providers.a]\nbase_url = 'http://127.0.0.1/${env:MY_KEY}/v1'\nprefix = '${env:A_TOKEN:-planted}/'"
    (tmp_path / "gateway.toml").write_text(toml)
    ran, said = await told(tmp_path, environ={"MY_KEY": SECRET})
    settings = {each["path"]: each["value"] for each in said["settings"]}
    assert settings["$.providers.a.base_url"] == "http://127.0.0.1/${env:MY_KEY}/v1"
    assert settings["$.providers.a.prefix"] == "${env:A_TOKEN}/"
    assert {each["name"]: each["url"] for each in said["providers"]}["a"] == "http://127.0.0.1"
    assert SECRET not in ran.out


@given(configurations, configurations, st.sets(st.sampled_from(VARIABLES)))
def test_no_secret_is_ever_shown(layer, kept, variables):
    """Text, JSON and errors have no secret, for valid and invalid configurations with values from any source."""
    environ = dict.fromkeys(variables, SECRET)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        # JSON's strings, lists and tables are TOML's too, but for the colons of tables.
        lines = [f"{key} = {_toml(value)}" for key, value in layer.items()]
        (path / "gateway.toml").write_text("\n".join(lines))
        (path / ".env").write_text(f"OTHER_KEY={SECRET}\n{SECRET}\n")
        only = {key: kept[key] for key in ("providers", "api_keys", "aliases") if key in kept}
        (path / "config.json").write_text(json.dumps(only))
        for data in (path, path / "none"):
            report = load(None, data, environ, path)
            for as_json in (False, True):
                out = io.StringIO()
                with contextlib.redirect_stdout(out):
                    write(report, path, as_json=as_json)
                assert SECRET not in out.getvalue()
            assert SECRET not in "".join(report.warnings)
            assert SECRET not in (report.error or "")


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)
