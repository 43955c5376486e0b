"""A client of a gateway's own pages, over the unix socket in its data folder or at a URL."""

import fcntl
import http.client
import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.errors import GatewayError
from gateway.server.data_dir import socket_path

_SECONDS = 60.0
# A restarted recorder listens again in less.
_PATIENCE = 5.0
_PAUSE = 0.05


class _OverSocket(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Gateway:
    """A running gateway."""

    def __init__(self, data: Path, url: str | None, environ: Mapping[str, str]) -> None:
        """`url` wins over the data folder; its token is read from `environ`."""
        self._data = data
        self._url = url
        self._token = environ.get("GATEWAY_TOKEN", "").strip()

    def ask(self, method: str, path: str, has: str, body: Any = None) -> dict[str, Any] | None:
        """Return the JSON of a page; None if no gateway runs on the folder. `has`: a key of every such page.

        Raises GatewayError for an error response, with its message, and without a response.
        """
        if self._url is not None:
            return self._request(_at(self._url), method, path, has, body)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._request(_OverSocket(socket_path(self._data.absolute())), method, path, has, body)
            except (FileNotFoundError, ConnectionRefusedError):
                if not _held(self._data):
                    return None
            if time.monotonic() > deadline:
                raise GatewayError(f"the gateway on {self._data} does not respond; try again")
            time.sleep(_PAUSE)

    def _request(
        self, connection: http.client.HTTPConnection, method: str, path: str, has: str, body: Any
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._url is not None and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        except (FileNotFoundError, ConnectionRefusedError):
            if self._url is None:
                raise
            raise GatewayError(f"connection refused at {self._url}; is the gateway running?") from None
        except (OSError, http.client.HTTPException) as error:
            raise GatewayError(f"the gateway did not respond: {error or type(error).__name__}") from None
        finally:
            connection.close()
        try:
            found = json.loads(content)
            if answer.status < 400 and has in found:
                return dict(found)
            message = found["error"]["message"]
        except (ValueError, LookupError, TypeError):
            raise GatewayError(
                f"there is no gateway page at {self._url or self._data}{path} ({answer.status})"
            ) from None
        if answer.status == 401:
            message += "; set GATEWAY_TOKEN"
        raise GatewayError(message)


def _at(url: str) -> http.client.HTTPConnection:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        raise GatewayError(f"{url!r} is not the URL of a gateway, such as http://127.0.0.1:4000")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=_SECONDS)


def _held(data: Path) -> bool:
    """Return whether a gateway has locked a data folder."""
    try:
        lock = os.open(data / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False
