"""Where a gateway's configuration comes from: to be read again while it runs, and tried before it is kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from gateway.config import layers
from gateway.config.layers import SETTINGS, Loaded
from gateway.errors import ConfigError
from gateway.providers.auth import extras
from gateway.providers.auth.aws import with_region
from gateway.proxy.routing import runtime


class Source(Struct, frozen=True, kw_only=True):
    """All that decides which files are read, and what wins over them.

    Attributes:
        data: The data folder; what was set while running is kept there.
        environ: The process's own environment.
        named: The file given by `-c`.
        flags: Settings by their key, as the command line says them.
        search: Whether the user's folder and the working directory's are looked into.

    """

    data: Path
    environ: Mapping[str, str]
    cwd: Path
    named: Path | None = None
    flags: Mapping[str, Any] = {}
    search: bool = True

    def __repr__(self) -> str:
        """Keep the environment out."""
        return f"<Source {self.named or self.cwd} data: {self.data}>"

    @property
    def kept(self) -> Path:
        """The file of what was set while running."""
        return self.cwd / self.data / SETTINGS

    def load(self, kept: Mapping[str, Any] | None = None) -> Loaded:
        """Read all layers, and see that what they come to can work. Blocks. Raises ConfigError, naming the file.

        `kept`: what is to be kept in the data folder, in the place of what is there.
        """
        loaded = layers.load(
            named=self.named,
            data=self.data,
            environ=self.environ,
            cwd=self.cwd,
            flags=self.flags,
            search=self.search,
            kept=kept,
        )
        loaded = structs.replace(loaded, environ=with_region(loaded.environ))
        try:
            built = runtime.build(loaded.config, loaded.environ)
        except ConfigError as error:
            raise loaded.blamed(error) from None
        missing = extras.warnings(loaded.config, built.providers, loaded.environ)
        return structs.replace(loaded, warnings=(*loaded.warnings, *missing))
