"""Aliases over real sockets: from candidate to candidate, whatever the dialects, and what is recorded of it."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.matrix.upstreams import UPSTREAMS
from tests.support.chat_clients import CLIENTS, QUICK, alias, answers, ask, chat_request, facts, fails, provider
from tests.support.gateway_errors import gateway_error
from tests.support.gateways import InProcess
from tests.support.raw_http import connected, exchange, request
from tests.support.upstream import Upstream, reply

CLAUDE, MINI = "claude-sonnet-5", "small-4"


@pytest.fixture(name="fleet")
async def _fleet(upstream: Upstream, second: Upstream, tmp_path: Path) -> AsyncIterator[InProcess]:
    """Start a worker for which `smart` is a Claude at `upstream`, then an OpenAI-compatible model at `second`."""
    toml = (
        provider("claude", "messages", upstream.url)
        + provider("mini", "chat", second.url)
        + provider("theirs", "responses", second.url)
        + alias("smart", f"claude/{CLAUDE}", f"mini/{MINI}")
        + alias("minis", f"mini/{MINI}", f"claude/{CLAUDE}")
        + alias("deep", "smart", f"theirs/{MINI}")
        + alias("lonely", f"claude/{CLAUDE}")
    )
    async with InProcess(tmp_path / "fleet", toml + QUICK) as gateway:
        yield gateway


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_every_client_falls_back_across_dialects(
    client: str, streamed: bool, upstream: Upstream, second: Upstream, fleet: InProcess
):
    """Each candidate is asked in its own dialect for its own model; the client is answered in the one it speaks."""
    upstream.answers(fails("messages", 529))
    answer = await ask(fleet, client, "smart", streamed=streamed)
    assert (answer.status, answer.whole) == (200, True)
    assert b"Good " in answer.body
    assert b"day." in answer.body
    (claude,), (mini,) = upstream.asked, second.asked
    assert (claude.target, claude.json["model"], claude.header("x-api-key")) == ("/v1/messages", CLAUDE, "planted")
    assert (mini.target, mini.json["model"]) == ("/v1/chat/completions", MINI)
    assert mini.header("authorization") == "Bearer planted"
    assert facts(fleet, "attempt", "provider", "dialect", "request_model", "outcome", "reason", "resend_count") == [
        (0, "claude", "anthropic-messages", CLAUDE, "server", "first", None),
        (1, "mini", "openai-chat", MINI, "ok", "fallback after server", 1),
    ]
    for row in fleet.rows("CLIENT"):
        (asked,) = row["input_messages"]
        assert asked["parts"] == [{"type": "text", "content": "hi"}]
    root = fleet.exchange()
    assert (root["request_model"], root["provider"], root["outcome"]) == ("smart", "mini", "ok")
    assert (root["attempts"], root["retries"], root["dialect"]) == (2, 1, UPSTREAMS[client].dialect)


@pytest.mark.parametrize("client", ["chat", "messages"])
async def test_where_the_dialect_is_the_same_only_the_model_changes(
    client: str, upstream: Upstream, second: Upstream, fleet: InProcess
):
    """A candidate that speaks the client's dialect is sent its very bytes, after another one was sent a translation."""
    own, other = (second, upstream) if client == "chat" else (upstream, second)
    other.answers(fails("messages" if client == "chat" else "chat", 500))
    own.answer = lambda asked: answers(client, asked)
    sent = chat_request(client, "smart" if client == "chat" else "minis", whatever={"x": [1.50, "ü"]})
    answer = await exchange(fleet.url, sent)
    assert answer.status == 200
    model, name = (MINI, b'"smart"') if client == "chat" else (CLAUDE, b'"minis"')
    assert own.asked[0].body == sent.partition(b"\r\n\r\n")[2].replace(name, b'"%s"' % model.encode())


async def test_the_order_is_the_aliases(upstream: Upstream, second: Upstream, fleet: InProcess):
    """The first candidate is asked as long as it answers; the next one is not."""
    upstream.answer = lambda asked: answers("messages", asked)
    for _ in range(3):
        assert (await ask(fleet, "chat", "smart")).status == 200
    assert (len(upstream.asked), len(second.asked)) == (3, 0)
    await ask(fleet, "chat", "minis")
    assert (len(upstream.asked), len(second.asked)) == (3, 1)


async def test_an_alias_in_an_alias(upstream: Upstream, second: Upstream, fleet: InProcess):
    """Its candidates stand in its place."""
    upstream.answers(fails("messages", 500))
    second.answer = lambda asked: answers("responses", asked) if "responses" in asked.target else fails("chat", 400)
    assert (await ask(fleet, "messages", "deep")).status == 200
    assert [row[0] for row in facts(fleet, "provider")] == ["claude", "mini", "theirs"]


async def test_who_cannot_be_asked_is_recorded_and_moved_on_from(
    upstream: Upstream, second: Upstream, fleet: InProcess
):
    """A request that a candidate's dialect has no word for goes to the next one, and both are attempts."""
    second.answer = lambda asked: answers("responses", asked)
    answer = await ask(fleet, "responses", "deep", previous_response_id="resp_1")
    assert answer.status == 200
    assert upstream.asked == []
    assert facts(fleet, "provider", "outcome", "http_status", "reason") == [
        ("claude", "bad_input", None, "first"),
        ("mini", "bad_input", None, "fallback after bad_input"),
        ("theirs", "ok", 200, "fallback after bad_input"),
    ]
    rows = fleet.rows("CLIENT")
    assert "goes on from 'resp_1'" in rows[0]["error"]
    for row in rows:  # what was asked is known of each
        assert row["input_messages"][0]["parts"] == [{"type": "text", "content": "hi"}]
    assert fleet.exchange()["outcome"] == "ok"


async def test_who_was_not_asked_has_not_answered(upstream: Upstream, second: Upstream, fleet: InProcess):
    """A request that a candidate cannot be sent does not close its circuit."""
    upstream.answers(fails("messages", 503))
    for _ in range(5):
        assert (await ask(fleet, "chat", "smart")).status == 200
    assert (await ask(fleet, "responses", "smart", previous_response_id="resp_1")).status == 400
    assert (await ask(fleet, "chat", "smart")).status == 200
    assert (len(upstream.asked), len(second.asked)) == (5, 6)


async def test_where_nobody_can_be_asked_the_client_is_told(upstream: Upstream, second: Upstream, fleet: InProcess):
    """It gets the last candidate's reason in its dialect, and each of them is an attempt."""
    answer = await ask(fleet, "responses", "smart", previous_response_id="resp_1")
    assert answer.status == 400
    assert "goes on from 'resp_1'" in gateway_error(answer, "openai")["message"]
    assert upstream.asked == second.asked == []
    assert facts(fleet, "provider", "outcome") == [("claude", "bad_input"), ("mini", "bad_input")]
    root = fleet.exchange()
    assert (root["outcome"], root["attempts"], root["request_model"]) == ("bad_input", 2, "smart")


async def test_where_the_only_one_cannot_be_asked_nothing_is_sent(upstream: Upstream, fleet: InProcess):
    """An alias of one candidate is as that candidate: an error of the gateway's, and no attempt."""
    answer = await ask(fleet, "responses", "lonely", previous_response_id="resp_1")
    assert answer.status == 400
    assert fleet.rows("CLIENT") == []
    assert upstream.asked == []
    assert fleet.exchange()["outcome"] == "bad_input"


async def test_the_last_failure_is_told_in_the_clients_dialect(upstream: Upstream, second: Upstream, fleet: InProcess):
    """What the last candidate said arrives as the client's SDK reads it; the first one may still recover."""
    upstream.answers(fails("messages", 529))
    second.answers(fails("chat", 400))
    answer = await ask(fleet, "messages", "smart")
    assert answer.status == 400
    assert answer.values(b"x-should-retry") == []
    error = json.loads(answer.body)
    assert (error["type"], error["error"]["type"]) == ("error", "invalid_request_error")
    assert "no: 400" in error["error"]["message"]
    assert fleet.exchange()["outcome"] == "bad_input"


@pytest.mark.parametrize(("first", "header"), [(529, []), (402, [b"false"])])
async def test_retries_are_useless_only_if_all_candidates_are_spent(
    first: int, header: list[bytes], upstream: Upstream, second: Upstream, fleet: InProcess
):
    """A used up quota of the last candidate stops the client's retries, unless an earlier one may recover."""
    upstream.answers(fails("messages", first))
    spent = {"error": {"message": "No.", "type": "insufficient_quota", "code": "insufficient_quota"}}
    second.answers(reply(spent, "429 Too Many Requests"))
    answer = await ask(fleet, "messages", "smart")
    assert (answer.status, answer.values(b"x-should-retry")) == (429, header)


async def test_embeddings_go_where_they_can(upstream: Upstream, second: Upstream, fleet: InProcess):
    """Embeddings cannot be translated: a provider that has none is moved on from."""
    second.answers([b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"])
    body = b'{"model": "smart", "input": "hi"}'
    answer = await exchange(fleet.url, request("POST", "/v1/embeddings", [("Content-Type", "application/json")], body))
    assert answer.status == 200
    assert upstream.asked == []
    assert second.asked[0].body == body.replace(b"smart", MINI.encode())


async def test_an_alias_below_a_mount_is_a_model(upstream: Upstream, fleet: InProcess):
    """A path that names the provider is meant: the alias's name is a model's there."""
    upstream.answer = lambda asked: answers("messages", asked)
    sent = chat_request("messages", "smart").replace(b"/v1/messages", b"/claude/v1/messages", 1)
    assert (await exchange(fleet.url, sent)).status == 200
    assert upstream.asked[0].json["model"] == "smart"


async def test_aliases_are_listed(upstream: Upstream, second: Upstream, fleet: InProcess):
    """`GET /v1/models` has the aliases beside the providers' models."""
    upstream.answers(fails("messages", 404))
    second.answers(fails("chat", 404))
    answer = await exchange(fleet.url, request("GET", "/v1/models"))
    names = [each["id"] for each in json.loads(answer.body)["data"]]
    assert names[:4] == ["smart", "minis", "deep", "lonely"]


@pytest.mark.parametrize(("model", "asked"), [("smart", 1), ("minis", 0)])
async def test_tokens_of_an_alias_are_counted(model: str, asked: int, upstream: Upstream, fleet: InProcess):
    """By the first candidate where it can count, under its model's name; else by an estimate."""
    upstream.answers(
        [b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n{"input_tokens":11}']
    )
    sent = chat_request("messages", model).replace(b"/v1/messages", b"/v1/messages/count_tokens", 1)
    answer = await exchange(fleet.url, sent)
    assert answer.status == 200
    assert [each.json["model"] for each in upstream.asked] == [CLAUDE] * asked
    assert (json.loads(answer.body) == {"input_tokens": 11}) == bool(asked)
    assert bool(answer.values(b"x-gateway-usage")) != bool(asked)


async def test_a_client_that_hangs_up_at_the_last_event_leaves_a_success(
    upstream: Upstream, second: Upstream, tmp_path: Path
):
    """Many clients close after `[DONE]`: the attempt was good, and it ends a row of failures."""
    toml = (
        provider("one", "chat", upstream.url)
        + provider("two", "chat", second.url)
        + alias("both", "one/m", "two/m")
        + QUICK
        + "max_tries = 1\n[circuit]\nfailures = 2\n"
    )
    async with InProcess(tmp_path / "data", toml) as gateway:
        for number in range(2):
            upstream.answers(fails("chat", 500))
            assert (await ask(gateway, "chat", "both")).status == 500
            if number == 0:
                upstream.answer = lambda asked: [*answers("chat", asked)[:-1], 30.0]  # all but the last chunk
                async with connected(gateway.url) as connection:
                    await connection.send(chat_request("chat", "both", streamed=True))
                    await connection.head()
                    body = b""
                    while b"[DONE]" not in body:
                        body += await connection.piece()
                await upstream.left()
        upstream.answer = second.answer
        assert (await ask(gateway, "chat", "both")).status == 200
        assert (len(upstream.asked), len(second.asked)) == (4, 0)
        assert facts(gateway, "outcome") == [("server",), ("ok",), ("server",), ("ok",)]


async def test_a_clients_key_does_not_fall_back_to_another_maker(upstream: Upstream, second: Upstream, tmp_path: Path):
    """The candidate that has no key of ours is sent nothing, and the client gets the first one's own failure."""
    toml = (
        f'[providers.anthropic]\nbase_url = "{upstream.url}"\n[providers.openai]\nbase_url = "{second.url}/v1"\n'
        + alias("smart", f"anthropic/{CLAUDE}", f"openai/{MINI}")
        + QUICK
    )
    upstream.answers(reply({"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}, "529 Busy"))
    async with InProcess(tmp_path / "data", toml) as gateway:
        body = b'{"model": "smart", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}'
        headers = [("x-api-key", "sk-ant-0123456789abcdef"), ("anthropic-version", "2023-06-01")]
        answer = await exchange(gateway.url, request("POST", "/v1/messages", headers, body))
        assert (answer.status, json.loads(answer.body)["error"]["message"]) == (529, "Busy")
        assert second.asked == []
        assert {asked.header("x-api-key") for asked in upstream.asked} == {"sk-ant-0123456789abcdef"}
        refused = [row for row in gateway.rows("CLIENT") if row["provider"] == "openai"]
        assert ["$.providers.openai.api_key" in row["error"] for row in refused] == [True]
