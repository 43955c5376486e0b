"""A gateway whose only way out is a proxy: a real one, with credentials, to upstreams that speak TLS."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.gateways import Process
from tests.support.proxies import RealProxy
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Upstream, reply

pytestmark = pytest.mark.integration

LOGIN = "corp-user:planted-p%40ss-word"
SECRETS = (b"planted-p", b"Y29ycC11c2VyOnBsYW50ZWQt")
BODY = b'{"model": "%b/m", "messages": [{"role": "user", "content": "hi"}]}'


@pytest.fixture(name="upstream")
async def _upstream(tmp_path: Path) -> AsyncIterator[Upstream]:
    """Start a provider that wants a client's certificate."""
    authority = Authority(tmp_path)
    authority.issue("client")
    tls = authority.server("localhost", verify=True)
    async with Upstream(lambda _asked: reply({"choices": []}), tls) as upstream:
        yield upstream


def configuration(upstream: Upstream, folder: Path, *more: str) -> str:
    """Return a configuration with the provider by three names."""
    files = {"ca_file": "ca.pem", "client_cert": "client.pem", "client_key": "client.key"}
    tables = ["[tls]", *(f'{name} = "{folder}/{file}"' for name, file in files.items())]
    settings = dict(zip(("usual", "direct", "own"), ("", 'proxy = ""', *more), strict=False))
    tables += [
        f'[providers.{name}]\nbase_url = "https://localhost:{upstream.port}/v1"\napi_key = "k-{name}"\n{line}'
        for name, line in settings.items()
    ]
    return "\n".join(tables)


async def asked(gateway: Process, provider: str) -> Answer:
    """Send one request to a provider through a gateway."""
    head = [("Content-Type", "application/json")]
    return await exchange(gateway.url, request("POST", "/v1/chat/completions", head, BODY % provider.encode()))


async def test_a_proxy_with_credentials(upstream: Upstream, tmp_path: Path):
    """By the environment's proxy, by one's own, and directly; no file, page or log has the credentials."""
    async with RealProxy(tmp_path, "corp-user:planted-p@ss-word") as proxy:
        url = f"http://{LOGIN}@127.0.0.1:{proxy.port}"
        wrong = f"http://corp-user:planted-pwrong@127.0.0.1:{proxy.port}"
        toml = configuration(upstream, tmp_path, 'proxy = "${env:OWN_PROXY}"') + "\n[retry]\nmax_tries = 2"
        environ = {"HTTPS_PROXY": url, "OWN_PROXY": wrong, "GATEWAY_TOKEN": ""}
        async with Process(tmp_path, toml, environ=environ) as gateway:
            assert (await asked(gateway, "usual")).status == 200
            assert (await asked(gateway, "direct")).status == 200
            refused = await asked(gateway, "own")
            assert refused.status == 502
            expected = (
                f"localhost:{upstream.port}: the proxy 127.0.0.1:{proxy.port} answered 407: it needs credentials, "
                "or others; write them in the setting, as in http://user:pass@host:3128 "
                "(setting: $.providers.own.proxy)"
            )
            assert expected in refused.body.decode()
            page = await exchange(gateway.url, b"GET /-/config HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"$.providers.own.proxy" in page.body
            ran = await asyncio.to_thread(
                subprocess.run,
                [sys.executable, "-m", "gateway", "check", "-c", tmp_path / "gateway.toml", "--json"],
                capture_output=True,
                env={**os.environ, **environ},
                check=True,
            )
        rows = gateway.ask("SELECT outcome, error FROM exchanges ORDER BY started_at")
        assert [outcome for outcome, _ in rows] == ["ok", "ok", "permanent"]
        texts = [refused.body, page.body, ran.stdout, ran.stderr, gateway.log.read_bytes(), repr(rows).encode()]
        texts += [path.read_bytes() for path in gateway.data.rglob("*") if path.is_file()]
        for secret in SECRETS:
            assert not any(secret in text for text in texts)
        assert proxy.log().count(f"CONNECT localhost:{upstream.port}") == 1  # it logs tunnels when they close
    assert [each.header("Authorization") for each in upstream.asked] == ["Bearer k-usual", "Bearer k-direct"]
