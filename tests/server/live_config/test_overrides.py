"""Runtime overrides: stored whole, checked before they are written, and safe against concurrent writers."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.files import LARGEST
from gateway.errors import ConfigError, GatewayError
from gateway.server.live_config import overrides
from gateway.server.live_config.overrides import (
    OverridableTable,
    OverridesFile,
    UnchangeableError,
    UnknownEntryError,
    locked,
    table_of,
)
from gateway.server.live_config.source import Source

LOCAL = {"base_url": "http://127.0.0.1:9/v1", "dialect": "openai-chat"}
SMART = {"candidates": [{"provider": "local", "model": "big"}]}
SECRET = "sk-planted-0123456789"


class Folder:
    """A directory with a gateway.toml and a data directory."""

    def __init__(self, path: Path, toml: str = "", **environ: str) -> None:
        self.toml = path / "gateway.toml"
        self.toml.write_text(toml)
        self.source = Source(data=path / "data", environ=environ, cwd=path)

    def put(self, table: OverridableTable, name: str, entry: Any) -> object:
        """Set an entry."""
        with locked(self.source) as change:
            return change.put(table, name, entry)

    def delete(self, table: OverridableTable, name: str) -> object:
        """Delete an entry."""
        with locked(self.source) as change:
            return change.delete(table, name)

    @property
    def file(self) -> Any:
        """What is kept."""
        return json.loads(self.source.overrides.read_text())


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, TEAM_KEY=SECRET)


def test_entries_are_stored_whole_and_deleted_again(folder: Folder):
    """The file is private to its owner; an entry that is set again has no field of the old one."""
    folder.put("providers", "local", LOCAL)
    folder.put("aliases", "smart", SMART)
    folder.put("api_keys", "team", {"source": "env", "value": "TEAM_KEY"})
    folder.put("api_keys", "other", {"value": "other-key-0123456789"})
    keys = {"team": "${env:TEAM_KEY}", "other": "other-key-0123456789"}
    assert folder.file == {"providers": {"local": LOCAL}, "aliases": {"smart": SMART}, "api_keys": keys}
    assert folder.source.overrides.stat().st_mode & 0o777 == 0o600
    assert folder.source.overrides.parent.stat().st_mode & 0o777 == 0o700
    config = folder.source.load().config
    assert config.api_keys == {"team": SECRET, "other": "other-key-0123456789"}
    folder.put("providers", "local", {"base_url": "http://127.0.0.1:9/v1"})
    assert folder.file["providers"] == {"local": {"base_url": "http://127.0.0.1:9/v1"}}
    folder.delete("aliases", "smart")
    assert sorted(folder.file) == ["api_keys", "providers"]
    assert sorted(each.name for each in folder.source.overrides.parent.iterdir()) == ["config.json", "config.lock"]


CANNOT: dict[str, tuple[OverridableTable, str, Any, str]] = {
    "an unknown key": ("providers", "a", {"base_ur": "http://x"}, r"\$\.providers\.a\.base_ur: .*`base_url`"),
    "a wrong type": ("providers", "a", LOCAL | {"timeout": "x"}, r"\$\.providers\.a\.timeout: Expected `float"),
    "no table": ("providers", "a", [LOCAL], r"\$\.providers\.a: Expected `table`"),
    "a name that is taken": ("providers", "demo", LOCAL, r"\$\.providers\.demo: the name is taken"),
    "a name that is none": ("providers", "A b", LOCAL, r"\$\.providers\.A b: a provider's name"),
    "an alias to nobody": (
        "aliases",
        "a",
        {"candidates": [{"provider": "nobody", "model": "m"}]},
        "no provider 'nobody'",
    ),
    "an alias to itself": ("aliases", "a", {"candidates": ["a"]}, "circle"),
    "a variable that is not set": ("api_keys", "k", {"source": "env", "value": "NOT_SET"}, "NOT_SET is not set"),
    "what is no variable": ("api_keys", "k", {"source": "env", "value": SECRET}, r"\$\.api_keys\.k\.value: not a var"),
    "a source that is none": ("api_keys", "k", {"source": "vault", "value": "x"}, r"\$\.api_keys\.k\.source: .*env"),
    "a key of another form": ("api_keys", "k", SECRET, r"\$\.api_keys\.k: Expected `table`"),
    "an empty key": ("api_keys", "k", {"value": " "}, r"\$\.api_keys\.k is empty"),
    "too much": ("api_keys", "k", {"value": "x" * LARGEST}, "more than 1 MiB; use a gateway.toml"),
}


@pytest.mark.parametrize(("table", "name", "entry", "error"), CANNOT.values(), ids=CANNOT.keys())
def test_an_invalid_entry_changes_nothing(folder: Folder, table, name, entry, error):
    """The error has the path and the remedy, and repeats no secret; the file is unchanged."""
    folder.put("providers", "local", LOCAL)
    before = folder.source.overrides.read_bytes()
    with pytest.raises(ConfigError, match=error) as failed:
        folder.put(table, name, entry)
    assert SECRET not in str(failed.value)
    assert folder.source.overrides.read_bytes() == before


def test_an_entry_in_use_cannot_be_deleted(folder: Folder):
    """The error names the user of the entry: an alias needs its provider."""
    folder.put("providers", "local", LOCAL)
    folder.put("aliases", "smart", SMART)
    with pytest.raises(
        ConfigError, match=r"\$\.aliases\.smart\.candidates\[0\]\.provider: there is no provider 'local'"
    ):
        folder.delete("providers", "local")
    folder.delete("aliases", "smart")
    folder.delete("providers", "local")
    assert folder.file == {}


def test_an_entry_of_a_file_can_be_overridden_only(folder: Folder):
    """The error names the file, whose entry is active again once its override is deleted."""
    folder.toml.write_text("[providers.local]\nbase_url = 'http://a/v1'\n[api_keys]\nteam = 'from-the-file'\n")
    for table, name in (("providers", "local"), ("api_keys", "team")):
        with pytest.raises(UnchangeableError, match=rf"\$\.{table}\.{name} is in {folder.toml};"):
            folder.delete(table, name)
    folder.put("api_keys", "team", {"value": "kept-key"})
    assert folder.source.load().config.api_keys == {"team": "kept-key"}
    folder.delete("api_keys", "team")
    assert folder.source.load().config.api_keys == {"team": "from-the-file"}


def test_an_unknown_name_is_an_error(folder: Folder):
    """An unknown entry and an unknown table are errors."""
    with pytest.raises(UnknownEntryError, match=r"there is no aliases\.nobody"):
        folder.delete("aliases", "nobody")
    with pytest.raises(UnknownEntryError, match="no table 'retry'; there are providers, aliases, api_keys"):
        table_of("retry")


def test_a_wrong_file_can_be_mended_by_a_deletion(folder: Folder):
    """A wrong entry makes other changes fail until it is deleted."""
    folder.put("providers", "local", LOCAL)
    folder.source.overrides.write_text(json.dumps({"api_keys": {"gone": "${env:NO_MORE}", "a": "key-of-a"}}))
    with pytest.raises(ConfigError, match="NO_MORE"):
        folder.put("api_keys", "b", {"value": "key-of-b"})
    folder.delete("api_keys", "gone")
    assert folder.file == {"api_keys": {"a": "key-of-a"}}


def test_a_file_that_cannot_be_written_is_an_error(folder: Folder):
    """A write that fails is an error, and changes nothing."""
    folder.put("api_keys", "a", {"value": "key-of-a"})
    folder.source.overrides.with_name("config.json.tmp").mkdir()
    with pytest.raises(GatewayError, match=r"cannot be written: .*; nothing has changed"):
        folder.put("api_keys", "b", {"value": "key-of-b"})
    assert folder.file == {"api_keys": {"a": "key-of-a"}}


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path):
    """A file in the place of the data directory is an error."""
    (tmp_path / "data").write_text("")
    with pytest.raises(GatewayError, match=r"the data folder .* cannot be used"):
        Folder(tmp_path).put("api_keys", "a", {"value": "k"})


def test_one_changes_at_a_time(folder: Folder, monkeypatch):
    """A writer that waits too long for the lock raises; after the release the change is made."""
    monkeypatch.setattr(overrides, "_LOCK_SECONDS", 0.1)
    folder.put("api_keys", "a", {"value": "key-of-a"})
    with (folder.source.overrides.parent / "config.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(GatewayError, match="another process is changing it"):
            folder.put("api_keys", "b", {"value": "key-of-b"})
    folder.put("api_keys", "b", {"value": "key-of-b"})
    assert sorted(folder.file["api_keys"]) == ["a", "b"]


_WRITER = """
import sys
from pathlib import Path
from gateway.server.live_config.overrides import locked
from gateway.server.live_config.source import Source
source = Source(data=Path(sys.argv[1]) / "data", environ={}, cwd=Path(sys.argv[1]))
number = 0
print("ready", flush=True)
while number < int(sys.argv[3]):
    number += 1
    with locked(source) as change:
        change.put("api_keys", f"{sys.argv[2]}-{number}", {"value": "k" * 1000})
"""


def writer(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    """Start a process that sets so many keys, and wait for the first one."""
    command = [sys.executable, "-c", _WRITER, str(folder), name, str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


@pytest.mark.integration
def test_processes_lose_nothing_of_each_others_changes(tmp_path):
    """Three processes that write without a pause lose no change of each other."""
    folder = Folder(tmp_path)
    with ExitStack() as stack:
        for process in [stack.enter_context(writer(tmp_path, name, 15)) for name in "abc"]:
            assert process.wait(timeout=50) == 0
    assert sorted(folder.file["api_keys"]) == sorted(f"{name}-{n}" for name in "abc" for n in range(1, 16))


@pytest.mark.integration
def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path):
    """After a kill the file is the old or the new one, whole, and the lock is free."""
    folder = Folder(tmp_path)
    folder.put("api_keys", "first", {"value": "k"})
    for number in range(4):
        with writer(tmp_path, f"w{number}", 100_000) as process:
            time.sleep(0.05 + 0.013 * number)
            os.kill(process.pid, signal.SIGKILL)
        assert "first" in folder.file["api_keys"]
        folder.put("api_keys", f"after-{number}", {"value": "k"})
    assert {f"after-{number}" for number in range(4)} < set(folder.file["api_keys"])


_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_ACTS = st.lists(st.tuples(st.booleans(), st.sampled_from(["aliases", "api_keys"]), _NAMES), max_size=8)


@given(acts=_ACTS)
def test_any_name_is_stored_unchanged(tmp_path_factory, acts):
    """Entries with any names are stored and active until they are deleted."""
    folder = Folder(tmp_path_factory.mktemp("names"))
    entries: dict[OverridableTable, Any] = {
        "aliases": {"candidates": [{"provider": "demo", "model": "chat"}]},
        "api_keys": {"value": "the-key"},
    }
    model: dict[str, set[str]] = {"aliases": set(), "api_keys": set()}
    with locked(folder.source) as change:
        for put, table, name in acts:
            _act(change, put, table, name, entries[table], model)
    config = folder.source.load().config
    assert (set(config.aliases), set(config.api_keys)) == (model["aliases"], model["api_keys"])


def _act(
    change: OverridesFile, put: bool, table: OverridableTable, name: str, entry: Any, model: dict[str, set[str]]
) -> None:
    if put:
        change.put(table, name, entry)
        model[table].add(name)
    elif name in model[table]:
        change.delete(table, name)
        model[table].remove(name)
    else:
        with pytest.raises(UnknownEntryError):
            change.delete(table, name)


def test_a_change_is_on_disk_before_it_replaces_the_file(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """Against a power failure: sync of the new content, rename, sync of the directory."""
    folder.put("api_keys", "a", {"value": "key-of-a"})
    path = folder.source.overrides
    unfinished = path.with_name("config.json.tmp")
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(fd: int) -> None:
        fsync(fd)
        of = os.fstat(fd)
        if unfinished.exists() and os.path.samestat(of, unfinished.stat()):
            assert sorted(json.loads(unfinished.read_bytes())["api_keys"]) == ["a", "b"]
            assert sorted(folder.file["api_keys"]) == ["a"]
            steps.append("content")
        elif os.path.samestat(of, path.parent.stat()):
            steps.append("directory")

    def replaced(self: Path, target: Path) -> Path:
        assert (self, target) == (unfinished, path)
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    folder.put("api_keys", "b", {"value": "key-of-b"})
    assert steps == ["content", "rename", "directory"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_change_that_fails_before_the_rename_leaves_the_file(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, failing: str
):
    """A full disk, or a folder in the place of the file: the old content stays, and no unfinished file."""
    folder.put("api_keys", "a", {"value": "key-of-a"})

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os if failing == "fsync" else Path, failing, fail)
        with pytest.raises(GatewayError, match=r"cannot be written: No space left on device; nothing has changed"):
            folder.put("api_keys", "b", {"value": "key-of-b"})
    assert folder.file == {"api_keys": {"a": "key-of-a"}}
    assert sorted(each.name for each in folder.source.overrides.parent.iterdir()) == ["config.json", "config.lock"]
    folder.put("api_keys", "b", {"value": "key-of-b"})
    assert sorted(folder.file["api_keys"]) == ["a", "b"]
