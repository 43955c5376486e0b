"""Requests to a gateway's own pages: by the socket in its data folder, or at a URL."""

import fcntl
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gateway.cli.admin_client import Gateway
from gateway.errors import GatewayError


class Page(HTTPServer):
    """A page that answers as it is set, and records requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = (200, b'{"settings": []}')
        self.requests: list[tuple[str, str, str | None, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Answers every request."""

    server: Page

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"] or 0))
        self.server.requests.append((self.command, self.path, self.headers["authorization"], body))
        status, content = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.do_PUT()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(name="page")
def _page() -> Iterator[Page]:
    with Page() as page:
        thread = threading.Thread(target=page.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield page
        page.shutdown()
        thread.join()


def test_a_request_has_the_token_and_a_json_body(page, tmp_path):
    """The token is the environment's, and only for a URL."""
    gateway = Gateway(tmp_path, page.url, {"GATEWAY_TOKEN": " t \n"})
    assert gateway.ask("PUT", "/-/config/x", "settings", {"a": 1}) == {"settings": []}
    assert gateway.ask("GET", "/-/config/x", "settings") == {"settings": []}
    assert page.requests == [
        ("PUT", "/-/config/x", "Bearer t", b'{"a": 1}'), ("GET", "/-/config/x", "Bearer t", b""),
    ]  # fmt: skip


ANSWERS = {
    "an error": (422, {"error": {"message": "no such key"}}, "no such key"),
    "a missing token": (401, {"error": {"message": "a token is needed"}}, "a token is needed; set GATEWAY_TOKEN"),
    "another page": (200, {"other": 1}, "there is no gateway page at"),
    "another error": (404, {"detail": "x"}, "there is no gateway page at"),
    "no object": (200, ["x"], "there is no gateway page at"),
}


@pytest.mark.parametrize(("status", "body", "message"), ANSWERS.values(), ids=ANSWERS)
def test_error_responses_are_errors_with_their_message(page, tmp_path, status, body, message):
    """Pages of another server are recognized as such."""
    page.answer = (status, json.dumps(body).encode())
    with pytest.raises(GatewayError, match=message):
        Gateway(tmp_path, page.url, {}).ask("GET", "/-/config/x", "settings")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:4000", "not the URL of a gateway"),
        ("ftp://a", "not the URL of a gateway"),
        ("http://a/path", "not the URL of a gateway"),
        ("http://a:99999", "not the URL of a gateway"),
        ("http://127.0.0.1:9", "connection refused at http://127.0.0.1:9; is the gateway running"),
    ],
)
def test_urls_without_a_gateway(tmp_path, url, message):
    """The message has the URL."""
    with pytest.raises(GatewayError, match=message):
        Gateway(tmp_path, url, {}).ask("GET", "/", "x")


def test_a_folder_without_a_gateway_has_no_answer(tmp_path):
    """The caller then changes the folder itself; a locked folder whose gateway is silent is an error."""
    assert Gateway(tmp_path, None, {}).ask("GET", "/", "x") is None
    (tmp_path / "lock").touch()
    assert Gateway(tmp_path, None, {}).ask("GET", "/", "x") is None


def test_a_locked_folder_whose_gateway_is_silent_is_an_error(tmp_path, monkeypatch):
    """After a few seconds, in which a recorder would restart."""
    monkeypatch.setattr("gateway.cli.admin_client._PATIENCE", 0.1)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(GatewayError, match="does not respond; try again"):
            Gateway(tmp_path, None, {}).ask("GET", "/", "x")
