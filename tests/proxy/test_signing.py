"""Requests that show a cloud's credentials: signed for AWS as botocore would, with Google's token for Vertex."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config as BotocoreConfig
from botocore.exceptions import ClientError

from gateway.config.model import parse
from gateway.dialects.bedrock import CONVERSE_WRITER
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Text, Usage
from gateway.dialects.events import synthesize
from gateway.dialects.wire.eventstream import CONTENT_TYPE
from gateway.providers.http.client import Client
from gateway.providers.table import build
from gateway.proxy.signing import CloudSigner
from gateway.proxy.upstream import Request
from tests.support.aws import NOWHERE, signed_by
from tests.support.gateways import InProcess
from tests.support.raw_http import Answer, exchange, request
from tests.support.upstream import Asked as Received
from tests.support.upstream import Step, Upstream, reply, stream

MODEL = "us.anthropic.claude-opus-5-20260701-v1:0"
ACCESS, SECRET, TOKEN = "AKIAEXAMPLE", "hidden-0123456789-0123456789", "session-0123456789-0123456789"
ENVIRON = NOWHERE | {
    "AWS_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": ACCESS,
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_SESSION_TOKEN": TOKEN,
}
ASKED = ChatRequest(operation="chat", model=MODEL)
ANSWER = ChatResponse(
    output_messages=[Message(role="assistant", parts=[Text(content="Good day.")], finish_reason="stop")],
    usage=Usage(input_tokens=5, output_tokens=2, total_tokens=7),
)
WHOLE = reply(CONVERSE_WRITER.response(ANSWER, ASKED, 0.0)[0])
JSON = ("Content-Type", "application/json")
HELLO = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
CHAT = {"model": f"bedrock/{MODEL}", "messages": [{"role": "user", "content": "hi"}]}


def streamed() -> list[Step]:
    """Make an answer as events."""
    writer = CONVERSE_WRITER.stream(ChatRequest(operation="chat", model=MODEL, stream=True), 0.0)
    return stream(filter(None, map(writer.write, synthesize(ANSWER))), content_type=CONTENT_TYPE)


def refused(word: str, message: str = "no") -> list[Step]:
    """Make a refusal of AWS's."""
    return reply({"message": message}, "403 Forbidden", [("x-amzn-ErrorType", f"{word}:http://internal/")])


def verifying(
    *scripts: list[Step], keys: tuple[str, str, str | None] = (ACCESS, SECRET, TOKEN)
) -> Callable[[Received], list[Step]]:
    """Answer what is signed with these keys, as botocore would sign it; refuse anything else."""
    left = list(scripts)

    def answer(asked: Received) -> list[Step]:
        if not signed_by(asked, "bedrock", *keys):
            return refused("InvalidSignatureException", "the signature is another")
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


def to(upstream: Upstream, more: str = "") -> str:
    """Return a configuration that sends Bedrock's requests to `upstream`."""
    retry = more or "initial_backoff = 1.0"
    return f'[providers.aws-bedrock]\nbase_url = "{upstream.url}"\n[retry]\njitter = 0.0\n{retry}\n'


async def post(gateway: InProcess, path: str, body: Any, *headers: tuple[str, str]) -> Answer:
    """Post JSON."""
    return await exchange(gateway.url, request("POST", path, [JSON, *headers], json.dumps(body).encode()))


def converse(url: str, action: str = "converse") -> Any:
    """Ask as botocore does, with keys of the client's own; return the text that came."""
    client = botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name="us-west-2",
        endpoint_url=url,
        aws_access_key_id="AKIACLIENT",
        aws_secret_access_key="another",
        aws_session_token="another-session",
        config=BotocoreConfig(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=30),
    )
    try:
        answer = getattr(client, action)(modelId=MODEL, **HELLO)
        if action == "converse":
            return answer["output"]["message"]["content"][0]["text"]
        told = [each["contentBlockDelta"]["delta"] for each in answer["stream"] if "contentBlockDelta" in each]
        return "".join(delta["text"] for delta in told)
    finally:
        client.close()


@pytest.mark.parametrize("path", ["", "/aws-bedrock"])
@pytest.mark.parametrize("action", ["converse", "converse_stream"])
async def test_what_a_client_signed_for_us_is_signed_anew(upstream: Upstream, tmp_path: Path, action, path):
    """With our keys and for the provider's host; nothing that the client signed with goes along."""
    upstream.answer = verifying(WHOLE if action == "converse" else streamed())
    async with InProcess(tmp_path / "data", to(upstream), ENVIRON) as gateway:
        assert await asyncio.to_thread(converse, gateway.url + path, action) == "Good day."
        (asked,) = upstream.asked
        assert "AKIACLIENT" not in str(asked)
        assert "another-session" not in str(asked)
        assert f"/{ENVIRON['AWS_REGION']}/bedrock/" in (asked.header("authorization") or "")
        row = gateway.attempt()
        assert (row["outcome"], row["provider"], row["request_model"]) == ("ok", "aws-bedrock", MODEL)


@pytest.mark.parametrize("more", [{}, {"stream": True}])
async def test_a_translated_request_is_signed(upstream: Upstream, tmp_path: Path, more):
    """Over its own body, whatever key the client has sent."""
    upstream.answer = verifying(streamed() if more else WHOLE)
    async with InProcess(tmp_path / "data", to(upstream), ENVIRON) as gateway:
        answer = await post(gateway, "/v1/chat/completions", CHAT | more, ("Authorization", "Bearer sk-client"))
        assert answer.status == 200
        assert b"Good day." in answer.body
        assert "sk-client" not in str(upstream.asked)


@pytest.mark.parametrize("path", ["/model/a%2Fb/invoke", "/aws-bedrock/model/x/async-invoke?b=%20&a=1&a"])
async def test_what_is_only_relayed_is_signed(upstream: Upstream, tmp_path: Path, path):
    """With every escape and the query as they are sent."""
    upstream.answer = verifying(reply({"ok": True}))
    async with InProcess(tmp_path / "data", to(upstream), ENVIRON) as gateway:
        assert (await post(gateway, path, {"a": "ü"}, ("X-Amzn-Bedrock-Trace", "ENABLED"))).status == 200
        assert upstream.asked[0].target == path.removeprefix("/aws-bedrock")


async def test_each_attempt_is_signed_when_it_is_sent(upstream: Upstream, tmp_path: Path):
    """A signature is good for minutes, a retry may come later: the second has a time of its own."""
    upstream.answer = verifying(reply({}, "503 X"), WHOLE)
    async with InProcess(tmp_path / "data", to(upstream, "initial_backoff = 1100.0"), ENVIRON) as gateway:
        assert (await post(gateway, f"/model/{MODEL}/converse", HELLO)).status == 200
        dates = [asked.header("x-amz-date") for asked in upstream.asked]
        assert len(set(dates)) == 2
        assert [row["outcome"] for row in gateway.rows("CLIENT")] == ["server", "ok"]


def written(home: Path, access: str, secret: str) -> None:
    """Write credentials as AWS's tools have them."""
    folder = home / ".aws"
    folder.mkdir(exist_ok=True)
    text = f"[default]\naws_access_key_id = {access}\naws_secret_access_key = {secret}\n"
    (folder / "credentials").write_text(text)


@pytest.mark.parametrize(
    ("word", "forgets"),
    [("ExpiredTokenException", True), ("UnrecognizedClientException", True), ("AccessDeniedException", False)],
)
async def test_credentials_that_are_refused_are_looked_for_again(upstream: Upstream, tmp_path: Path, word, forgets):
    """The client gets AWS's own refusal; its next request has what is there by then. Who lacks a right has the same."""
    environ = NOWHERE | {"AWS_REGION": "eu-west-1", "HOME": str(tmp_path)}
    written(tmp_path, "AKIAFIRST", "first")
    upstream.answer = verifying(refused(word, "told"), keys=("AKIAFIRST", "first", None))
    async with InProcess(tmp_path / "data", to(upstream), environ) as gateway:
        with pytest.raises(ClientError) as caught:
            await asyncio.to_thread(converse, gateway.url)
        assert caught.value.response["Error"] == {"Message": "told", "Code": word}
        assert gateway.attempt()["outcome"] == "auth"
        written(tmp_path, "AKIASECOND", "second")
        keys = ("AKIASECOND", "second", None) if forgets else ("AKIAFIRST", "first", None)
        upstream.answer = verifying(WHOLE, keys=keys)
        assert (await post(gateway, "/v1/chat/completions", CHAT)).status == 200
        assert len(upstream.asked) == 2


async def test_what_is_signed_with_is_in_no_span(upstream: Upstream, tmp_path: Path):
    """AWS repeats what it has made of a request whose signature is wrong, a session's token too."""
    said = f"The Canonical String should have been\nPOST\n\nx-amz-security-token:{TOKEN}\n{SECRET}"
    upstream.answer = verifying(refused("InvalidSignatureException", said))
    async with InProcess(tmp_path / "data", to(upstream), ENVIRON) as gateway:
        own = await post(gateway, f"/model/{MODEL}/converse", HELLO)
        other = await post(gateway, "/v1/chat/completions", CHAT)
        assert (own.status, other.status) == (403, 403)
        assert TOKEN.encode() not in other.body
        rows = json.dumps(gateway.rows())
        assert "Canonical String" in rows
        assert [secret for secret in (TOKEN, SECRET) if secret in rows] == []


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        (f"/model/{MODEL}/converse", HELLO, "__type"),
        ("/v1/chat/completions", CHAT, "error"),
    ],
)
async def test_where_there_are_no_credentials_it_is_said_what_to_set(
    upstream: Upstream, tmp_path: Path, path, body, word
):
    """In the client's words; nothing is sent."""
    environ = NOWHERE | {"AWS_REGION": "eu-west-1", "HOME": str(tmp_path)}
    async with InProcess(tmp_path / "data", to(upstream), environ) as gateway:
        answer = await post(gateway, path, body)
        assert answer.status == 401
        assert word in json.loads(answer.body)
        assert b"AWS_ACCESS_KEY_ID" in answer.body
        assert upstream.asked == []
        assert gateway.attempt()["outcome"] == "auth"


async def test_a_bedrock_key_is_shown_and_nothing_signed(upstream: Upstream, tmp_path: Path):
    """The environment's, and before it a client's own."""
    upstream.answers(WHOLE)
    environ = ENVIRON | {"AWS_BEARER_TOKEN_BEDROCK": "ours"}
    async with InProcess(tmp_path / "data", to(upstream), environ) as gateway:
        await asyncio.to_thread(converse, gateway.url)
        await post(gateway, f"/model/{MODEL}/converse", HELLO, ("Authorization", "Bearer mine"))
        await post(gateway, "/v1/chat/completions", CHAT, ("Authorization", "Bearer mine"))
    shown = [asked.header("authorization") for asked in upstream.asked]
    assert shown == ["Bearer ours", "Bearer mine", "Bearer ours"]
    assert [asked.header("x-amz-date") for asked in upstream.asked] == [None] * 3


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.us-west-2.amazonaws.com", "us-west-2"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("vpce-1-a.bedrock-runtime.ap-south-1.vpce.amazonaws.com", "ap-south-1"),
        ("bedrock-runtime.eu-north-1.api.aws", "eu-north-1"),
        ("proxy.example", "eu-west-1"),
        ("bedrock-runtime.evil.example", "eu-west-1"),
    ],
)
async def test_a_signature_is_for_the_region_that_the_host_says(host, region):
    """Where it says none, for the environment's."""
    client = Client()
    provider = build(parse(f'[providers.aws-bedrock]\nbase_url = "https://{host}"', {}, "t"), {})["aws-bedrock"]
    signer = CloudSigner(client, ENVIRON, lambda: 1_790_000_000.0)
    asked = Request(method=b"POST", target=b"/model/x/converse", headers=(), body=b"{}")
    signed = await signer.signed(provider, "bedrock-converse", asked)
    authorization = dict(signed.headers)[b"Authorization"].decode()
    assert f"{ACCESS}/20260921/{region}/bedrock/aws4_request" in authorization
    assert set(signer.secrets) == {SECRET, TOKEN}
    await client.close()


# Google's.

VERTEX = "/v1/projects/p/locations/eu/publishers/google"
GENERATED = reply(
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "Good day."}]}, "finishReason": "STOP"}]}
)
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def at_google(upstream: Upstream) -> tuple[str, dict[str, str]]:
    """Return a configuration, and an environment whose metadata server is `upstream` too."""
    environ = {
        "GOOGLE_CLOUD_PROJECT": "p",
        "GOOGLE_CLOUD_LOCATION": "eu",
        "GCE_METADATA_HOST": upstream.url.removeprefix("http://"),
        "GOOGLE_CLOUD_QUOTA_PROJECT": "payer",
    }
    return f'[providers.vertex]\nbase_url = "{upstream.url}"\n', environ


def machine(*answers: list[Step]) -> Callable[[Received], list[Step]]:
    """Give tokens as a machine at Google's gets them, one after the other, and answer all else."""
    left, count = list(answers), 0

    def answer(asked: Received) -> list[Step]:
        nonlocal count
        if asked.target.startswith("/computeMetadata/"):
            count += 1
            token = {"access_token": f"token-{count}-0123456789-0123456789", "expires_in": 3000, "token_type": "Bearer"}
            return reply(token, headers=[("Metadata-Flavor", "Google")])
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


async def test_vertex_is_shown_a_token(upstream: Upstream, tmp_path: Path):
    """By its own path and by a model's name, in both of its dialects; a client's own key goes before it by a path."""
    upstream.answer = machine(GENERATED)
    toml, environ = at_google(upstream)
    async with InProcess(tmp_path / "data", toml, environ | {"HOME": str(tmp_path)}) as gateway:
        chat = {"model": "vertex/g", "messages": [{"role": "user", "content": "hi"}]}
        assert (await post(gateway, f"{VERTEX}/models/g:generateContent", CONTENTS)).status == 200
        await post(gateway, "/v1/messages", chat | {"max_tokens": 1}, ("x-api-key", "mine"))
        await post(gateway, "/v1/chat/completions", chat, ("Authorization", "Bearer mine"))
        await post(gateway, f"{VERTEX}/models/g:generateContent", CONTENTS, ("Authorization", "Bearer mine"))
        await post(gateway, "/v1beta1/publishers/google/models/g:generateContent?key=mine", CONTENTS)
        asked = [each for each in upstream.asked if not each.target.startswith("/computeMetadata/")]
        ours = "Bearer token-1-0123456789-0123456789"
        assert [each.header("authorization") for each in asked] == [ours, ours, ours, "Bearer mine", None]
        assert [each.header("x-goog-user-project") for each in asked] == ["payer"] * 3 + [None] * 2
        assert asked[2].target == "/v1/projects/p/locations/eu/endpoints/openapi/chat/completions"
        assert asked[4].target.endswith("?key=mine")
        assert len(upstream.asked) == 6
        assert "token-1-" not in json.dumps(gateway.rows())


async def test_a_token_that_is_refused_is_looked_for_again(upstream: Upstream, tmp_path: Path):
    """Google says 401; the next request has a new one."""
    upstream.answer = machine(reply({"error": {"code": 401, "message": "no"}}, "401 X"), GENERATED)
    toml, environ = at_google(upstream)
    async with InProcess(tmp_path / "data", toml, environ | {"HOME": str(tmp_path)}) as gateway:
        answers = [await post(gateway, f"{VERTEX}/models/g:generateContent", CONTENTS) for _ in range(3)]
        assert [answer.status for answer in answers] == [401, 200, 200]
    shown = [asked.header("authorization") for asked in upstream.asked if "computeMetadata" not in asked.target]
    assert [value[7:14] for value in shown if value] == ["token-1", "token-2", "token-2"]
