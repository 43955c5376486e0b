"""Forms with files over sockets: the model leads on, is renamed in place, and is in the store."""

from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest

from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream, events, reply, stream

TOML = """
[providers.openai]
base_url = "{url}/openai/v1"
api_key = "sk-ours"
[providers.local]
base_url = "{url}/local/v1"
[providers.azure-openai]
base_url = "{url}/azure"
[aliases.scribe]
candidates = ["local/whisper-large", "openai/whisper-1"]
[retry]
initial_backoff = 1.0
jitter = 0.0
"""
AUDIO = "/v1/audio/transcriptions"
TEXT = {"text": "Hello", "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}}


@pytest.fixture(name="gateway")
async def _gateway(upstream: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    async with InProcess(tmp_path / "data", TOML.format(url=upstream.url)) as gateway:
        yield gateway


def form(model: str | None) -> bytes:
    """Write a form as curl does: the file first, here with bytes that look like JSON and like a form."""
    file = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n{"model":"no"}\r\n--y\r\n'
    field = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % model.encode() if model else b""
    return file + field + b'--x\r\nContent-Disposition: form-data; name="language"\r\n\r\nde\r\n--x--\r\n'


async def post(gateway: InProcess, path: str, model: str | None, *headers: tuple[str, str]) -> int:
    """Send a form."""
    kind = ("Content-Type", "multipart/form-data; boundary=x")
    return (await exchange(gateway.url, request("POST", path, [kind, *headers], form(model)))).status


async def test_a_model_in_a_form_leads_on(upstream: Upstream, gateway: InProcess):
    """By a prefix, an alias with its fallback, a mount, a deployment and an option; only the model's bytes change."""
    down = reply({"error": {"message": "down"}}, "503 Down")
    upstream.answers(*[reply(TEXT)] * 2, down, *[reply(TEXT)] * 20)
    path, sent = AUDIO, []
    for target, model, provider, renamed in (
        (path, "whisper-1", "openai", "whisper-1"),
        (path, "local/größer", "local", "größer"),
        (path, "scribe", "local", "whisper-large"),
        (None, None, "openai", "whisper-1"),  # the fallback
        ("/v1/images/edits", "local/flux", "local", "flux"),
        ("/v1/videos", "local/sora-2", "local", "sora-2"),
        ("/local/v1/audio/translations", "local/m", "local", "local/m"),
        ("/openai/deployments/d/audio/transcriptions?api-version=1", "m", "azure-openai", "m"),
        (path, None, "openai", None),
    ):
        if target is not None:
            assert await post(gateway, target, model) == 200
        sent.append((provider, renamed))
    assert await post(gateway, path, "whisper-1", ("x-gateway-model", "local/other")) == 200
    sent.append(("local", "other"))
    rows = gateway.rows("CLIENT")
    assert [row["provider"] for row in rows] == [provider for provider, _ in sent]
    for asked, (_, model) in zip(upstream.asked, sent, strict=True):
        assert asked.body == form(model)
        assert asked.header("content-length") == str(len(asked.body))
        assert asked.header("content-type") == "multipart/form-data; boundary=x"
    assert [row.get("request_model") for row in rows] == [
        "whisper-1", "größer", "whisper-large", "whisper-1", "flux", None, "local/m", "d", None, "other",
    ]  # fmt: skip
    assert [row.get("operation") for row in rows[:6]] == ["transcription"] * 4 + ["generate_content", None]
    first = rows[0]
    assert (first["input_tokens"], first["output_tokens"], first["dialect"]) == (14, 45, "openai-chat")
    assert "Hello" in str(first["output_messages"])


async def test_openais_client_sends_forms(upstream: Upstream, gateway: InProcess):
    """A transcription that is streamed, and an image that is edited."""
    said = b'data: {"type":"transcript.text.delta","delta":"Hello"}\n\n'
    said += b'data: {"type":"transcript.text.done","text":"Hello","usage":{"input_tokens":1,"output_tokens":2}}\n\n'
    upstream.answers(stream(events(said)), reply({"created": 1, "data": [{"url": "https://x/y"}]}))
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="sk-x", max_retries=0) as client:
        told = await client.audio.transcriptions.create(model="local/scribe-1", file=("a.wav", b"RIFF"), stream=True)
        assert [each.type async for each in told] == ["transcript.text.delta", "transcript.text.done"]
        image = await client.images.edit(model="local/flux", image=("a.png", b"\x89PNG"), prompt="bluer")
        assert image.data is not None
        assert image.data[0].url == "https://x/y"
    assert [b"local/" in asked.body for asked in upstream.asked] == [False, False]
    first, second = gateway.rows("CLIENT")
    assert (first["request_model"], first["stream"], first["output_tokens"]) == ("scribe-1", True, 2)
    assert (second["request_model"], second["outcome"]) == ("flux", "ok")
