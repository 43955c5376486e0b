"""Landlock: a process that asked for it reads below a few folders, and does nothing else that the kernel can refuse."""

import json
import os
import socket
import subprocess
import sys

import pytest

from gateway.store import landlock
from gateway.store.query import run_sql
from tests.support.paths import ROOT
from tests.support.store import small

# Restricts itself, then tries what it is told to; says what became of each. The imports come first: they read files.
PROGRAM = """
import json, os, socket, subprocess, sys
from gateway.store import landlock

folder, other, port, parent = sys.argv[1:]
connection = socket.socket()
"".encode("idna")
tries = {
    "read below": lambda: open(f"{folder}/deep/file").read(),
    "list below": lambda: os.listdir(f"{folder}/deep"),
    "read beside": lambda: open(f"{other}/file").read(),
    "list beside": lambda: os.listdir(other),
    "read by a link": lambda: open(f"{folder}/link").read(),
    "read a parent's environment": lambda: open(f"/proc/{parent}/environ").read(),
    "write below": lambda: open(f"{folder}/deep/file", "a"),
    "make a file": lambda: open(f"{folder}/new", "w"),
    "make a folder": lambda: os.mkdir(f"{folder}/new"),
    "remove": lambda: os.unlink(f"{folder}/deep/file"),
    "rename": lambda: os.rename(f"{folder}/deep/file", f"{folder}/file"),
    "link": lambda: os.symlink("x", f"{folder}/another"),
    "cut off": lambda: os.truncate(f"{folder}/deep/file", 0),
    "execute": lambda: os.execv(f"{folder}/program", ["program"]),
    "connect": lambda: connection.connect(("127.0.0.1", int(port))),
}
said = {"restricted": landlock.read_only([folder, f"{folder}/that is not there"])}
for name, attempt in tries.items():
    try:
        attempt()
        said[name] = "done"
    except OSError as error:
        said[name] = type(error).__name__
print(json.dumps(said))
"""
ALLOWED = {"read below", "list below"}


def _version() -> int:
    """Return which Landlock the kernel has, 0 for none."""
    ask = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))"
    asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return max(0, int(asked.stdout)) if sys.platform == "linux" else 0


@pytest.fixture(name="version", scope="module")
def _some_landlock() -> int:
    version = _version()
    if not version:
        pytest.skip("this kernel has no Landlock")
    return version


def test_a_restricted_process_reads_below_its_folders_and_that_is_all(tmp_path, version):
    """No other file, no change, no program, no connection, whoever it runs as."""
    folder, other = tmp_path / "folder", tmp_path / "other"
    (folder / "deep").mkdir(parents=True)
    other.mkdir()
    for path in (folder / "deep" / "file", other / "file"):
        path.write_text("text")
    (folder / "link").symlink_to(other / "file")
    (folder / "program").write_text("#!/bin/sh\n")
    (folder / "program").chmod(0o755)
    before = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, folder, other, str(server.getsockname()[1]), str(os.getpid())],
            capture_output=True, text=True, check=True, cwd=ROOT,
        )  # fmt: skip
    said = json.loads(ran.stdout)
    assert said.pop("restricted") is True
    later = {"cut off": 3, "connect": 4}  # what older ones cannot refuse
    expected = {name: "done" if name in ALLOWED or version < later.get(name, 1) else "PermissionError" for name in said}
    assert said == expected
    assert (folder / "deep" / "file").read_text() == "text"
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*")) == before


@pytest.mark.skipif(sys.platform == "linux", reason="there is Landlock")
def test_where_there_is_none_it_says_so():
    """The sandbox has other barriers."""
    assert landlock.read_only([]) is False


def test_the_room_works_behind_it(tmp_path, version):
    """A query reads its store, a clock and a time zone, and DuckDB finds what it needs to begin with."""
    assert version
    data = small(tmp_path / "data")
    sql = "SELECT count(*), max(now()) IS NOT NULL, [current_date] IS NOT NULL FROM exchanges"
    assert run_sql(data, sql).rows == [[3, True, True]]
