"""Runtime overrides: providers, aliases and keys set while the gateway runs, in a file of the data directory.

A change is loaded together with all other layers before it is written, so that the file always yields a working
configuration. Writers hold a lock: a gateway and a command beside it cannot overwrite each other's changes.
"""

import contextlib
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
from gateway.server.data_dir import open_lock, try_lock
from gateway.server.live_config.published import Stamp, stamp
from gateway.server.live_config.source import Source

OverridableTable = Literal["providers", "aliases", "api_keys"]
TABLES: tuple[OverridableTable, ...] = get_args(OverridableTable)

_LOCK = "config.lock"
_LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.02
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class UnknownEntryError(GatewayError):
    """The table or the entry does not exist."""


class UnchangeableError(GatewayError):
    """The entry is set by a configuration file, which the gateway never writes."""


class Key(Table, frozen=True):
    """An entry of `api_keys` as clients set it: the key itself, or with `source` "env" the name of its variable."""

    value: str
    source: Literal["env"] | None = None

    def __repr__(self) -> str:
        """Keep the key out."""
        return f"<Key source={self.source}>"


def table_of(name: str) -> OverridableTable:
    """Return the overridable table of this name. Raises UnknownEntryError."""
    if name not in TABLES:
        raise UnknownEntryError(f"there is no table {name!r}; there are {', '.join(TABLES)}")
    return name


def stored_entry(table: OverridableTable, name: str, entry: Any) -> Any:
    """Return a client's entry in the form of the file. Raises ConfigError for one that is no entry of the table.

    Fields of providers and aliases are checked later, when the file is loaded.
    """
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
def locked(source: Source) -> Iterator["OverridesFile"]:
    """Hold the lock of the overrides file. Blocks. Raises GatewayError if other writers do not release it in time."""
    directory = source.overrides.parent
    try:
        lock = open_lock(directory, _LOCK)
    except ConfigError as error:
        raise GatewayError(str(error)) from None
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not try_lock(lock):
            if time.monotonic() > deadline:
                raise GatewayError(f"{source.overrides}: another process is changing it; try again")
            time.sleep(_POLL_SECONDS)
        yield OverridesFile(source)
    finally:
        os.close(lock)


class OverridesFile:
    """The overrides file, to be changed while its lock is held. Its methods block."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __repr__(self) -> str:
        return f"<OverridesFile {self._source.overrides}>"

    def put(self, table: OverridableTable, name: str, entry: Any) -> Stamp | None:
        """Set one entry as a whole; return the file's new stamp.

        Raises ConfigError if the configuration cannot work with it, and leaves the file unchanged.
        """
        tables = self._read()
        return self._write({**tables, table: {**_entries(tables, table), name: stored_entry(table, name, entry)}})

    def delete(self, table: OverridableTable, name: str) -> Stamp | None:
        """Delete one entry; return the file's new stamp.

        Raises ConfigError likewise, UnknownEntryError, or UnchangeableError naming the file that sets the entry.
        """
        tables = self._read()
        entries = _entries(tables, table)
        if name not in entries:
            raise _not_overridden(self._source.load(), table, name)
        return self._write({**tables, table: {key: each for key, each in entries.items() if key != name}})

    def _read(self) -> dict[str, Any]:
        path = self._source.overrides
        return read_json(path, str(path), warn=lambda _warning: None) or {}

    def _write(self, tables: Mapping[str, Any]) -> Stamp | None:
        path = self._source.overrides
        tables = {table: entries for table, entries in tables.items() if entries}
        content = msgspec.json.format(msgspec.json.encode(tables), indent=2) + b"\n"
        if len(content) > LARGEST:
            raise ConfigError(f"{path}: it would have more than {LARGEST // 1024 // 1024} MiB; use a gateway.toml")
        self._source.load(tables)
        try:
            _replace(path, content)
        except OSError as error:
            raise GatewayError(f"{path} cannot be written: {error.strerror}; nothing has changed") from None
        return stamp(path)


def _entries(tables: Mapping[str, Any], table: OverridableTable) -> Mapping[str, Any]:
    entries = tables.get(table, {})
    return entries if isinstance(entries, dict) else {}


def _not_overridden(loaded: Loaded, table: OverridableTable, name: str) -> GatewayError:
    if name not in getattr(loaded.config, table):
        return UnknownEntryError(f"there is no {table}.{name} to delete")
    at = f"$.{table}.{name}"
    files = {
        origin.file: None
        for path, origin in loaded.origins.items()
        if origin.file and (path == at or path.startswith(f"{at}."))
    }
    return UnchangeableError(f"{at} is in {', '.join(files)}; remove it there, or override it")


def _replace(path: Path, content: bytes) -> None:
    """Replace a file atomically: after a power failure either the old or the new content is there, whole."""
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
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
