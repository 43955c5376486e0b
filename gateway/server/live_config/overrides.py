"""What is set while running: providers, aliases and keys, kept in the data folder, each entry whole.

A change is tried with all other layers before it is written, so that what is kept can work. Whoever changes holds a
lock, so that a gateway and a command beside it lose nothing of each other's.
"""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from gateway.config.files import LARGEST, read_json
from gateway.config.layers import Loaded
from gateway.config.model import Table
from gateway.config.validation import convert
from gateway.errors import ConfigError, GatewayError
from gateway.server.live_config.published import Stamp, stamp
from gateway.server.live_config.source import Source

OverridableTable = Literal["providers", "aliases", "api_keys"]
TABLES: tuple[OverridableTable, ...] = get_args(OverridableTable)

_LOCK = "config.lock"
_PATIENCE = 5.0
_PAUSE = 0.02
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class UnknownEntryError(GatewayError):
    """There is no such entry, or no such table."""


class UnchangeableError(GatewayError):
    """A file says it, which only people change."""


class Key(Table, frozen=True):
    """A key as it is set: the key itself, or (`source` "env") the name of the variable that has it."""

    value: str
    source: Literal["env"] | None = None

    def __repr__(self) -> str:
        """Keep it out."""
        return f"<Key source={self.source}>"


def table_of(name: str) -> OverridableTable:
    """Return the table of a name. Raises UnknownEntryError."""
    if name not in TABLES:
        raise UnknownEntryError(f"there is no table {name!r}; there are {', '.join(TABLES)}")
    return name


def written(table: OverridableTable, name: str, entry: Any) -> Any:
    """Return an entry as it is kept. Raises ConfigError for one that is none; what is in it is seen by who loads it."""
    path = f"$.{table}.{name}"
    if table != "api_keys":
        if not isinstance(entry, dict):
            raise ConfigError(f"{path}: Expected `table`, got another value")
        return entry
    key = convert(entry, Key, path)
    if key.source is None:
        return key.value
    if not _VARIABLE.fullmatch(key.value):
        raise ConfigError(f"{path}.value: not a variable's name; leave `source` out if it is the key itself")
    return f"${{env:{key.value}}}"


@contextlib.contextmanager
def changing(source: Source) -> Iterator["Change"]:
    """Hold the lock of what is kept, and give what changes it. Blocks. Raises GatewayError where others do not end."""
    folder = source.kept.parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise GatewayError(f"the data folder {folder} cannot be used: {error.strerror}; name another one") from None
    try:
        deadline = time.monotonic() + _PATIENCE
        while not _taken(lock):
            if time.monotonic() > deadline:
                raise GatewayError(f"others are changing {source.kept}; try again")
            time.sleep(_PAUSE)
        yield Change(source)
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Change:
    """Changes what is kept, as long as the lock is held. Blocks."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def put(self, table: OverridableTable, name: str, entry: Any) -> Stamp | None:
        """Set an entry, in the place of the one that there is; return the file's stamp then.

        Raises ConfigError where that cannot work; then nothing has changed.
        """
        kept = self._now()
        return self._write({**kept, table: {**_entries(kept, table), name: written(table, name, entry)}})

    def delete(self, table: OverridableTable, name: str) -> Stamp | None:
        """Take an entry out. Raises likewise; UnknownEntryError, or UnchangeableError with the file that says it."""
        kept = self._now()
        entries = _entries(kept, table)
        if name not in entries:
            raise _not_kept(self._source.load(), table, name)
        return self._write({**kept, table: {key: each for key, each in entries.items() if key != name}})

    def _now(self) -> dict[str, Any]:
        path = self._source.kept
        return read_json(path, str(path), warn=lambda _warning: None) or {}

    def _write(self, kept: Mapping[str, Any]) -> Stamp | None:
        path = self._source.kept
        kept = {table: entries for table, entries in kept.items() if entries}
        content = msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n"
        if len(content) > LARGEST:
            raise ConfigError(f"{path}: it would have more than {LARGEST // 1024 // 1024} MiB; use a gateway.toml")
        self._source.load(kept)
        try:
            _replace(path, content)
        except OSError as error:
            raise GatewayError(f"{path} cannot be written: {error.strerror}; nothing has changed") from None
        return stamp(path)


def _entries(kept: Mapping[str, Any], table: OverridableTable) -> Mapping[str, Any]:
    entries = kept.get(table, {})
    return entries if isinstance(entries, dict) else {}


def _not_kept(loaded: Loaded, table: OverridableTable, name: str) -> GatewayError:
    if name not in getattr(loaded.config, table):
        return UnknownEntryError(f"there is no {table}.{name} to delete")
    at = f"$.{table}.{name}"
    files = {
        origin.file: None
        for path, origin in loaded.origins.items()
        if origin.file and (path == at or path.startswith(f"{at}."))
    }
    return UnchangeableError(f"{at} is in {', '.join(files)}; take it out there, or set another one in its place")


def _replace(path: Path, content: bytes) -> None:
    """Put a file in the place of another one: after a power cut either is there, whole."""
    new = path.with_name(f"{path.name}.tmp")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(fd)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
