"""The scripted provider answers in the dialect of the path, and repeats every key that it is shown."""

import pytest

from gateway.cli.doctor.configuration import DIALECTS
from gateway.cli.doctor.process import send
from gateway.cli.doctor.provider import Provider
from gateway.cli.doctor.requests import Builder
from gateway.cli.doctor.scanner import Scanner
from gateway.dialects.registry import classify, in_path
from tests.cli.doctor.examples import loopback, planted_canaries


async def play(dialect: str, **play: object):
    """Send one request to the provider; return the request, the response and all canaries."""
    canaries, _, _ = planted_canaries()
    request = Builder(canaries, loopback(), "127.0.0.1:9").chat("row", dialect, mount=DIALECTS[dialect], **play)
    async with Provider() as provider:
        provider.expect({request.id: request})
        port = int(provider.url.rpartition(":")[2])
        response = await send(port, request.data, disconnects=request.disconnects)
        count = provider.received[request.id]
    assert count == 1
    return request, response, canaries


def reader_of(request):
    """Return how responses to a request are read."""
    path = request.data.split(b" ")[1].decode().partition("?")[0]
    named = in_path("POST", path)
    return named.dialect if named else classify("POST", path)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_whole_answer_has_a_text_with_the_keys_and_a_tool_call(dialect):
    """The gateway's own reader finds both."""
    request, response, canaries = await play(dialect)
    answer = reader_of(request).read_response(response.body)
    text, call = answer.output_messages[0].parts
    assert text.content.startswith(request.texts[0])
    assert call.arguments == {"q": request.texts[1]}
    kinds = {hit.canary.kind for hit in Scanner(canaries).find(response.body, ("secret",))}
    assert {f"a client's key, as clients of {dialect} show it", "a cookie", "a key in the query (?key=)"} <= kinds


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("script", ["answer", "broken"])
async def test_a_stream_ends_or_breaks(dialect, script):
    """A broken stream has content, and no terminal event."""
    request, response, _ = await play(dialect, stream=True, script=script)
    reader = reader_of(request).stream_reader()
    reader.feed(response.body)
    assert reader.ended is (script == "answer")
    assert reader.first_output
    assert request.texts[0].split(" ")[0] in str(reader.response().output_messages)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [400, 401, 429, 500])
async def test_an_error_repeats_the_keys_in_several_encodings(dialect, status):
    """It is an error of the dialect, with its status."""
    request, response, canaries = await play(dialect, script="refuse", status=status)
    assert response.status == status
    assert reader_of(request).read_response(response.body).error_message.startswith("Incorrect key")
    forms = {hit.form for hit in Scanner(canaries).find(response.body, ("secret",)) if hit.canary}
    assert forms >= {"JSON-escaped" if status == 400 else "plain", "percent-encoded", "base64"}
    assert b"WWW-Authenticate" in response.head


@pytest.mark.parametrize(("script", "status"), [("garbage", 0), ("reset", 0), ("retry", 500)])
async def test_failing_scripts(script, status):
    """Bytes that are no HTTP, a reset, and a first attempt that fails."""
    _, response, _ = await play("openai-chat", script=script)
    assert response.status == status


async def test_a_stream_that_hangs_begins():
    """The client that leaves has got something before."""
    request, response, _ = await play("anthropic-messages", script="hang", stream=True, disconnects=True)
    assert response.status == 200
    assert response.body
    assert request.disconnects
