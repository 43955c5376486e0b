"""Reports of a configuration: every value with its origin, what entries resolve to, and no secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.server.live_config import report
from gateway.server.live_config.overrides import UnknownEntryError
from gateway.server.live_config.source import Source

SECRET = "sk-planted-0123456789"
TOML = f"""
port = 4001
[auth]
token = "{SECRET}-token"
[api_keys]
team = "{SECRET}-team"
env = "${{env:TEAM_KEY}}"
[providers.local]
base_url = "http://127.0.0.1:9/v1"
dialect = "openai-chat"
api_key = "{SECRET}-local"
headers = {{ "x-key" = "{SECRET}-header" }}
[aliases.smart]
candidates = [{{ provider = "local", model = "big", api_key_name = "team" }}, "openai/gpt-5.4-mini"]
"""


@pytest.fixture(name="loaded")
def _loaded(tmp_path: Path):
    (tmp_path / "gateway.toml").write_text(TOML)
    return Source(data=Path("data"), environ={"TEAM_KEY": f"{SECRET}-env"}, cwd=tmp_path).load()


def test_settings_have_their_origins(loaded):
    """A setting of a file names the file, and one that is not set is a default."""
    settings = {each.path: each for each in report.settings(loaded)}
    assert (settings["$.port"].value, settings["$.port"].origin.kind) == (4001, "file")
    assert settings["$.port"].origin.file.endswith("gateway.toml")
    assert (settings["$.host"].value, settings["$.host"].origin.kind) == ("127.0.0.1", "default")


def test_no_secret_is_shown(loaded):
    """Keys, tokens and header values are in no report; a variable is named."""
    whole = json.dumps(report.whole(loaded))
    tables = json.dumps([report.table(loaded, name, "") for name in ("providers", "aliases", "api_keys")])
    assert SECRET not in whole + tables
    settings = {each.path: each.value for each in report.settings(loaded)}
    secret = ("$.auth.token", "$.api_keys.team", "$.providers.local.api_key", "$.providers.local.headers.x-key")
    assert {settings[path] for path in secret} == {"set, not shown"}
    assert settings["$.api_keys.env"] == "${env:TEAM_KEY} (set)"


def test_the_keys_of_the_json(loaded):
    """The JSON of pages and commands has these keys, which clients depend on."""
    assert set(report.whole(loaded)) == {"files", "settings", "providers", "aliases", "warnings"}
    entry = report.table_entry(loaded, "aliases", "smart", "")
    assert set(entry) == {"settings", "kept", "comes_to"}
    assert set(entry["comes_to"]) == {"name", "order", "candidates"}
    provider: dict[str, Any] = report.table_entry(loaded, "providers", "local", "")["comes_to"]
    assert set(provider) == {"name", "url", "dialects", "prefixes", "ready", "key", "origin"}


def test_what_entries_resolve_to(loaded):
    """An alias resolves to candidates with the names of their keys, a provider to its URL and the source of its key."""
    alias = report.table_entry(loaded, "aliases", "smart", "")["comes_to"]
    assert list(alias["candidates"]) == ["local/big (key: team)", "openai/gpt-5.4-mini"]
    provider = report.table_entry(loaded, "providers", "local", "")["comes_to"]
    assert (provider["key"], provider["ready"]) == ("$.providers.local.api_key", True)
    assert report.table_entry(loaded, "providers", "openai", "")["comes_to"]["key"].startswith("the client's, or ")
    assert report.table_entry(loaded, "api_keys", "team", "")["comes_to"] is None


def test_overrides_are_marked(loaded):
    """An entry is marked as an override if the overrides file sets it."""
    file = str(loaded.read[0])
    assert report.table_entry(loaded, "aliases", "smart", file)["kept"]
    assert not report.table_entry(loaded, "aliases", "smart", "/data/config.json")["kept"]


@pytest.mark.parametrize("table", ["providers", "aliases", "api_keys"])
def test_an_unknown_entry_is_an_error(loaded, table):
    """A name that the table does not have is an error."""
    with pytest.raises(UnknownEntryError, match=f"{table}.nope"):
        report.table_entry(loaded, table, "nope", "")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("${env:KEY}", "${env:KEY} (set)"),
        ("${env:OTHER}", "${env:OTHER} (not set; empty)"),
        ("${env:OTHER:-default}", "${env:OTHER} (not set; it has a default)"),
        ("text ${env:KEY}", "set, not shown"),
        ("sk-1", "set, not shown"),
        ("", "empty"),
        (None, None),
        (["sk-1", ""], ["set, not shown", "empty"]),
    ],
)
def test_how_a_secret_is_shown(written, shown):
    """A secret is shown by its variable, or only as set."""
    assert report.hidden(written, {"KEY": "sk-2"}) == shown
