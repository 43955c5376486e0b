"""The real Phoenix shows what the gateway sends: messages, tokens, cost, tools and sessions, by either vocabulary."""

import asyncio
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from tests.support.collector import ROOT, free_port
from tests.support.gateways import Process, to
from tests.support.upstream import Upstream, reply

pytestmark = pytest.mark.integration

VOCABULARIES = ("gen-ai", "openinference")
MODEL = "gpt-4o-mini"  # one that Phoenix has a price for
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": PARAMETERS}}
SPANS = """{ projects { edges { node { name
  sessions(first: 9) { edges { node { sessionId numTraces costSummary { total { cost tokens } } } } }
  spans(first: 9) { edges { node { name spanKind attributes tokenCountTotal tokenCountPrompt tokenCountCompletion
    input { value } output { value } costSummary { total { cost } } } } }
} } } }"""


class Phoenix(NamedTuple):
    """Where it is."""

    url: str

    def project(self, name: str) -> dict[str, Any]:
        """Return what its pages show of a project."""
        body = json.dumps({"query": SPANS}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as response:
            found = json.load(response)["data"]["projects"]["edges"]
        return next((each["node"] for each in found if each["node"]["name"] == name), {"spans": {"edges": []}})


def phoenix_python() -> Path:
    """Return the Python that has Phoenix; skip where it cannot be had, but fail in CI."""
    script = ROOT / "tests" / "tools" / "install_phoenix.sh"
    done = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"no Phoenix: {done.stderr.strip().splitlines()[-1:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture(name="phoenix", scope="module")
def _phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    folder = tmp_path_factory.mktemp("phoenix")
    port = free_port()
    environment = os.environ | {
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
    }
    log = folder / "log"
    with log.open("wb") as out:
        command = [str(phoenix_python()), "-m", "phoenix.server.main", "serve"]
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
        yield Phoenix(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


def answer(message: dict[str, Any], reason: str) -> list[Any]:
    """Return a completion."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return reply({"id": "c1", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": USAGE})


def talk(url: str, session: str) -> None:
    """Ask, be given a tool to call, and tell what came of it."""
    headers = {"x-gateway-session": session, "x-gateway-user": "ann"}
    said: list[Any] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How is Lisbon?"}]
    with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-x", default_headers=headers, max_retries=0) as client:
        client.chat.completions.create(model=MODEL, messages=said, tools=[TOOL])
        said += [
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        ]
        client.chat.completions.create(model=MODEL, messages=said, tools=[TOOL])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("vocabulary", VOCABULARIES)
async def test_the_llm_view_has_it_all(phoenix: Phoenix, upstream: Upstream, tmp_path: Path, vocabulary: str):
    """Of a talk with a tool: two calls of kind LLM, their messages, tokens, cost, one session; roots are none."""
    upstream.answers(
        answer({"content": None, "tool_calls": [CALL]}, "tool_calls"), answer({"content": "Sunny."}, "stop")
    )
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": phoenix.url,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_RESOURCE_ATTRIBUTES": f"openinference.project.name={vocabulary}",
    }
    toml = to(upstream.url, f'[otlp]\nvocabulary = "{vocabulary}"\n')
    async with Process(tmp_path, toml, environ=environ) as gateway:
        await asyncio.to_thread(talk, gateway.url, vocabulary)
        for _ in range(300):
            shown = await asyncio.to_thread(phoenix.project, vocabulary)
            spans = [each["node"] for each in shown["spans"]["edges"]]
            if len(spans) == 4 and all(
                (each["costSummary"] or {}).get("total") for each in spans if each["tokenCountTotal"]
            ):
                break
            await asyncio.sleep(0.1)
    calls = sorted((each for each in spans if each["spanKind"] == "llm"), key=lambda each: len(each["attributes"]))
    roots = [each for each in spans if each["spanKind"] != "llm"]
    assert [(len(calls), len(roots)), {each["tokenCountTotal"] for each in roots}] == [(2, 2), {0}]
    assert {each["name"] for each in calls} == {f"chat {MODEL}"}
    for each in calls:
        assert (each["tokenCountPrompt"], each["tokenCountCompletion"], each["tokenCountTotal"]) == (1000, 500, 1500)
        assert each["costSummary"]["total"]["cost"] == pytest.approx(0.00045)  # at 0.15 and 0.60 USD a million
    first, second = (json.loads(each["attributes"])["llm"] for each in calls)
    assert [message["message"]["role"] for message in first["input_messages"]] == ["system", "user"]
    assert first["input_messages"][1]["message"]["content"] == "How is Lisbon?"
    (asked,) = first["output_messages"][0]["message"]["tool_calls"]
    assert asked["tool_call"]["function"]["name"] == "weather"
    assert json.loads(asked["tool_call"]["function"]["arguments"]) == {"city": "Lisbon"}
    assert [message["message"]["role"] for message in second["input_messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]
    assert second["input_messages"][3]["message"]["content"] == "sunny"
    assert second["output_messages"][0]["message"]["content"] == "Sunny."
    for each in (first, second):
        schema = json.loads(each["tools"][0]["tool"]["json_schema"])
        assert schema.get("function", schema)["name"] == "weather"
        assert each["model_name"] == MODEL
    ((session,),) = [[edge["node"] for edge in shown["sessions"]["edges"]]]
    assert (session["sessionId"], session["numTraces"]) == (vocabulary, 2)
    assert session["costSummary"]["total"]["tokens"] == 3000
    if vocabulary == "openinference":  # its lists show these; by the conventions' names the messages do
        assert (calls[0]["input"]["value"], calls[1]["output"]["value"]) == ("How is Lisbon?", "Sunny.")
