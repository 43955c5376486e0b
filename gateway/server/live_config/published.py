"""What is in force: published by the supervisor to the workers and the recorder, in memory that they have in common."""

import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.config.layers import Loaded
from gateway.errors import ConfigError, GatewayError
from gateway.server.live_config.shared_memory import MIB, Gauges, Slots, SnapshotCell

_LARGEST = 16 * MIB
_STATUS_LARGEST = MIB // 4
_ERROR_LONGEST = 8192

Stamp = tuple[int, int, int]
"""What tells one state of a file from another: its time of change in ns, its size and its inode."""


def stamp(path: Path) -> Stamp | None:
    """Return a file's stamp, None where it is not there."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


class ConfigSnapshot(Struct, frozen=True, kw_only=True):
    """A configuration in force. `token`: our own; `required`: whether clients and pages need it."""

    loaded: Loaded
    token: str | None = None
    required: bool = False

    def __repr__(self) -> str:
        """Keep the token out."""
        return f"<ConfigSnapshot {self.loaded!r} required={self.required}>"


class Status(Struct, frozen=True, kw_only=True):
    """How the last look at the files ended.

    Attributes:
        generation: What is in force.
        loaded_at: Since when, in Unix seconds.
        error: Why the files as they are now are not in force; it has no secret.
        kept: The stamp that the data folder's own settings had then.

    """

    generation: int
    loaded_at: float
    error: str | None = None
    kept: Stamp | None = None

    def shown(self) -> dict[str, Any]:
        """Return what pages tell of it."""
        return {"generation": self.generation, "loaded_at": self.loaded_at, "error": self.error}


class _Wire(Struct, frozen=True, kw_only=True):
    """`Current` as it is published. An environment's text may be no Unicode; its bytes are told."""

    current: ConfigSnapshot
    environ: list[tuple[bytes, bytes]]


class PublishedConfig:
    """What the supervisor tells its children, and how far each has come. Made before they are forked.

    `children`: how many there are that note what they go by.
    """

    def __init__(self, children: int) -> None:
        self._current = SnapshotCell(_LARGEST)
        self._status = SnapshotCell(_STATUS_LARGEST)
        self.applied = Slots(children)
        self.gauges = Gauges(children)

    def __repr__(self) -> str:
        return f"<PublishedConfig generation: {self.generation} applied: {self.applied.all()}>"

    @property
    def generation(self) -> int:
        """Which configuration is in force."""
        return self._current.generation

    def put(self, current: ConfigSnapshot) -> int:
        """Publish a configuration; return its generation. Raises ConfigError where it cannot be told."""
        environ = [(os.fsencode(name), os.fsencode(value)) for name, value in current.loaded.environ.items()]
        try:
            value = _encoder.encode(_Wire(current=_tellable(current), environ=environ))
            return self._current.publish(value)
        except UnicodeEncodeError:
            raise ConfigError("the configuration has a variable's value that is no UTF-8; correct it") from None
        except GatewayError as error:
            raise ConfigError(f"the configuration is too large: {error}; make it smaller") from None

    def get(self) -> tuple[int, ConfigSnapshot]:
        """Return the configuration in force, with its generation."""
        generation, value = self._current.read()
        wire = _decoder.decode(value)
        environ = {os.fsdecode(name): os.fsdecode(text) for name, text in wire.environ}
        return generation, structs.replace(wire.current, loaded=structs.replace(wire.current.loaded, environ=environ))

    def say(self, status: Status) -> None:
        """Publish how the last look at the files ended."""
        error = None if status.error is None else _printable(status.error[:_ERROR_LONGEST])
        self._status.publish(msgspec.msgpack.encode(structs.replace(status, error=error)))

    @property
    def status(self) -> Status:
        """How the last look at the files ended."""
        return msgspec.msgpack.decode(self._status.read()[1], type=Status)


def _tellable(current: ConfigSnapshot) -> ConfigSnapshot:
    """Return it without its environment, and with names of files that are only for people as far as they are text."""
    loaded = current.loaded
    origins = {
        path: origin if origin.file is None else structs.replace(origin, file=_printable(origin.file))
        for path, origin in loaded.origins.items()
    }
    warnings = tuple(map(_printable, loaded.warnings))
    return structs.replace(current, loaded=structs.replace(loaded, environ={}, origins=origins, warnings=warnings))


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _told(value: Any) -> Any:
    if isinstance(value, Path):
        return os.fsencode(value)
    raise NotImplementedError  # as msgspec's hooks say of a type they do not know: `Loaded` has no other


def _read(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(os.fsdecode(value))
    raise NotImplementedError  # likewise


_encoder = msgspec.msgpack.Encoder(enc_hook=_told)
_decoder = msgspec.msgpack.Decoder(_Wire, dec_hook=_read)
