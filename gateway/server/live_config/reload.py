"""Reload in the supervisor: watched files and SIGHUP on one side, published configurations on the other.

A configuration that cannot work is reported, and the active one stays. One that works is published as a whole, and the
workers apply it to the exchanges that begin afterwards.
"""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import structs

from gateway.config.layers import Loaded
from gateway.errors import ConfigError
from gateway.server.live_config.published import ConfigSnapshot, PublishedConfig, Stamp, Status, stamp
from gateway.server.live_config.source import Source

log = logging.getLogger("gateway.reload")

_TICK = 1.0
# A file is read once it has not changed for this long: until then a writer may not be done.
_SETTLED_SECONDS = 0.2
_UNKNOWN: Stamp = (0, 0, 0)
# Settings that need a restart.
FIXED = ("host", "port")

TokenPolicy = Callable[[Loaded], tuple[str | None, bool]]
"""Returns the gateway's token for a configuration, and whether it is required. Raises ConfigError if there is none."""


class Watch:
    """Polls files for changes of their stamps since they were read."""

    def __init__(self) -> None:
        self._read: dict[Path, Stamp | None] = {}
        self._polled: dict[Path, Stamp | None] = {}
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<Watch {len(self._read)} files>"

    def begin(self, files: Iterable[Path]) -> dict[Path, Stamp | None]:
        """Store the stamps of `files`, which are about to be read; return them."""
        self._read = self._polled = {path: stamp(path) for path in files}
        return self._read

    def add(self, files: Iterable[Path]) -> None:
        """Watch more files, which were read without storing their stamps first: they count as changed."""
        new = {path: _UNKNOWN for path in files if path not in self._read}
        self._read = {**self._read, **new}

    def due(self, now: float) -> bool | None:
        """Whether files have changed and settled; None while they are changing. `now`: seconds of any clock."""
        polled = {path: stamp(path) for path in self._read}
        if polled != self._polled:
            self._polled, self._since = polled, now
        if polled == self._read:
            return False
        return True if now - self._since >= _SETTLED_SECONDS else None


class Reloader:
    """Publishes the configuration whenever its files yield another one.

    `changed` is called with the old and the new configuration after a publication, `notify` with a line for people.
    `clock`: Unix seconds.
    """

    def __init__(
        self,
        source: Source,
        published: PublishedConfig,
        token: TokenPolicy,
        clock: Callable[[], float],
        *,
        changed: Callable[[Loaded, Loaded], None],
        notify: Callable[[str], None],
    ) -> None:
        self._source = source
        self._published = published
        self._token = token
        self._clock = clock
        self._changed = changed
        self._notify = notify
        self._watch = Watch()
        self._files: tuple[Path, ...] = ()
        self._active: ConfigSnapshot | None = None
        self._unapplied: tuple[str, ...] = ()
        self._status = Status(generation=0, loaded_at=0.0)

    def __repr__(self) -> str:
        return f"<Reloader {self._source!r} generation: {self._status.generation}>"

    def start(self) -> ConfigSnapshot:
        """Load and publish the first configuration. Raises ConfigError."""
        overrides = stamp(self._source.overrides)
        loaded = self._source.load()
        for warning in loaded.warnings:
            log.warning("%s", warning)
        self._watch_files(loaded)
        return self._publish(self._snapshot(loaded), overrides)

    def hangup(self) -> None:
        """Reload because of SIGHUP, whether or not files have changed."""
        self._reload()

    def tick(self, now: float) -> float:
        """Reload if files have changed; return after how many seconds to poll again."""
        due = self._watch.due(now)
        if due:
            self._reload()
        return _SETTLED_SECONDS if due is None else _TICK

    def _reload(self) -> None:
        overrides = self._watch.begin(self._files).get(self._source.overrides)
        try:
            self._load(overrides)
        except ConfigError as error:
            self._reject(str(error), overrides)
        except Exception:
            log.exception("the configuration cannot be loaded")
            self._reject("it cannot be loaded; see the lines above", overrides)

    def _load(self, overrides: Stamp | None) -> None:
        old = self._active
        if old is None:
            return
        loaded = self._source.load()
        new = self._snapshot(self._without_fixed(loaded, old.loaded))
        if new == old:
            self._set_status(structs.replace(self._status, error=None, overrides=overrides))
            return
        self._publish(new, overrides)
        self._watch_files(loaded)
        for warning in loaded.warnings:
            if warning not in old.loaded.warnings:
                log.warning("%s", warning)
        self._notify(f"the configuration was loaded again (generation {self._status.generation})")
        self._changed(old.loaded, new.loaded)

    def _watch_files(self, loaded: Loaded) -> None:
        """Watch all files that the configuration depends on: those searched for, and the `.env` beside each."""
        overrides = self._source.overrides
        beside = (path.parent / ".env" for path in loaded.files if path != overrides)
        self._files = tuple(dict.fromkeys((*loaded.files, *beside, overrides)))
        self._watch.add(self._files)

    def _snapshot(self, loaded: Loaded) -> ConfigSnapshot:
        try:
            token, required = self._token(loaded)
        except ConfigError as error:
            raise loaded.blamed(error) from None
        return ConfigSnapshot(loaded=loaded, token=token, required=required)

    def _without_fixed(self, new: Loaded, old: Loaded) -> Loaded:
        """Return a configuration with the old values of settings that need a restart; log those that have changed."""
        unapplied = tuple(
            f"$.{name} is {getattr(new.config, name)!r} now, and stays {getattr(old.config, name)!r}"
            for name in FIXED
            if getattr(new.config, name) != getattr(old.config, name)
        )
        if unapplied and unapplied != self._unapplied:
            log.warning("%s until the gateway is restarted", "; ".join(unapplied))
        self._unapplied = unapplied
        fixed = {name: getattr(old.config, name) for name in FIXED}
        return structs.replace(new, config=structs.replace(new.config, **fixed))

    def _publish(self, snapshot: ConfigSnapshot, overrides: Stamp | None) -> ConfigSnapshot:
        generation = self._published.put(snapshot)
        self._set_status(Status(generation=generation, loaded_at=self._clock(), overrides=overrides))
        self._active = snapshot
        return snapshot

    def _reject(self, error: str, overrides: Stamp | None) -> None:
        """Report an error of the files; once per change, since only changed files are read again."""
        self._set_status(structs.replace(self._status, error=error, overrides=overrides))
        log.error("the configuration cannot be reloaded, and the active one stays: %s", error)

    def _set_status(self, status: Status) -> None:
        self._status = status
        self._published.set_status(status)
