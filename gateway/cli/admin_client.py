"""Ask a gateway for its own pages: the one that looks after a data folder, by its socket in there, or one at a URL."""

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
# A recorder that is started again is back in less.
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
    """A gateway that runs."""

    def __init__(self, data: Path, url: str | None, environ: Mapping[str, str]) -> None:
        """Name it by its data folder, or by a URL: then the token is the environment's."""
        self._data = data
        self._url = url
        self._token = environ.get("GATEWAY_TOKEN", "").strip()

    def ask(self, method: str, path: str, has: str, body: Any = None) -> dict[str, Any] | None:
        """Return the JSON of a page; None where no gateway looks after the folder. `has`: a key of every such page.

        Raises GatewayError where the answer is an error, with its words, and where there is no answer.
        """
        if self._url is not None:
            return self._asked(_at(self._url), method, path, has, body)
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self._asked(_OverSocket(socket_path(self._data.absolute())), method, path, has, body)
            except (FileNotFoundError, ConnectionRefusedError):
                if not _held(self._data):
                    return None
            if time.monotonic() > deadline:
                raise GatewayError(f"the gateway that looks after {self._data} is not answering; try again")
            time.sleep(_PAUSE)

    def _asked(
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
            raise GatewayError(f"nobody answers at {self._url}; is the gateway running?") from None
        except (OSError, http.client.HTTPException) as error:
            raise GatewayError(f"the gateway did not answer: {error or type(error).__name__}") from None
        finally:
            connection.close()
        try:
            found = json.loads(content)
            if answer.status < 400 and has in found:
                return dict(found)
            message = found["error"]["message"]
        except (ValueError, LookupError, TypeError):
            raise GatewayError(f"no gateway's page is at {self._url or self._data}{path} ({answer.status})") from None
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
        raise GatewayError(f"{url!r} is not where a gateway can be, as http://127.0.0.1:4000 is")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.hostname, port, timeout=_SECONDS)


def _held(data: Path) -> bool:
    """Whether a gateway looks after a data folder."""
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
