"""What a request belongs to: headers of both names become columns, and a run's request stands below that run."""

import json
from uuid import uuid4

import msgspec
import pytest

from gateway.ids import run_span_id, step_span_id, trace_id
from gateway.proxy.routing.request_options import option_headers
from gateway.tracing.attributes import of_client, of_metadata
from gateway.tracing.metadata import metadata_of
from tests.support.gateways import InProcess
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
RUN, STEP = str(uuid4()), str(uuid4())
SAID = {
    "application": "shop",
    "environment": "prod",
    "organization-id": "o1",
    "project-id": "p1",
    "user-id": "u1",
    "workflow-id": "w1",
    "workflow-name": "Refunds",
    "run-id": RUN,
    "step-id": STEP,
    "step-index": "3",
    "prompt-id": "pr1",
    "prompt-version": "7",
    "extra-meta": '{"region": "eu"}',
}


async def post(gateway: InProcess, headers: list[tuple[str, str]]):
    """Send a chat request."""
    sent = [("Content-Type", "application/json"), *headers]
    return await exchange(gateway.url, request("POST", "/v1/chat/completions", sent, BODY))


@pytest.mark.parametrize("prefix", ["x-gateway-", "X-Chronicle-"])
async def test_all_of_it_becomes_columns(gateway: InProcess, upstream: Upstream, prefix):
    """By our names and by chronicle's; nothing of it goes to the provider."""
    answer = await post(gateway, [(prefix + name, value) for name, value in SAID.items()])
    assert answer.status == 200
    [row] = gateway.ask(
        "SELECT application, environment, organization_id, project_id, user_id, workflow_id, workflow_name, run_id, "
        "step_id, step_index, prompt_id, prompt_version, extra FROM exchanges"
    )
    expected = list(SAID.values())
    expected[9], expected[11] = 3, 7
    assert [*row[:-1], json.loads(row[-1])] == [*expected[:-1], json.loads(expected[-1])]
    assert not any(name.lower().startswith(("x-gateway", "x-chronicle")) for name, _ in upstream.asked[0].headers)


async def test_a_request_of_a_run_stands_below_its_step(gateway: InProcess):
    """Without a traceparent, the run's id says the trace and the step's the parent; without a step it is the run."""
    await post(gateway, [("x-gateway-run", RUN), ("x-gateway-step", STEP)])
    await post(gateway, [("x-gateway-run", "nightly")])
    first, second = gateway.rows("SERVER")
    assert (first["trace_id"], first["parent_span_id"]) == (trace_id(RUN), step_span_id(STEP, RUN))
    assert (second["trace_id"], second["parent_span_id"]) == (trace_id("nightly"), run_span_id("nightly"))


async def test_a_traceparent_goes_before_the_run(gateway: InProcess):
    """Who traces by itself is continued as it says; one that is malformed says nothing."""
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    await post(gateway, [("x-gateway-run", RUN), ("traceparent", given)])
    await post(gateway, [("x-gateway-run", RUN), ("traceparent", "00-0-0-0")])
    first, second = gateway.rows("SERVER")
    assert (first["trace_id"], first["parent_span_id"], first["run_id"]) == ("a" * 32, "b" * 16, RUN)
    assert second["trace_id"] == trace_id(RUN)


@pytest.mark.parametrize(
    ("header", "value", "said"),
    [
        ("x-gateway-step-index", "three", "a whole number"),
        ("x-gateway-prompt-version", "1.5", "a whole number"),
        ("x-chronicle-step-index", "9" * 30, "a whole number"),
        ("x-gateway-extra-meta", "[1]", "a JSON object"),
        ("x-gateway-extra-meta", "{", "a JSON object"),
        ("x-chronicle-run-id", "nightly", "a UUID"),
        ("x-chronicle-step-id", "1", "a UUID"),
    ],
)
async def test_a_wrong_value_is_told(gateway: InProcess, upstream: Upstream, header, value, said):
    """422, the header's name and what was expected; the exchange is stored, without the wrong value."""
    answer = await post(gateway, [(header, value), ("x-gateway-application", "shop")])
    assert answer.status == 422
    error = json.loads(answer.body)["error"]
    assert header in error["message"]
    assert said in error["message"]
    row = gateway.exchange()
    assert (row["http_status"], row["application"], row["outcome"]) == (422, "shop", "bad_input")
    assert row.get("step_index") is row.get("prompt_version") is None
    assert upstream.asked == []


def test_headers_and_bodies_say_it_alike():
    """What a body's metadata says has the names and the values that headers give it."""
    said = option_headers([(f"x-gateway-{name}".encode(), value.encode()) for name, value in SAID.items()])
    by_head, by_body = of_client("GET", "/", {}, said), of_metadata(metadata_of(said))
    assert json.loads(by_head.pop("gateway.extra")) == json.loads(by_body.pop("gateway.extra"))
    assert by_head == by_body | {"http.request.method": "GET", "url.path": "/"}


SYNONYMS = [("organization-id", "organization"), ("project-id", "project"), ("user-id", "user")]


@pytest.mark.parametrize(("one", "other"), [pair for each in SYNONYMS for pair in (each, each[::-1])])
def test_of_two_names_for_one_field_the_first_counts(one: str, other: str):
    """For spans and for events alike, in whichever order they come."""
    said = option_headers([(f"x-gateway-{one}".encode(), b"first"), (f"x-gateway-{other}".encode(), b"second")])
    by_head, by_body = of_client("GET", "/", {}, said), of_metadata(metadata_of(said))
    assert by_head == by_body | {"http.request.method": "GET", "url.path": "/"}
    assert "first" in by_head.values()
    assert "second" not in by_head.values()


NIL = "00000000-0000-0000-0000-000000000000"


def test_a_run_has_one_id_however_it_is_written():
    """In capitals or without dashes it is found beside what was told of it; what clients send for none is none."""
    for written in (RUN.upper(), RUN.replace("-", "")):
        headers = option_headers([(b"x-gateway-run", written.encode()), (b"x-gateway-step-id", NIL.encode())])
        metadata = msgspec.structs.replace(metadata_of(headers), run_id=written, step_id=NIL)
        for attributes in (of_client("POST", "/", {}, headers), of_metadata(metadata)):
            assert attributes["gateway.run.id"] == RUN
            assert "gateway.step.id" not in attributes
