"""Botocore as a client: what is written for it reaches its user over real sockets, errors as the classes it has."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anthropic
import botocore.session
import pytest
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from gateway.dialects import events
from gateway.dialects.bedrock import CONVERSE, CONVERSE_WRITER
from gateway.dialects.conversation import ChatRequest, ChatResponse, Message, Text, ToolCall, Usage
from gateway.dialects.events import synthesize
from gateway.dialects.wire import eventstream
from gateway.errors import Kind
from gateway.providers.auth.aws import AwsCredentials, authorized
from gateway.providers.auth.sigv4 import Credentials, sign
from gateway.providers.http.client import Client, Origin
from tests.support.aws import seconds, signed_by
from tests.support.gateways import InProcess
from tests.support.sdks import HELLO, MESSAGE
from tests.support.upstream import CLOSE, Upstream, reply, stream

MODEL = "us.anthropic.claude-opus-5-20260701-v1:0"
NOW = 1_795_162_800.0
KEY = Credentials(access_key="AKIAEXAMPLE", secret_key="hidden")
ASKED = ChatRequest(operation="chat", model=MODEL, stream=True)
MESSAGES = [
    {"role": "user", "content": [{"text": "Hi"}, {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}]}
]
ANSWER = ChatResponse(
    output_messages=[
        Message(
            role="assistant",
            parts=[Text(content="Hello, 世界"), ToolCall(id="call_1", name="look", arguments={"a": 1})],
            finish_reason="tool_calls",
        )
    ],
    usage=Usage(input_tokens=5, output_tokens=2, total_tokens=7),
)


@pytest.fixture(name="client")
async def _client(upstream: Upstream) -> AsyncIterator[BaseClient]:
    """Botocore's client, without retries."""

    def made() -> BaseClient:
        return botocore.session.Session().create_client(
            "bedrock-runtime",
            region_name="us-east-1",
            endpoint_url=upstream.url,
            aws_access_key_id=KEY.access_key,
            aws_secret_access_key=KEY.secret_key,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=30),
        )

    client = await asyncio.to_thread(made)
    yield client
    client.close()


def collected(client: BaseClient, **request: Any) -> list[dict[str, Any]]:
    """Ask for a stream and return its events."""
    with closing(client.converse_stream(modelId=MODEL, **request)["stream"]) as told:
        return list(told)


async def test_what_botocore_sends_is_read(upstream: Upstream, client: BaseClient) -> None:
    """A request's path and body say what the caller asked; its signature is the one that we would make."""
    upstream.answers(reply(CONVERSE_WRITER.response(ANSWER, ASKED, NOW)[0]))
    await asyncio.to_thread(client.converse, modelId=MODEL, messages=MESSAGES, inferenceConfig={"maxTokens": 9})
    (asked,) = upstream.asked
    read = CONVERSE.read_conversation(asked.body, asked.target)
    assert read.model == MODEL
    assert read.input_messages[0].parts[0] == Text(content="Hi")
    assert read.parameters == {"gen_ai.request.max_tokens": 9}
    signature = asked.header("Authorization") or ""
    names = signature.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    ours = sign(
        asked.method,
        asked.header("Host") or "",
        asked.target,
        "",
        [(name.encode(), (asked.header(name) or "").encode()) for name in names],
        asked.body,
        KEY,
        region="us-east-1",
        service="bedrock",
        now=seconds(asked.header("X-Amz-Date")),
    )
    assert ours[-1] == (b"Authorization", signature.encode())


async def test_a_response_reaches_botocores_user(upstream: Upstream, client: BaseClient) -> None:
    """Text, a tool call and the usage are what was answered."""
    upstream.answers(reply(CONVERSE_WRITER.response(ANSWER, ASKED, NOW)[0]))
    response = await asyncio.to_thread(client.converse, modelId=MODEL, messages=MESSAGES)
    assert response["output"]["message"]["content"] == [
        {"text": "Hello, 世界"},
        {"toolUse": {"toolUseId": "call_1", "name": "look", "input": {"a": 1}}},
    ]
    assert response["stopReason"] == "tool_use"
    assert response["usage"] == {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}


async def test_a_stream_reaches_botocores_user(upstream: Upstream, client: BaseClient) -> None:
    """Each event arrives, cut anywhere on its way."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    data = b"".join([writer.write(event) for event in synthesize(ANSWER)])
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)]
    upstream.answers(stream(pieces, content_type=eventstream.CONTENT_TYPE))
    told = await asyncio.to_thread(collected, client, messages=MESSAGES)
    assert [next(iter(event)) for event in told] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockStop",
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert told[4]["contentBlockDelta"]["delta"] == {"toolUse": {"input": '{"a":1}'}}
    assert upstream.asked[0].target.endswith("/converse-stream")


async def test_a_break_is_raised_in_the_stream(upstream: Upstream, client: BaseClient) -> None:
    """An exception's frame is botocore's EventStreamError."""
    writer = CONVERSE_WRITER.stream(ASKED, NOW)
    told = (events.Begun(), events.Broken(type="overloaded_error", message="busy"))
    upstream.answers(stream([writer.write(event) for event in told], content_type=eventstream.CONTENT_TYPE))
    with pytest.raises(EventStreamError, match="busy"):
        await asyncio.to_thread(collected, client, messages=MESSAGES)


@pytest.mark.parametrize(
    ("kind", "status", "exception"),
    [
        (Kind.RATE_LIMIT, 429, "ThrottlingException"),
        (Kind.AUTH, 403, "AccessDeniedException"),
        (Kind.BAD_INPUT, 400, "ValidationException"),
        (Kind.NOT_FOUND, 404, "ResourceNotFoundException"),
        (Kind.SERVER, 500, "InternalServerException"),
        (Kind.SENDING, 503, "ServiceUnavailableException"),
    ],
)
async def test_an_error_is_botocores_own_exception(
    upstream: Upstream, client: BaseClient, kind: Kind, status: int, exception: str
) -> None:
    """Callers that catch `client.exceptions.ThrottlingException` catch ours."""
    upstream.answers(reply(CONVERSE_WRITER.error(kind, status, "the reason", None, "r"), status=f"{status} X"))
    with pytest.raises(ClientError, match="the reason") as raised:
        await asyncio.to_thread(client.converse, modelId=MODEL, messages=MESSAGES)
    assert isinstance(raised.value, getattr(client.exceptions, exception))


async def test_what_we_send_is_what_botocore_sends(upstream: Upstream, client: BaseClient) -> None:
    """A request read and written again goes to the same path with the same body, and with a signature that holds."""
    upstream.answers(reply(CONVERSE_WRITER.response(ANSWER, ASKED, NOW)[0]))
    await asyncio.to_thread(client.converse, modelId=MODEL, messages=MESSAGES)
    (theirs,) = upstream.asked
    written = CONVERSE_WRITER.request(CONVERSE.read_conversation(theirs.body, theirs.target))
    origin, _ = Origin.from_url(upstream.url)
    wire = Client()
    chain = AwsCredentials({"AWS_ACCESS_KEY_ID": KEY.access_key, "AWS_SECRET_ACCESS_KEY": KEY.secret_key})
    headers = authorized(
        await chain.get(NOW),
        "POST",
        str(origin),
        written.path,
        "",
        [(b"Content-Type", b"application/json"), (b"Accept", b"application/json")],
        written.body,
        region="eu-west-1",
        now=NOW,
    )
    response = await wire.send(
        origin, b"POST", written.path.encode(), headers, written.body, connect_timeout=10, first_byte_timeout=10
    )
    assert CONVERSE.read_response(await response.read(10)).finish_reasons == ["tool_calls"]
    await wire.close()
    ours = upstream.asked[1]
    assert (ours.target, ours.json) == (theirs.target, theirs.json)
    assert signed_by(ours, "bedrock", KEY.access_key, KEY.secret_key)


def to_bedrock(upstream: Upstream) -> str:
    """Return a configuration that sends Bedrock's requests to `upstream`."""
    aliases = '[aliases.smart]\ncandidates = ["bedrock/anthropic.claude-sonnet-5"]\n'
    return f'[providers.aws-bedrock]\nbase_url = "{upstream.url}"\napi_key = "k"\n[retry]\nmax_tries = 1\n{aliases}'


def chunks(read: Callable[[str], bytes]) -> list[bytes]:
    """Frame the events of Anthropic's own stream as Bedrock does."""
    lines = [line.removeprefix(b"data: ") for line in read("messages_text.sse").splitlines() if line[:6] == b"data: "]
    return [eventstream.event("chunk", b'{"bytes":"%b"}' % b64encode(line)) for line in lines if b'"ping"' not in line]


async def test_anthropics_bedrock_client(upstream: Upstream, read: Callable[[str], bytes], tmp_path: Path) -> None:
    """InvokeModel is relayed as it came, whole and streamed, by an alias too; the rows have Claude's messages."""
    counted = [("x-amzn-bedrock-input-token-count", "9"), ("x-amzn-bedrock-output-token-count", "7")]
    upstream.answers(
        reply({key: value for key, value in MESSAGE.items() if key != "usage"}, headers=counted),
        stream(chunks(read), content_type=eventstream.CONTENT_TYPE),
    )
    async with InProcess(tmp_path / "data", to_bedrock(upstream)) as gateway:
        async with anthropic.AsyncAnthropicBedrock(base_url=gateway.url, api_key="k", aws_region="eu-west-1") as client:
            whole = await client.messages.create(model="anthropic.claude-opus-5", max_tokens=9, messages=HELLO)
            assert whole.content[0].to_dict() == MESSAGE["content"][0]
            asked: Any = {"model": "smart", "max_tokens": 9, "messages": HELLO, "stream": True}
            told = [each async for each in await client.messages.create(**asked)]
        assert told[-1].type == "message_stop"
        assert [each.target for each in upstream.asked] == [
            "/model/anthropic.claude-opus-5/invoke",
            "/model/anthropic.claude-sonnet-5/invoke-with-response-stream",
        ]
        first, second = gateway.rows("CLIENT")
        assert (first["dialect"], first["operation"], first["outcome"]) == ("bedrock-invoke", "chat", "ok")
        assert (first["request_model"], first["input_tokens"], first["output_tokens"]) == (
            "anthropic.claude-opus-5", 9, 7,
        )  # fmt: skip
        assert "Hello" in str(first["input_messages"])
        assert (second["request_model"], second["stream"], second["outcome"]) == (
            "anthropic.claude-sonnet-5", True, "ok",
        )  # fmt: skip
        assert (second["finish_reasons"], second["input_tokens"] is not None) == (["stop"], True)
        assert "Good day." in str(first["output_messages"])


async def test_a_break_of_invoke_is_raised(upstream: Upstream, read: Callable[[str], bytes], tmp_path: Path) -> None:
    """The client gets an error in the stream, not an end, if the provider's connection breaks between two events."""
    upstream.answers(stream(chunks(read)[:3], content_type=eventstream.CONTENT_TYPE, end=CLOSE))
    async with InProcess(tmp_path / "data", to_bedrock(upstream)) as gateway:
        async with anthropic.AsyncAnthropicBedrock(base_url=gateway.url, api_key="k", aws_region="eu-west-1") as client:
            asked: Any = {"model": "anthropic.claude", "max_tokens": 9, "messages": HELLO, "stream": True}
            told = await client.messages.create(**asked)
            with pytest.raises(anthropic.APIError, match="aws-bedrock"):
                [each async for each in told]
        assert gateway.attempt()["outcome"] == "upstream_abort"
