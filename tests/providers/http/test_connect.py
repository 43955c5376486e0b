"""Connections through a proxy: the tunnel, requests in absolute form, and errors that name the proxy."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from gateway.providers.http.client import Client, ConnectFailed, ConnectTimeout, Response
from gateway.providers.http.origin import Origin
from gateway.providers.http.tls import TlsFiles
from gateway.providers.http.ways_out import Proxy, Way
from tests.support.certificates import Authority
from tests.support.proxies import ESTABLISHED, ScriptedProxy
from tests.support.upstream import Upstream

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
FAR = "llm.corp.example"
BASIC = b"Proxy-Authorization: Basic dXNlcjpwbGFudGVk"
LOGIN = "user:planted@"


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a coroutine function that runs on asyncio's loop and on uvloop's."""

    @pytest.mark.parametrize("loop", LOOPS)
    def on_loop(loop: str, authority: Authority) -> None:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            runner.run(test(authority))

    on_loop.__name__, on_loop.__doc__ = test.__name__, test.__doc__
    return on_loop


@pytest.fixture(scope="module", name="authority")
def _authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


async def answered(client: Client, origin: Origin, way: Way, body: bytes = b"{}", seconds: float = 5) -> Response:
    """Return a response, read to its end."""
    response = await client.send(
        origin, b"POST", b"/v1/x?a=b", [(b"X-A", b"1")], body, connect_timeout=seconds, first_byte_timeout=5, way=way
    )
    while not response.complete:
        await response.read(5)
    return response


@on_both_loops
async def test_a_tunnel(authority: Authority) -> None:
    """An https upstream is reached by CONNECT with credentials, which it does not see, and connections are kept."""
    files = TlsFiles(str(authority.ca_file))
    client = Client()
    async with (
        Upstream(tls=authority.server(FAR)) as upstream,
        ScriptedProxy(upstream.port) as proxy,
        ScriptedProxy(upstream.port, tls=authority.server("127.0.0.1")) as secure,
    ):
        for each in (proxy, secure):
            way = Way(each.proxy(LOGIN), files)
            for size in (10, 4_000_000):
                response = await answered(client, Origin("https", FAR, 443), way, b"x" * size)
                assert (response.status, len(upstream.asked[-1].body)) == (200, size)
            assert response.reused
            (head,) = each.heads
            assert head.startswith(b"CONNECT llm.corp.example:443 HTTP/1.1\r\nHost: llm.corp.example:443\r\n")
            assert BASIC in head
        asked = upstream.asked[-1]
        assert (asked.target, asked.header("Host"), asked.header("Proxy-Authorization")) == ("/v1/x?a=b", FAR, None)
        await client.close()


@on_both_loops
async def test_absolute_form(authority: Authority) -> None:
    """An http upstream's proxy gets the whole URL and the credentials with every request."""
    client = Client()
    async with Upstream() as upstream, ScriptedProxy(upstream.port) as proxy:
        for _ in range(2):
            response = await answered(client, Origin("http", FAR, 8080), Way(proxy.proxy(LOGIN)))
        assert response.reused
        for asked in upstream.asked:
            assert asked.target == f"http://{FAR}:8080/v1/x?a=b"
            assert (asked.header("Host"), asked.header("Proxy-Authorization")) == (
                f"{FAR}:8080",
                "Basic dXNlcjpwbGFudGVk",
            )
        await client.close()
    assert authority.ca_file.exists()


def status(line: str) -> Callable[[bytes], bytes]:
    """Return a proxy's script for one status."""
    head = f"HTTP/1.1 {line}\r\nProxy-Authenticate: Basic\r\nContent-Length: 7\r\n\r\nplanted"
    return lambda _head: head.encode()


REFUSALS = {
    "407 Proxy Authentication Required": (True, "it needs credentials; write them in the setting"),
    "403 Forbidden": (True, "it does not allow this host; see its rules, or add the host to NO_PROXY"),
    "405 Method Not Allowed": (True, "it refuses to connect to the host"),
    "429 Too Many Requests": (False, "it refuses to connect to the host"),
    "502 Bad Gateway": (False, "it cannot reach the host"),
    "504 Gateway Timeout": (False, "it cannot reach the host"),
    "301 Moved": (True, "it refuses to connect to the host"),
}


@pytest.mark.parametrize("line", REFUSALS)
async def test_a_refused_tunnel(line: str, authority: Authority) -> None:
    """The error names the proxy, its status and its setting, not its text; those that may pass are not lasting."""
    client, (lasting, text) = Client(), REFUSALS[line]
    async with ScriptedProxy(9, status(line)) as proxy:
        with pytest.raises(ConnectFailed) as failed:
            await answered(client, Origin("https", FAR, 443), Way(proxy.proxy(), TlsFiles(str(authority.ca_file))))
        assert str(failed.value).startswith(f"{FAR}:443: the proxy 127.0.0.1:{proxy.port} answered {line[:3]}: {text}")
        assert (failed.value.reason, failed.value.setting, failed.value.lasting) == ("proxy", "HTTPS_PROXY", lasting)
        assert "planted" not in str(failed.value)
    assert client.connections == (0, 0)


async def test_a_refused_request() -> None:
    """A proxy that wants other credentials for a forwarded request is no upstream; any other status is passed on."""
    client = Client()
    async with ScriptedProxy(9, status("407 No")) as proxy:
        with pytest.raises(ConnectFailed, match="answered 407: it needs credentials, or others") as failed:
            await answered(client, Origin("http", FAR, 80), Way(proxy.proxy(LOGIN)))
        assert "planted" not in str(failed.value)
        assert client.connections == (0, 0)
    async with ScriptedProxy(9, status("503 No")) as proxy:
        assert (await answered(client, Origin("http", FAR, 80), Way(proxy.proxy()))).status == 503
    await client.close()


BROKEN = {
    "no HTTP": (lambda _head: b"SSH-2.0-x\r\n\r\n", "it does not answer in HTTP/1"),
    "closed": (lambda _head: b"", "closed the connection"),
    "half a head": (lambda _head: b"HTTP/1.1 200 OK\r\nX: ", "closed the connection"),
    "an endless head": (lambda _head: b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "more than the head"),
    "bytes after the head": (lambda _head: ESTABLISHED + b"planted", "more than the head"),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_proxy(case: str, authority: Authority) -> None:
    """A proxy that does not speak its protocol is an error that names it."""
    client, (script, text) = Client(), BROKEN[case]
    async with ScriptedProxy(9, script) as proxy:
        way = Way(proxy.proxy(LOGIN), TlsFiles(str(authority.ca_file)))
        with pytest.raises(ConnectFailed, match=rf"the proxy 127.0.0.1:{proxy.port} cannot be reached: .*{text}"):
            await answered(client, Origin("https", FAR, 443), way)
    assert client.connections == (0, 0)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1:9", "no-such-host.invalid:3128"])
async def test_a_proxy_that_is_not_there(scheme: Any, host: str, authority: Authority) -> None:
    """A refused connection, and a name that does not resolve, are about the proxy, not the upstream."""
    client, proxy = Client(), Proxy.from_url(f"http://{LOGIN}{host}", "ALL_PROXY")
    way = Way(proxy, TlsFiles(str(authority.ca_file)))
    with pytest.raises(ConnectFailed, match=f"^{FAR}:1: the proxy {host} cannot be reached: ") as failed:
        await answered(client, Origin(scheme, FAR, 1), way)
    assert (failed.value.reason, failed.value.setting, failed.value.lasting) == ("proxy", "ALL_PROXY", False)


async def test_a_proxy_that_hangs(authority: Authority) -> None:
    """The connect timeout bounds the tunnel, and a cancelled wait leaves no connection."""
    client = Client()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        way = Way(Proxy.from_url(f"http://127.0.0.1:{port}", "HTTPS_PROXY"), TlsFiles(str(authority.ca_file)))
        with pytest.raises(ConnectTimeout, match=rf"by the proxy 127.0.0.1:{port}: no connection within 0.05 s"):
            await answered(client, Origin("https", FAR, 443), way, seconds=0.05)
        assert client.connections == (0, 0)


async def test_tls_is_with_the_upstream(authority: Authority, tmp_path: Path) -> None:
    """The certificate at the end of the tunnel must be the upstream's; the proxy cannot read or replace it."""
    client = Client()
    async with Upstream(tls=Authority(tmp_path).server(FAR)) as upstream, ScriptedProxy(upstream.port) as proxy:
        way = Way(proxy.proxy(), TlsFiles(str(authority.ca_file)))
        with pytest.raises(ConnectFailed, match=r"by the proxy .*CERTIFICATE_VERIFY_FAILED") as failed:
            await answered(client, Origin("https", FAR, 443), way)
        assert failed.value.reason == "tls"
        assert upstream.asked == []
    await client.close()
