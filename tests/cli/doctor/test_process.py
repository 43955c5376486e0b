"""The client reads responses as far as they came, and the gateway's output is in the error of a failed start."""

import asyncio
import sys

import pytest

from gateway.cli.doctor.process import GatewayProcess, parse_response, send, send_all
from gateway.cli.doctor.requests import Expected, Request
from gateway.errors import GatewayError
from tests.cli.doctor.examples import loopback


def test_a_chunked_answer_is_read_across_its_chunks():
    """A canary that two chunks share is whole in the body."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parse_response(head + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n").body == b"abcde"
    assert parse_response(head + b"3\r\nabc\r\n9\r\nde").body == b"abcde"
    assert parse_response(head + b"3\r\nabc\r\nno size\r\nde").body == b"abcno size\r\nde"
    assert parse_response(b"").status == 0


def test_the_data_of_a_response_has_its_head():
    """A key in a header is found as well."""
    response = parse_response(b"HTTP/1.1 401 No\r\nx-key: a\r\nContent-Length: 1\r\n\r\nb")
    assert (response.status, response.body) == (401, b"b")
    assert b"x-key: a" in response.data


async def test_all_requests_are_sent_and_one_client_leaves_early():
    """Responses are by id; a client that disconnects gets the beginning, and the server sees it leave."""
    left = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + request[4:8])
        await writer.drain()
        if b"stay" in request:
            await reader.read()
            left.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    requests = [
        Request(id=name, row="r", case="", data=f"GET {name} HTTP/1.1\r\n\r\n".encode(), expected=Expected(),
                disconnects=name == "stay")
        for name in ("aaaa", "bbbb", "stay")
    ]  # fmt: skip
    progress = []
    responses = await send_all(port, requests, lambda done, total: progress.append((done, total)))
    await asyncio.wait_for(left.wait(), 5)
    assert {name: each.body for name, each in responses.items()} == {"aaaa": b"aaaa", "bbbb": b"bbbb", "stay": b"stay"}
    assert progress == [(1, 3), (2, 3), (3, 3)]
    server.close()
    await server.wait_closed()
    assert (await send(port, b"GET / HTTP/1.1\r\n\r\n")).status == 0


def test_a_gateway_that_ends_at_once_is_an_error_with_its_output(tmp_path):
    """The configuration is readable by its owner alone, and the log is where it was asked for."""
    (tmp_path / "run").mkdir()
    command = (sys.executable, "-c", "raise SystemExit('no such option')")
    gateway = GatewayProcess(command, tmp_path / "run", tmp_path / "log", loopback(toml="port = 0\n"))
    with pytest.raises(GatewayError, match=r"did not start.*no such option"):
        gateway.start()
    assert gateway.config.read_text() == "port = 0\n"
    assert gateway.config.stat().st_mode & 0o077 == 0
    assert b"no such option" in gateway.run("check")
