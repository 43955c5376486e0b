"""The active configuration, published by the supervisor to workers and recorder in shared memory."""

import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.config.layers import Loaded
from gateway.errors import ConfigError, GatewayError
from gateway.server.live_config.shared_memory import MIB, Gauges, Slots, SnapshotCell

_SNAPSHOT_MAX = 16 * MIB
_STATUS_MAX = MIB // 4
_ERROR_MAX = 8192

Stamp = tuple[int, int, int]
"""Identifies one state of a file: its modification time in ns, its size and its inode."""


def stamp(path: Path) -> Stamp | None:
    """Return a file's stamp, None if the file is missing."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size, about.st_ino


class ConfigSnapshot(Struct, frozen=True, kw_only=True):
    """One active configuration. `token`: the gateway's own; `required`: whether clients and pages need it."""

    loaded: Loaded
    token: str | None = None
    required: bool = False

    def __repr__(self) -> str:
        """Keep the token out."""
        return f"<ConfigSnapshot {self.loaded!r} required={self.required}>"


class Status(Struct, frozen=True, kw_only=True):
    """The result of the last load.

    Attributes:
        generation: The active configuration's.
        loaded_at: The time of that load, in Unix seconds.
        error: The reason why the newest content of the files is not active, without secrets; None if it is.
        overrides: The stamp of the overrides file at the last load.

    """

    generation: int
    loaded_at: float
    error: str | None = None
    overrides: Stamp | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the status as admin pages show it."""
        return {"generation": self.generation, "loaded_at": self.loaded_at, "error": self.error}


class _Wire(Struct, frozen=True, kw_only=True):
    """A snapshot as it is encoded. Variables need not be UTF-8, so that the environment is published as bytes."""

    snapshot: ConfigSnapshot
    environ: list[tuple[bytes, bytes]]


class PublishedConfig:
    """Shared memory between the supervisor, which writes snapshots, and its children. Created before they are forked.

    `applied` has the generation that each worker has applied, `gauges` the metrics of each worker. `children`: the
    number of workers.
    """

    def __init__(self, children: int) -> None:
        self._snapshot = SnapshotCell(_SNAPSHOT_MAX)
        self._status = SnapshotCell(_STATUS_MAX)
        self.applied = Slots(children)
        self.gauges = Gauges(children)

    def __repr__(self) -> str:
        return f"<PublishedConfig generation: {self.generation} applied: {self.applied.all()}>"

    @property
    def generation(self) -> int:
        """The generation of the active configuration; 0 before the first."""
        return self._snapshot.generation

    def put(self, snapshot: ConfigSnapshot) -> int:
        """Publish a configuration; return its generation. Raises ConfigError if it is not encodable or too large."""
        environ = [(os.fsencode(name), os.fsencode(value)) for name, value in snapshot.loaded.environ.items()]
        try:
            value = _encoder.encode(_Wire(snapshot=_encodable(snapshot), environ=environ))
            return self._snapshot.publish(value)
        except UnicodeEncodeError:
            raise ConfigError("the configuration has the value of a variable that is not UTF-8; correct it") from None
        except GatewayError as error:
            raise ConfigError(f"the configuration is too large: {error}; make it smaller") from None

    def get(self) -> tuple[int, ConfigSnapshot]:
        """Return the generation of the active configuration, and the configuration."""
        generation, value = self._snapshot.read()
        wire = _decoder.decode(value)
        environ = {os.fsdecode(name): os.fsdecode(text) for name, text in wire.environ}
        loaded = structs.replace(wire.snapshot.loaded, environ=environ)
        return generation, structs.replace(wire.snapshot, loaded=loaded)

    def set_status(self, status: Status) -> None:
        """Publish the result of the last load."""
        error = None if status.error is None else _printable(status.error[:_ERROR_MAX])
        self._status.publish(msgspec.msgpack.encode(structs.replace(status, error=error)))

    @property
    def status(self) -> Status:
        """The result of the last load."""
        return msgspec.msgpack.decode(self._status.read()[1], type=Status)


def _encodable(snapshot: ConfigSnapshot) -> ConfigSnapshot:
    """Return a snapshot without its environment, and without bytes in file names and warnings that are not UTF-8."""
    loaded = snapshot.loaded
    origins = {
        path: origin if origin.file is None else structs.replace(origin, file=_printable(origin.file))
        for path, origin in loaded.origins.items()
    }
    warnings = tuple(map(_printable, loaded.warnings))
    return structs.replace(snapshot, loaded=structs.replace(loaded, environ={}, origins=origins, warnings=warnings))


def _printable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _encode_path(value: Any) -> Any:
    if isinstance(value, Path):
        return os.fsencode(value)
    raise NotImplementedError  # msgspec's convention for a type that a hook does not know; `Loaded` has no other


def _decode_path(kind: type, value: Any) -> Any:
    if kind is Path:
        return Path(os.fsdecode(value))
    raise NotImplementedError  # likewise


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_path)
_decoder = msgspec.msgpack.Decoder(_Wire, dec_hook=_decode_path)
