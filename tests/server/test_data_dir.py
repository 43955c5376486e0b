"""The data directory: created for its owner alone, locked by one process, and short enough for a unix socket."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.server.data_dir import lock_data_dir, open_lock, socket_path


def test_one_gateway_locks_a_data_directory(tmp_path: Path):
    """The directory is created for its owner alone; a second lock is refused until the first is released."""
    data = tmp_path / "a" / "b"
    lock = lock_data_dir(data)
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "lock").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="another gateway is using"):
        lock_data_dir(data)
    os.close(lock)
    os.close(lock_data_dir(data))


HOLDER = """
import os, sys, time
from pathlib import Path
from gateway.server.data_dir import lock_data_dir
lock_data_dir(Path(sys.argv[1]))
if not os.fork():  # a child, which outlives its parent and has the lock
    print("locked", flush=True)
    sys.stdin.read()
    os._exit(0)
time.sleep(60)
"""


def test_the_lock_of_a_killed_gateway_is_waited_for(tmp_path: Path):
    """Its children end soon, and release the lock; while the gateway itself runs, the lock is refused at once."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(ConfigError, match="another gateway is using"):
            lock_data_dir(tmp_path)
        holder.kill()  # and not waited for: a zombie, as in a container without an init process
        child = threading.Timer(0.5, holder.stdin.close)
        child.start()
        os.close(lock_data_dir(tmp_path))
        child.join()


def test_a_lock_is_not_inherited(tmp_path: Path):
    """A program started by the gateway does not inherit the lock."""
    lock = lock_data_dir(tmp_path)
    assert not os.get_inheritable(lock)
    os.close(lock)


def test_a_directory_that_cannot_be_created_is_an_error(tmp_path: Path):
    """A file in the place of the directory is a configuration error that names the option."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file cannot be used: .*--data"):
        lock_data_dir(tmp_path / "file")


def test_a_socket_is_in_the_data_directory():
    """The socket is in the directory as long as its path fits into a socket's address."""
    assert socket_path(Path("/data")) == Path("/data/recorder.sock")
    longest = Path("/" + "x" * (100 - len("//recorder.sock")))
    assert socket_path(longest) == longest / "recorder.sock"


def test_a_long_path_moves_the_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A path too long for a socket has its socket in a private directory, one for each data directory."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one, two = socket_path(Path("/" + "x" * 200)), socket_path(Path("/" + "y" * 200))
    assert one != two
    assert one == socket_path(Path("/" + "x" * 200))
    (private,) = tmp_path.iterdir()
    assert one.parent == two.parent == private
    assert private.stat().st_mode & 0o777 == 0o700
    private.chmod(0o755)
    with pytest.raises(PermissionError, match="--data"):
        socket_path(Path("/" + "x" * 200))


@pytest.mark.parametrize("name", ["a?b", "a\\b", "a\udcffb"])
def test_a_path_that_duckdb_cannot_open_is_refused(tmp_path, name):
    """A folder in which nothing could be sealed is refused at the start, and not created."""
    with pytest.raises(ConfigError, match=r"DuckDB opens no file .*; choose another with --data"):
        open_lock(tmp_path / name, "lock")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "a*b", "[a]", "{a}", "a'b", 'a"b', "a;b", "a$b", "a%b", "a\nb", "\u00e4"])
def test_other_paths_are_created(tmp_path, name):
    """Any other character may be in the path of the data folder."""
    os.close(open_lock(tmp_path / name, "lock"))
