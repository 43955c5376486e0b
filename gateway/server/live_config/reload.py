"""The supervisor's eye on the configuration: files that change, SIGHUP, and what is published of it.

What cannot work is said, and what is in force stays. What works is published whole; the workers take it up for the
exchanges that begin then.
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
# A file that has changed is read once it has been the same for so long: until then it may be half written.
_SETTLED_SECONDS = 0.2
_UNKNOWN: Stamp = (0, 0, 0)

Token = Callable[[Loaded], tuple[str | None, bool]]
"""Gives our token for a configuration, and whether it is needed. Raises ConfigError where there can be none."""


class Watch:
    """Looks whether any of some files has changed, come or gone since they were read."""

    def __init__(self) -> None:
        self._read: dict[Path, Stamp | None] = {}
        self._seen: dict[Path, Stamp | None] = {}
        self._since = 0.0

    def begin(self, files: Iterable[Path]) -> dict[Path, Stamp | None]:
        """Remember how files are now, before they are read; return that."""
        self._read = self._seen = {path: stamp(path) for path in files}
        return self._read

    def add(self, files: Iterable[Path]) -> None:
        """Watch more files, which have been read without a look at them before: they count as changed since."""
        new = {path: _UNKNOWN for path in files if path not in self._read}
        self._read = {**self._read, **new}

    def due(self, now: float) -> bool | None:
        """Whether they have changed and may be read; None where they are changing. `now`: seconds of any one clock."""
        seen = {path: stamp(path) for path in self._read}
        if seen != self._seen:
            self._seen, self._since = seen, now
        if seen == self._read:
            return False
        return True if now - self._since >= _SETTLED_SECONDS else None


class Reloader:
    """Keeps what is published in step with the files.

    `changed` is told the old and the new configuration once the new one is published; `say` gets a line for people.
    """

    def __init__(
        self,
        source: Source,
        published: PublishedConfig,
        token: Token,
        clock: Callable[[], float],
        *,
        changed: Callable[[Loaded, Loaded], None],
        say: Callable[[str], None],
    ) -> None:
        self._source = source
        self._published = published
        self._token = token
        self._clock = clock
        self._changed = changed
        self._say = say
        self._watch = Watch()
        self._files: tuple[Path, ...] = ()
        self._current: ConfigSnapshot | None = None
        self._unheeded: tuple[str, ...] = ()
        self._status = Status(generation=0, loaded_at=0.0)

    def start(self) -> ConfigSnapshot:
        """Load and publish for the first time. Raises ConfigError."""
        kept = stamp(self._source.kept)
        loaded = self._source.load()
        for warning in loaded.warnings:
            log.warning("%s", warning)
        self._watch_over(loaded)
        return self._publish(self._made(loaded), kept)

    def hangup(self) -> None:
        """Read the files because somebody asked for it."""
        self._reload()

    def tick(self, now: float) -> float:
        """Read the files where they have changed; return after how many seconds to look again."""
        due = self._watch.due(now)
        if due:
            self._reload()
        return _SETTLED_SECONDS if due is None else _TICK

    def _reload(self) -> None:
        kept = self._watch.begin(self._files).get(self._source.kept)
        try:
            self._load(kept)
        except ConfigError as error:
            self._refuse(str(error), kept)
        except Exception:
            log.exception("the configuration cannot be loaded")
            self._refuse("it cannot be loaded; see the lines above", kept)

    def _load(self, kept: Stamp | None) -> None:
        old = self._current
        if old is None:
            return
        loaded = self._source.load()
        new = self._made(self._heeded(loaded, old.loaded))
        if new == old:
            self._looked(kept)
            return
        self._publish(new, kept)
        self._watch_over(loaded)
        for warning in loaded.warnings:
            if warning not in old.loaded.warnings:
                log.warning("%s", warning)
        self._say(f"the configuration was loaded again (generation {self._status.generation})")
        self._changed(old.loaded, new.loaded)

    def _watch_over(self, loaded: Loaded) -> None:
        """Watch the files that matter: those looked for, and each `.env` that would count if they were there."""
        kept = self._source.kept
        beside = (path.parent / ".env" for path in loaded.files if path != kept)
        self._files = tuple(dict.fromkeys((*loaded.files, *beside, kept)))
        self._watch.add(self._files)

    def _made(self, loaded: Loaded) -> ConfigSnapshot:
        try:
            token, required = self._token(loaded)
        except ConfigError as error:
            raise loaded.blamed(error) from None
        return ConfigSnapshot(loaded=loaded, token=token, required=required)

    def _heeded(self, new: Loaded, old: Loaded) -> Loaded:
        """Return a configuration with the values that only a new start can change as they are; say which."""
        names = ("host", "port")
        others = tuple(
            f"$.{name} is {getattr(new.config, name)!r} now, and stays {getattr(old.config, name)!r}"
            for name in names
            if getattr(new.config, name) != getattr(old.config, name)
        )
        if others and others != self._unheeded:
            log.warning("%s until the gateway is started anew", "; ".join(others))
        self._unheeded = others
        kept = {name: getattr(old.config, name) for name in names}
        return structs.replace(new, config=structs.replace(new.config, **kept))

    def _publish(self, current: ConfigSnapshot, kept: Stamp | None) -> ConfigSnapshot:
        generation = self._published.put(current)
        self._status = Status(generation=generation, loaded_at=self._clock(), kept=kept)
        self._published.say(self._status)
        self._current = current
        return current

    def _looked(self, kept: Stamp | None) -> None:
        """Say that the files come to what is in force."""
        self._status = structs.replace(self._status, error=None, kept=kept)
        self._published.say(self._status)

    def _refuse(self, error: str, kept: Stamp | None) -> None:
        """Say why the files are not in force: once, since they are read again only where they change."""
        self._status = structs.replace(self._status, error=error, kept=kept)
        self._published.say(self._status)
        log.error("the configuration is not loaded again, and stays as it was: %s", error)
