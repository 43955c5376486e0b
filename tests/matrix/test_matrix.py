"""The matrix: real SDKs as clients, each dialect as the provider's, and what is asked and answered.

A table of its cells is printed at the end of a run.
"""

from typing import Any

import openai
import pytest

from tests.matrix import clients, expected
from tests.matrix.clients import Ask
from tests.matrix.scenes import CASES, Case
from tests.matrix.upstreams import UPSTREAMS
from tests.support.gateways import InProcess
from tests.support.sdks import KEY, facts, recorded
from tests.support.upstream import Upstream

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # of Google's package

TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("provider", UPSTREAMS)
@pytest.mark.parametrize("client", expected.SPEAKS)
async def test_cell(
    client: str, provider: str, name: str, stream: bool, ask: Ask, upstream: Upstream, gateway: InProcess, note
):
    """The provider is asked what the client asked, the client gets what was answered, and both are in the store."""
    speaks, case = UPSTREAMS[provider], CASES[name]
    upstream.answer = lambda asked: speaks.answer(case.completion, asked)
    got = await clients.got(ask(gateway.url, speaks.asked_for, case, stream))
    (asked,) = upstream.asked
    assert speaks.heard(asked) == expected.heard(client, provider, case, stream=stream)
    assert got._replace(calls=expected.made_ids(got.calls)) == expected.got(client, provider, case)
    root, (attempt,) = recorded(gateway)
    lost = expected.short(attempt["attributes"].get("gateway.dropped", []))
    assert lost == expected.lost(client, provider, case, stream=stream)
    note(case=name, lost=lost)
    check_rows(root, attempt, client, provider, case, stream=stream)


def check_rows(
    root: dict[str, Any], attempt: dict[str, Any], client: str, provider: str, case: Case, *, stream: bool
) -> None:
    """Require what the store must say of a cell."""
    speaks = UPSTREAMS[provider]
    assert facts(root, "outcome", "dialect", "stream", "provider") == (
        "ok",
        expected.SPEAKS[client],
        stream,
        speaks.provider,
    )
    assert root["request_model"] == speaks.asked_for
    assert facts(attempt, "outcome", "dialect", "stream", "usage_source") == ("ok", speaks.dialect, stream, "reported")
    assert attempt["request_model"] == speaks.model
    assert facts(attempt, *TOKENS) == expected.tokens(provider, case)
    assert attempt["finish_reasons"] == [case.completion.finish]
    (message,) = attempt["output_messages"]
    output = [(part["type"], part.get("content") or part.get("arguments")) for part in message["parts"]]
    thoughts = [("reasoning", "".join(case.completion.thought))] if case.completion.thought else []
    texts = [("text", "".join(case.completion.text))] if case.completion.text else []
    assert output == [*thoughts, *texts, *(("tool_call", call.arguments) for call in case.completion.calls)]
    roles = [each["role"] for each in attempt["input_messages"] if each["role"] not in {"system", "developer"}]
    assert [role for n, role in enumerate(roles) if roles[n - 1 : n] != [role]] == [role for role, _ in case.turns]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_client_is_told_what_is_lost(stream: bool, upstream: Upstream, gateway: InProcess):
    """A header names it, before the first byte of a stream as far as it is known by then; nothing lost, no header."""
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        for provider in ("ollama", "messages"):
            speaks, case = UPSTREAMS[provider], CASES["tools"]
            upstream.answer = lambda asked, speaks=speaks, case=case: speaks.answer(case.completion, asked)
            function: Any = {"name": "f", "description": "F", "parameters": {"type": "object", "properties": {}}}
            raw = await client.chat.completions.with_raw_response.create(
                model=speaks.asked_for,
                messages=[{"role": "user", "content": "Hello"}],
                tools=[{"type": "function", "function": function}],
                tool_choice="required",
                stream=stream,
            )
            dropped = raw.headers.get("x-gateway-dropped", "").split(", ")
            assert ("tool_choice" in dropped) == (provider == "ollama")
            assert (dropped == [""]) == (provider == "messages")
            await raw.http_response.aread()
