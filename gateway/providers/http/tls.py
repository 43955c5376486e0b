"""TLS to upstreams: the files of CAs and client certificates, and the contexts that are made of them."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


class TlsFiles(Struct, frozen=True):
    """Paths of PEM files: the CAs to trust instead of the system's, a client's certificate and its key."""

    ca_file: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


class TlsContexts:
    """TLS contexts by their files, loaded again after a change of them: short-lived certificates are renewed."""

    def __init__(self, usual: ssl.SSLContext | None = None) -> None:
        self._usual = usual
        self._by_files: dict[TlsFiles, tuple[Sequence[int], ssl.SSLContext]] = {}

    async def of(self, files: TlsFiles) -> ssl.SSLContext:
        """Return the context of files. Raises OSError (ssl.SSLError)."""
        if files == TlsFiles():
            if self._usual is None:
                self._usual = _context(files)
            return self._usual
        return await asyncio.to_thread(self._loaded, files)

    def _loaded(self, files: TlsFiles) -> ssl.SSLContext:
        paths = [path for path in (files.ca_file, files.client_cert, files.client_key) if path]
        changed = [os.stat(path).st_mtime_ns for path in paths]  # noqa: PTH116  this is faster
        found = self._by_files.get(files)
        if found is None or found[0] != changed:
            found = self._by_files[files] = (changed, _context(files))
        return found[1]


def _context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    if files.client_cert is not None:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(files.client_cert, files.client_key, password=lambda: "")
    return context


def checked(files: TlsFiles, path: str) -> TlsFiles:
    """Return files that can be loaded. Blocks. Raises ConfigError with the setting; `path`: of their table."""
    if files.client_key is not None and files.client_cert is None:
        raise ConfigError(f"{path}.client_key: client_cert is missing; set the certificate of this key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, value in (
        ("ca_file", files.ca_file),
        ("client_cert", files.client_cert),
        ("client_key", files.client_key),
    ):
        if value is not None:
            try:
                with open(value, "rb"):  # noqa: PTH123
                    pass
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "not a path"
                raise ConfigError(f"{path}.{name}: {value}: {reason}; name a PEM file") from None
    try:
        if files.ca_file is not None:
            context.load_verify_locations(files.ca_file)
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{path}.ca_file: {files.ca_file} holds no CA certificate in PEM") from None
    try:
        if files.client_cert is not None:
            context.load_cert_chain(files.client_cert, files.client_key, password=lambda: "")
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            f"{path}.client_cert: {files.client_cert} holds no certificate in PEM with its private key; "
            "set client_key if that is in another file, without a passphrase"
        ) from None
    return files
