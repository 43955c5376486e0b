"""Ingest requests: authorization, decoding of bodies, and the secrets to redact."""

import gzip
import json
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from gateway.dialects.wire.content_coding import MAX_DECODED, zstd
from gateway.server.ingest.request import _INLINE_BYTES, offload
from tests.support.gateways import InProcess, to
from tests.support.raw_http import connected, exchange, request

EVENT = {"type": "tick", "run_id": "r", "step_id": "s"}
BODY = json.dumps(EVENT).encode()
JSON = ("Content-Type", "application/json")


async def sent(gateway: InProcess, body: bytes, *headers: Any, path: str = "/events") -> tuple[int, dict[str, Any]]:
    """Send a body; return the status and the JSON."""
    answer = await exchange(gateway.url, request("POST", path, [JSON, *headers], body))
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("zstd", zstd.compress(BODY)),
        ("identity", BODY),
    ],
    ids=["gzip", "deflate", "zstd", "identity"],
)
async def test_a_body_is_decoded(coding: str, body: bytes, gateway: InProcess):
    """A body in any known content coding is read."""
    assert (await sent(gateway, body, ("Content-Encoding", coding)))[0] == 202
    assert len(gateway.events()) == 1


@pytest.mark.parametrize(
    ("coding", "body"),
    [("br", BODY), ("gzip", BODY), ("gzip", gzip.compress(BODY)[:-9])],
    ids=["unknown", "another", "cut short"],
)
async def test_a_body_that_cannot_be_decoded_is_415(coding: str, body: bytes, gateway: InProcess):
    """An unknown coding, another coding than the header's, and a body cut short are refused."""
    status, answer = await sent(gateway, body, ("Content-Encoding", coding))
    assert (status, answer["error"]["kind"]) == (415, "unreadable_coding")
    assert gateway.events() == []


@pytest.mark.parametrize(("path", "noun"), [("/events", "events"), ("/v1/traces", "spans")])
@pytest.mark.parametrize("encoded", [False, True])
async def test_a_body_beyond_what_is_decoded_is_413(path: str, noun: str, encoded: bool, tmp_path: Path):
    """A larger `$.limits.body_bytes` does not raise the limit of ingest, compressed or not."""
    body = bytes(MAX_DECODED + 1)
    headers = [("Content-Encoding", "gzip")] if encoded else []
    settings = to("http://127.0.0.1:9", f"[limits]\nbody_bytes = {2 * MAX_DECODED}\n")
    async with InProcess(tmp_path / "data", settings) as gateway, connected(gateway.url) as connection:
        data = request("POST", path, [JSON, *headers], gzip.compress(body, 1) if encoded else body)
        # The response may come before the whole body is sent.
        connection.writer.write(data if encoded else data[:1000])
        answer = await connection.answer("POST")
    assert answer.status == 413
    assert f"at most {MAX_DECODED} for {noun}); send fewer {noun}".encode() in answer.body


async def test_the_smaller_limit_counts(tmp_path: Path):
    """A smaller `$.limits.body_bytes` is the limit, to the byte, of the decoded body."""
    async with InProcess(
        tmp_path / "data", to("http://127.0.0.1:9", f"[limits]\nbody_bytes = {len(BODY)}\n")
    ) as gateway:
        assert (await sent(gateway, BODY))[0] == 202
        assert (await sent(gateway, BODY + b" "))[0] == 413
        assert (await sent(gateway, gzip.compress(BODY + b" " * 1000), ("Content-Encoding", "gzip")))[0] == 413


async def test_a_foreign_page_is_refused_unless_it_has_the_token(tmp_path: Path):
    """A page of another site needs the token, which lets it in."""
    async with InProcess(tmp_path / "data", to("http://127.0.0.1:9"), token="the-token", required=False) as gateway:
        foreign = ("Origin", "https://evil.example")
        assert (await sent(gateway, BODY, foreign))[0] == 403
        assert (await sent(gateway, BODY, foreign, ("x-gateway-token", "the-token")))[0] == 202


async def test_credentials_of_a_request_are_redacted_from_it(tmp_path: Path):
    """The gateway's token, and a key in a header, are redacted from the events of the request."""
    token, key = "token-0123456789-0123456789", "sk-0123456789-0123456789"
    async with InProcess(tmp_path / "data", to("http://127.0.0.1:9"), token=token) as gateway:
        event = EVENT | {"data": {"a": token, "b": key}}
        headers = (("x-gateway-token", token), ("x-api-key", key))
        assert (await sent(gateway, json.dumps(event).encode(), *headers))[0] == 202
        (line,) = gateway.events()
    assert token not in str(line)
    assert key not in str(line)


@pytest.mark.parametrize(("size", "inline"), [(0, True), (_INLINE_BYTES, True), (_INLINE_BYTES + 1, False)])
async def test_much_is_parsed_off_the_event_loop(size: int, inline: bool):
    """A large body is parsed in a thread, a small one on the event loop."""
    assert (await offload(size, threading.get_ident) == threading.get_ident()) is inline


async def test_errors_of_a_thread_are_raised():
    """An exception of the parser is raised to the caller."""
    with pytest.raises(ZeroDivisionError):
        await offload(_INLINE_BYTES + 1, lambda: 1 // 0)
