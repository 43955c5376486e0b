"""The inputs that the configuration is loaded from, so that it can be loaded again, or with a change on trial."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from gateway.config import layers
from gateway.config.layers import OVERRIDES, Loaded
from gateway.errors import ConfigError
from gateway.providers.auth import extras
from gateway.providers.auth.aws import with_region
from gateway.proxy.routing.context import build_runtime


class Source(Struct, frozen=True, kw_only=True):
    """The files to read, and the settings that win over them.

    Attributes:
        data: The data directory, which has the file of runtime overrides.
        environ: The process's own environment.
        cwd: The working directory; relative paths are below it.
        named: The file given by `-c`.
        flags: Settings of the command line, by their key.
        search: Whether the user's and the working directory's `gateway.toml` are searched for.

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
    def overrides(self) -> Path:
        """The file of runtime overrides."""
        return self.cwd / self.data / OVERRIDES

    def load(self, overrides: Mapping[str, Any] | None = None) -> Loaded:
        """Read and merge all layers, and check that a gateway can run with the result. Blocks.

        `overrides` replaces the content of the overrides file, to try a change before it is written. Raises
        ConfigError, which names the file.
        """
        loaded = layers.load(
            named=self.named,
            data=self.data,
            environ=self.environ,
            cwd=self.cwd,
            flags=self.flags,
            search=self.search,
            overrides=overrides,
        )
        loaded = structs.replace(loaded, environ=with_region(loaded.environ))
        try:
            built = build_runtime(loaded.config, loaded.environ)
        except ConfigError as error:
            raise loaded.blamed(error) from None
        missing = extras.warnings(loaded.config, built.providers, loaded.environ)
        return structs.replace(loaded, warnings=(*loaded.warnings, *missing))
