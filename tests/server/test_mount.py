"""Mounted requests: path, body and response are those of a gateway that listens itself."""

import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

import gateway
from gateway.server.mount import below
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream, reply, stream

JSON = ("Content-Type", "application/json")
BODY = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
CHAT = "/llm/v1/chat/completions"
MIB = 1024 * 1024


@asynccontextmanager
async def mounted(upstream: Upstream, data: Path, *prefixes: str, **options: Any) -> AsyncIterator[str]:
    """Serve an application that has the gateway below a path, by applications in each other where there are several.

    Its own signal puts a header on each response.
    """
    config = {
        "providers": {"openai": {"base_url": f"{upstream.url}/v1"}},
        "retry": {"max_tries": 1},
        "limits": {"body_bytes": 4 * MIB},
    }
    app = gateway.create_app(config, data=data, recorder="none", environ={})

    async def signed(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-host"] = "here"

    for prefix in prefixes:
        parent = web.Application()
        parent.add_subapp(prefix, app)
        app = parent
    app.on_response_prepare.append(signed)
    # `lingering_time`: how long aiohttp waits at the end for what is left of an upload.
    runner = web.AppRunner(app, lingering_time=0.1, **options)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


PATHS = {
    "/llm/v1/models?a=%2Fb": "/v1/models?a=%2Fb",
    "/%6clm/v1/models": "/v1/models",
    "/llm/v1/files/a%2Fb%20c": "/v1/files/a%2Fb%20c",
    "http://somewhere/llm/v1/models?x": "/v1/models?x",
}


@pytest.mark.parametrize(("asked", "target"), PATHS.items())
async def test_paths_below_a_mount_are_forwarded_byte_for_byte(upstream: Upstream, tmp_path, asked, target):
    """The path below the prefix is forwarded unchanged, however the client escaped the prefix."""
    async with mounted(upstream, tmp_path, "/llm/") as url:
        assert (await exchange(url, request("GET", asked))).status == 200
    assert [each.target for each in upstream.asked] == [target]


async def test_applications_within_applications(upstream: Upstream, tmp_path):
    """Prefixes of nested applications add up."""
    async with mounted(upstream, tmp_path, "/inner", "/outer/most") as url:
        assert (await exchange(url, request("GET", "/outer/most/inner/v1/models"))).status == 200
    assert upstream.asked[0].target == "/v1/models"


@pytest.mark.parametrize(
    ("raw", "prefix", "path"),
    [
        ("/llm/v1/x", "/llm", "/v1/x"),
        ("/llm", "/llm", "/"),
        ("/llm?a", "/llm", "/?a"),
        ("/a/b/c?d=/e/f", "/a/b", "/c?d=/e/f"),
        ("/a/b//c/", "/a/b", "//c/"),
        ("/v1/x", "", "/v1/x"),
        ("//", "", "//"),
    ],
)
def test_a_prefix_is_removed_by_its_segments(raw, prefix, path):
    """As many segments as the prefix has are removed; the rest of the path is unchanged."""
    assert below(raw, prefix) == path


CODINGS = {"gzip": gzip.compress(BODY), "deflate": zlib.compress(BODY)}


@pytest.mark.parametrize("decodes", [True, False])
@pytest.mark.parametrize("coding", CODINGS)
async def test_a_coded_body_is_what_its_headers_say(upstream: Upstream, tmp_path, coding, decodes):
    """A server that has decoded it leaves the header, which is not true any more; one that has not leaves both.

    Nothing else changes on the way, be it no text in any coding.
    """
    upstream.answer = lambda _asked: reply({"ok": True})
    options = {} if decodes else {"auto_decompress": False}
    headers: list[Any] = [JSON, ("Content-Encoding", coding), ("x-name", b"caf\xe9 \xff")]
    async with mounted(upstream, tmp_path, "/llm", **options) as url:
        assert (await exchange(url, request("POST", CHAT, headers, CODINGS[coding]))).status == 200
    (asked,) = upstream.asked
    expected = (None, BODY) if decodes else (coding, CODINGS[coding])
    assert (asked.header("content-encoding"), asked.body) == expected
    assert (asked.header("x-name") or "").encode("latin-1") == b"caf\xe9 \xff"


async def test_a_coding_that_the_server_does_not_know_stays(upstream: Upstream, tmp_path):
    """A coding that the server cannot decode stays in the headers."""
    headers = [("Content-Encoding", "aes128gcm")]
    async with mounted(upstream, tmp_path, "/llm") as url:
        assert (await exchange(url, request("POST", "/llm/v1/files", headers, b"\0\1\2"))).status == 200
    assert (upstream.asked[0].header("content-encoding"), upstream.asked[0].body) == ("aes128gcm", b"\0\1\2")


async def test_a_large_body_has_the_gateways_own_limit(upstream: Upstream, tmp_path):
    """The gateway's limit applies to proxied bodies and to pages, not the host's mebibyte."""
    large = b'{"model":"m","messages":[],"pad":"%b"}' % (b"x" * 3 * MIB)
    async with mounted(upstream, tmp_path, "/llm") as url:
        assert (await exchange(url, request("POST", CHAT, [JSON], large))).status == 200
        assert (await exchange(url, request("POST", CHAT, [JSON], large * 2))).status == 413
        page = request("POST", "/llm/-/sql", [JSON], large).replace(b"Host: test", b"Host: localhost")
        assert (await exchange(url, page)).status == 503  # it was read; there is no recorder to ask
    assert upstream.asked[0].body == large


async def test_the_host_application_prepares_each_response(upstream: Upstream, tmp_path):
    """The host's signals are sent for streams, for whole responses and for the gateway's own errors."""
    upstream.answers(stream([b"data: [DONE]\n\n"]), reply({"ok": True}))
    async with mounted(upstream, tmp_path, "/llm") as url:
        for path, status in ((CHAT, 200), (CHAT, 200), ("/llm/nowhere", 404), ("/llm/-/sql", 403)):
            answer = await exchange(url, request("POST", path, [JSON], BODY))
            assert (answer.status, answer.values(b"x-host")) == (status, [b"here"])
