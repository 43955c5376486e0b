"""The retry loop over real sockets: its retries, their waits, and the client's final response."""

import asyncio
import gzip
import json
import socket
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from gateway.proxy.attempts import ERROR_BODY_MAX
from tests.support.gateways import InProcess, to
from tests.support.raw_http import Answer, connected, exchange, request
from tests.support.upstream import CLOSE, RESET, Step, Upstream, reply, stream

CHAT = b'{"model":"gpt-5","messages":[{"role":"user","content":"hi"}]}'
WHOLE = {"id": "c1", "model": "gpt-5-1", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}]}
GOOD = reply(WHOLE)
# Bytes of a response that says it has 100.
BROKEN_BODY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


async def post(url: str, body: bytes = CHAT, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Post a chat completion as a client would, and return all that came back."""
    head = [("Content-Type", "application/json"), *headers]
    return await exchange(url, request("POST", "/v1/chat/completions", head, body))


def failure(status: int, headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """Return a provider's error response."""
    return reply({"error": {"message": f"no: {status}", "type": "test"}}, f"{status} Nope", headers)


def outcomes(gateway: InProcess) -> list[tuple[Any, ...]]:
    """Return what the attempts' rows say of their place in the loop."""
    keys = ("attempt", "outcome", "reason", "resend_count", "backoff_ms", "http_status", "error_type")
    return [tuple(row.get(key) for key in keys) for row in gateway.rows("CLIENT")]


RETRIED = {429: "rate_limit", 500: "server", 502: "server", 503: "server", 504: "server", 529: "server", 599: "server"}
NOT_RETRIED = dict.fromkeys((400, 404, 405, 406, 413, 415, 422, 431), "bad_input")
NOT_RETRIED |= {401: "auth", 403: "auth", 402: "out_of_credits", 501: "unsupported"}
NOT_RETRIED |= dict.fromkeys((408, 409, 410, 418, 425, 451), "permanent")


@pytest.mark.parametrize(("status", "kind"), RETRIED.items())
async def test_a_status_that_may_pass_is_tried_again(upstream: Upstream, gateway: InProcess, status, kind):
    """Rate limits and server errors are tried max_tries times, each wait twice the one before, each with its span."""
    upstream.answers(failure(status))
    answer = await post(gateway.url)
    assert answer.status == status
    assert answer.values(b"x-should-retry") == []
    assert len(upstream.asked) == 4
    assert {(asked.body, asked.target) for asked in upstream.asked} == {(CHAT, "/v1/chat/completions")}
    again = f"retry after {kind}"
    assert outcomes(gateway) == [
        (0, kind, "first", None, None, status, str(status)),
        (1, kind, again, 1, 1.0, status, str(status)),
        (2, kind, again, 2, 2.0, status, str(status)),
        (3, kind, again, 3, 4.0, status, str(status)),
    ]
    exchange_row = gateway.exchange()
    assert (exchange_row["attempts"], exchange_row["retries"], exchange_row["outcome"]) == (4, 3, kind)
    assert exchange_row["rate_limited"] is (status == 429)


@pytest.mark.parametrize(("status", "kind"), NOT_RETRIED.items())
async def test_a_status_that_does_not_pass_is_not(upstream: Upstream, gateway: InProcess, status, kind):
    """Bad input, refused keys, no credits and other client errors are the client's at once, which may retry itself."""
    upstream.answers(failure(status))
    answer = await post(gateway.url)
    assert answer.status == status
    assert answer.values(b"x-should-retry") == ([b"false"] if status == 501 else [])
    assert outcomes(gateway) == [(0, kind, "first", None, None, status, str(status))]
    assert (gateway.exchange()["outcome"], gateway.exchange()["retries"]) == (kind, 0)


def google(*details: dict[str, Any]) -> dict[str, Any]:
    """Return Google's error of a limit, with these details."""
    typed = [{"@type": f"type.googleapis.com/google.rpc.{each.pop('of')}", **each} for each in map(dict, details)]
    return {"error": {"code": 429, "message": "No.", "status": "RESOURCE_EXHAUSTED", "details": typed}}


async def test_a_used_up_quota_is_not_tried_again(upstream: Upstream, gateway: InProcess):
    """A 429 that no wait mends is one attempt, and keeps SDKs from sending the request again."""
    quota = {"of": "QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    spent = [
        {"error": {"message": "No.", "code": "insufficient_quota"}},
        google(quota, {"of": "RetryInfo", "retryDelay": "0s"}),
    ]
    for body in spent:
        upstream.answers(reply(gzip.compress(json.dumps(body).encode()), "429 No", [("Content-Encoding", "gzip")]))
        answer = await post(gateway.url)
        assert (answer.status, answer.values(b"x-should-retry")) == (429, [b"false"])
    upstream.answers(reply(spent[0], "500 No"))
    assert (await post(gateway.url)).values(b"x-should-retry") == []
    assert [row[1] for row in outcomes(gateway)] == ["out_of_credits"] * 2 + ["server"] * 4


async def test_a_wait_in_the_body_is_waited_for(upstream: Upstream, gateway: InProcess):
    """Google's RetryInfo lengthens the backoff; a header of the provider's comes first."""
    info = {"of": "RetryInfo", "retryDelay": "0.030s"}
    upstream.answers(reply(google(info), "429 No"), reply([google(info)], "503 No", [("retry-after-ms", "20")]), GOOD)
    assert (await post(gateway.url)).status == 200
    assert [row[4] for row in outcomes(gateway)] == [None, 30.0, 20.0]


async def test_the_providers_trace_and_limits_pass_as_they_came(upstream: Upstream, gateway: InProcess):
    """What the provider sends of its trace, its ids, its limits and retries is not replaced; ours has its own name."""
    theirs = [
        ("traceresponse", f"00-{'a' * 32}-{'b' * 16}-01"),
        ("X-Should-Retry", "true"),
        ("Retry-After", "86400"),
        ("anthropic-ratelimit-unified-reset", "1790000000"),
        ("x-ratelimit-reset-requests", "1s"),
        ("request-id", "req_1"),
    ]
    for status in ("429 No", "200 OK", "501 No"):
        upstream.answers(reply({"ok": 1}, status, theirs))
        answer = await post(gateway.url)
        assert [(n.decode(), v.decode()) for n, v in answer.headers if (n.decode(), v.decode()) in theirs] == theirs
        assert [answer.values(name.lower().encode()) for name, _ in theirs] == [[value.encode()] for _, value in theirs]
        assert answer.values(b"x-gateway-trace-id") == [gateway.rows("SERVER")[-1]["trace_id"].encode()]


async def test_a_stale_connection_costs_an_attempt_of_its_own(upstream: Upstream, gateway: InProcess):
    """A request whose kept connection ends without a byte is sent again at once, with a span for each time."""
    upstream.answers(GOOD, [CLOSE], GOOD)
    assert [(await post(gateway.url)).status for _ in range(2)] == [200, 200]
    assert [row[:5] for row in outcomes(gateway)] == [
        (0, "ok", "first", None, None),
        (0, "upstream_abort", "first", None, None),
        (1, "ok", "stale connection", 1, 0.0),
    ]
    assert len(upstream.asked) == 3
    assert [row["retries"] for row in gateway.rows("SERVER")] == [0, 1]


async def test_one_try_is_one_request_on_a_stale_connection_too(upstream: Upstream, tmp_path):
    """With max_tries = 1 no request is written twice, whatever the provider may have read of it."""
    upstream.answers(GOOD, [CLOSE], GOOD)
    async with InProcess(tmp_path / "data", to(upstream.url, "max_tries = 1\n")) as gateway:
        first, second = [await post(gateway.url) for _ in range(2)]
        assert (first.status, second.status, second.values(b"x-should-retry")) == (200, 502, [])
        assert json.loads(second.body)["error"]["code"] == "stale_connection"
        assert [row[1] for row in outcomes(gateway)] == ["ok", "upstream_abort"]
        assert len(upstream.asked) == 2


BROKEN: dict[str, tuple[list[Step], str]] = {
    "reset before the head": ([RESET], "upstream_abort"),
    "closed before the head": ([CLOSE], "upstream_abort"),
    "closed within the head": ([b"HTTP/1.1 200 OK\r\nContent-", CLOSE], "upstream_abort"),
    "garbage": ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n", CLOSE], "parsing"),
    "a head that never stops": ([b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 20_000, CLOSE], "parsing"),
    "closed after the head of a whole response": ([BROKEN_BODY, CLOSE], "upstream_abort"),
    "reset after the head of a whole response": ([BROKEN_BODY, 0.01, RESET], "upstream_abort"),
    "an error whose body breaks": ([BROKEN_BODY.replace(b"200 OK", b"500 No") + b"{", CLOSE], "upstream_abort"),
}


@pytest.mark.parametrize(("steps", "kind"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_connection_is_tried_again(upstream: Upstream, gateway: InProcess, steps, kind):
    """While the client has had no byte a broken connection is tried again, and the next answer is the client's."""
    upstream.answers(steps, GOOD)
    answer = await post(gateway.url)
    assert (answer.status, answer.body) == (200, GOOD[0].partition(b"\r\n\r\n")[2])
    assert answer.values(b"x-should-retry") == []
    assert [row[:5] for row in outcomes(gateway)] == [
        (0, kind, "first", None, None),
        (1, "ok", f"retry after {kind}", 1, 1.0),
    ]
    assert (gateway.exchange()["outcome"], gateway.exchange()["retries"]) == ("ok", 1)


@pytest.mark.parametrize(("steps", "kind"), BROKEN.values(), ids=BROKEN.keys())
async def test_a_connection_that_stays_broken_is_an_error_of_ours(upstream: Upstream, gateway: InProcess, steps, kind):
    """After max_tries the client gets 502 in its own dialect, which names the provider and the setting."""
    upstream.answers(steps)
    answer = await post(gateway.url)
    assert answer.status == 502
    assert answer.values(b"x-should-retry") == []
    assert b"$.providers.openai.base_url" in answer.body
    assert [row[1] for row in outcomes(gateway)] == [kind] * 4
    row = gateway.exchange()
    assert (row["outcome"], row["attempts"], row["http_status"], row["status"]) == (kind, 4, 502, "ERROR")
    assert "'openai'" in row["error"]


async def test_a_refused_connection_is_tried_again(tmp_path):
    """A provider that is not there is `sending`, four times, and 502 for the client."""
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with InProcess(tmp_path / "data", to(url)) as gateway:
            answer = await post(gateway.url)
            assert (answer.status, answer.values(b"x-should-retry")) == (502, [])
            assert [row[1] for row in outcomes(gateway)] == ["sending"] * 4
            assert [row[5:] for row in outcomes(gateway)] == [(None, "sending")] * 4


async def test_a_connection_that_is_not_made_in_time_is_tried_again(tmp_path):
    """Too slow to connect is a failure of connecting, not of the provider's thinking: it is tried again."""
    with closing(socket.socket()) as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        where = deaf.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:  # they fill its backlog, so that the next one hears nothing
            each.setblocking(False)
            each.connect_ex(where)
        toml = to(f"http://127.0.0.1:{where[1]}", "max_tries = 2\n[timeouts]\nconnect = 0.1\n")
        async with InProcess(tmp_path / "data", toml) as gateway:
            answer = await post(gateway.url)
            assert answer.status == 502
            assert b"$.timeouts.connect" in answer.body
            assert [row[1] for row in outcomes(gateway)] == ["sending"] * 2
        for each in waiting:
            each.close()


SLOW: dict[str, list[Step]] = {
    "no head": [30.0, CLOSE],
    "no body": [BROKEN_BODY, 30.0, CLOSE],
    "no end of an error's body": [BROKEN_BODY.replace(b"200 OK", b"500 No") + b"{", 30.0, CLOSE],
}


@pytest.mark.parametrize("steps", SLOW.values(), ids=SLOW.keys())
async def test_a_timeout_is_not_tried_again(upstream: Upstream, tmp_path, steps):
    """What took too long once would do so again: 504, one attempt, and the provider is let go of."""
    toml = to(upstream.url, "[timeouts]\nfirst_byte = 0.15\nidle = 0.15\n")
    upstream.answers(steps)
    async with InProcess(tmp_path / "data", toml) as gateway:
        answer = await post(gateway.url)
        assert answer.status == 504
        assert b"$.timeouts." in answer.body
        assert answer.values(b"x-should-retry") == []
        assert [row[1] for row in outcomes(gateway)] == ["timeout"]
        assert gateway.exchange()["outcome"] == "timeout"
        await upstream.left()
    assert len(upstream.asked) == 1


TOLD: list[tuple[dict[str, str], float]] = [
    ({"retry-after-ms": "30"}, 30),
    ({"Retry-After": "0.04"}, 40),
    ({"Retry-After": "0"}, 1),
    ({"Retry-After": "Tue, 14 Nov 2023 22:13:20 GMT"}, 1),
    ({"x-ratelimit-reset-requests": "50ms", "x-ratelimit-remaining-requests": "0"}, 50),
    ({"x-ratelimit-reset-tokens": "0.06s"}, 60),
    ({"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "17"}, 1),
    ({"Retry-After": "soon"}, 1),
]


@pytest.mark.parametrize(("headers", "milliseconds"), TOLD)
async def test_a_rate_limit_is_waited_for_as_long_as_the_provider_says(
    upstream: Upstream, gateway: InProcess, headers, milliseconds
):
    """The span says how long was waited: the backoff, or the provider's own word where that is longer."""
    upstream.answers(failure(429, headers.items()), GOOD)
    assert (await post(gateway.url)).status == 200
    first, second = gateway.rows("CLIENT")
    assert second["backoff_ms"] == milliseconds
    # What was waited lies between the two attempts; the clock of their starts is coarser than the wait's own.
    waited_ns = second["start_ns"] - first["start_ns"] - first["duration_ns"]
    assert waited_ns >= (milliseconds - 1.5) * 1e6
    assert gateway.exchange()["rate_limited"] is True
    assert gateway.ask("SELECT retries, rate_limited, outcome FROM exchanges") == [(1, True, "ok")]


@pytest.mark.parametrize(
    ("name", "more", "seconds"),
    [
        ("Retry-After", {}, 1.3),
        ("anthropic-ratelimit-tokens-reset", {"anthropic-ratelimit-tokens-remaining": "0"}, 0.3),
        ("anthropic-ratelimit-requests-reset", {}, 0.3),
    ],
)
async def test_a_rate_limit_is_waited_for_until_the_time_that_the_provider_says(
    upstream: Upstream, gateway: InProcess, name, more, seconds
):
    """An HTTP date, in whole seconds, or RFC 3339: nothing is tried before, however long the machine takes."""
    began = datetime.now(UTC)
    until = began + timedelta(seconds=seconds)
    if name == "Retry-After":
        until = until.replace(microsecond=0)
    said = format_datetime(until, usegmt=True) if name == "Retry-After" else until.isoformat()
    upstream.answers(failure(429, [(name, said), *more.items()]), GOOD)
    assert (await post(gateway.url)).status == 200
    second = gateway.rows("CLIENT")[1]
    assert second["backoff_ms"] <= max(1, (until - began).total_seconds() * 1000)
    assert second["start_ns"] >= (until.timestamp() - 0.0015) * 1e9


TOO_LONG = ({"Retry-After": "6"}, {"retry-after-ms": "5001"}, {"x-ratelimit-reset-tokens": "6m0s"})


@pytest.mark.parametrize("headers", TOO_LONG)
async def test_a_rate_limit_longer_than_max_backoff_is_given_up_at_once(upstream: Upstream, gateway, headers):
    """The client is told when to come back, and that it may: nothing was tried again here."""
    upstream.answers(failure(429, headers.items()))
    answer = await post(gateway.url)
    assert answer.status == 429
    ((name, value),) = headers.items()
    assert answer.values(name.encode()) == [value.encode()]
    assert answer.values(b"x-should-retry") == []
    assert [row[1] for row in outcomes(gateway)] == ["rate_limit"]


async def test_a_rate_limit_longer_than_max_backoff_is_waited_for_where_that_is_set(upstream: Upstream, tmp_path):
    """With fail_if_rate_limit_exceeds_max_backoff off the wait is as long as the provider says."""
    toml = to(upstream.url, "max_backoff = 5.0\nfail_if_rate_limit_exceeds_max_backoff = false\n")
    upstream.answers(failure(429, [("retry-after-ms", "40")]), GOOD)
    async with InProcess(tmp_path / "data", toml) as gateway:
        assert (await post(gateway.url)).status == 200
        assert outcomes(gateway)[1][:5] == (1, "ok", "retry after rate_limit", 1, 40.0)


@pytest.mark.parametrize(("said", "waited"), [("0.04", 40.0), ("3600", 60.0), ("0", 1.0), ("soon", 1.0)])
async def test_a_server_error_is_waited_for_within_max_backoff(upstream: Upstream, tmp_path, said, waited):
    """A 503 may say when to come back: that lengthens the wait up to max_backoff; reset times of limits do not."""
    upstream.answers(failure(503, [("Retry-After", said), ("x-ratelimit-reset-tokens", "55ms")]), GOOD)
    async with InProcess(tmp_path / "data", to(upstream.url, "max_backoff = 60.0\n")) as gateway:
        assert (await post(gateway.url)).status == 200
        assert outcomes(gateway)[1][4] == waited


async def test_the_policy_is_the_configurations(upstream: Upstream, tmp_path):
    """max_tries, the increase and jitter are as `[retry]` says."""
    toml = (
        f'[providers.openai]\nbase_url = "{upstream.url}"\n[retry]\nmax_tries = 3\ninitial_backoff = 2.0\n'
        'jitter = 3.0\nincrease = {type = "additive", amount = 5.0}\n'
    )
    upstream.answers(failure(500))
    async with InProcess(tmp_path / "data", toml) as gateway:
        await post(gateway.url)
        second, third = (row[4] for row in outcomes(gateway)[1:])
    assert 2.0 <= second <= 5.0
    assert 7.0 <= third <= 10.0


async def test_one_try_leaves_retrying_to_the_client(upstream: Upstream, tmp_path):
    """With max_tries = 1 a failure is passed on as it is, and no word on retrying is added."""
    upstream.answers(failure(503))
    async with InProcess(tmp_path / "data", to(upstream.url, "max_tries = 1\n")) as gateway:
        answer = await post(gateway.url)
        assert (answer.status, answer.values(b"x-should-retry")) == (503, [])
        assert len(upstream.asked) == 1


@pytest.mark.parametrize(("status", "said", "tries"), [(500, "false", 1), (429, "false", 1), (400, "true", 4)])
async def test_the_providers_own_word_on_retrying_is_obeyed(upstream: Upstream, gateway, status, said, tries):
    """`x-should-retry` of a provider stops retries, or asks for them, and reaches the client as it came."""
    upstream.answers(failure(status, [("X-Should-Retry", said)]))
    answer = await post(gateway.url)
    assert answer.status == status
    assert len(upstream.asked) == tries
    assert answer.values(b"x-should-retry") == [said.encode()]


async def test_the_last_failure_is_the_providers_own_bytes(upstream: Upstream, gateway: InProcess):
    """Status, reason, headers in their order and case, and the body arrive as the provider sent them."""
    headers = [
        ("x-request-id", "req_1"),
        ("Retry-After", "0"),
        ("X-RateLimit-Remaining-Requests", "0"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Server", "cloudflare"),
    ]
    body = b'{ "error" : {"message":"\\u00fcber\xff", "type":null} }\n'
    upstream.answers(reply(body, "503 Take A Break", headers, content_type="application/problem+json"))
    answer = await post(gateway.url)
    assert (answer.status, answer.reason, answer.body) == (503, b"Take A Break", body)
    theirs = [(b"Content-Type", b"application/problem+json"), (b"Content-Length", str(len(body)).encode())]
    theirs += [(name.encode(), value.encode()) for name, value in headers]
    assert [header for header in answer.headers if header in theirs] == theirs
    ours = {name.lower() for name, value in answer.headers if (name, value) not in theirs}
    assert ours == {b"x-gateway-trace-id", b"traceresponse"}


@pytest.mark.parametrize("size", [1024 * 1024, 1024 * 1024 + 1])
async def test_an_error_body_of_any_size_passes(upstream: Upstream, gateway: InProcess, size):
    """A large error body is relayed as it comes and is no success; up to a mebibyte it is read, and tried again."""
    body = b'{"error": {"message": "%b"}}' % (b"x" * (size - 26))
    assert len(body) == size
    upstream.answers(reply(body, "500 Nope"))
    answer = await post(gateway.url)
    assert (answer.status, answer.body, answer.whole) == (500, body, True)
    tries = 4 if size <= 1024 * 1024 else 1
    assert [row[1] for row in outcomes(gateway)] == ["server"] * tries
    row = gateway.exchange()
    assert (row["outcome"], row["error_type"], row["status"]) == ("server", "500", "ERROR")


async def test_nothing_is_tried_again_after_a_byte_of_a_body(upstream: Upstream, gateway: InProcess):
    """A whole response that breaks after some of it was passed on is the client's, incomplete, and one attempt."""
    begun = b'{"id": "' + b"x" * ERROR_BODY_MAX
    head = BROKEN_BODY.replace(b"100", b"%d" % (len(begun) + 9))
    upstream.answers([head, begun, 0.05, CLOSE], GOOD)
    answer = await post(gateway.url)
    assert (answer.status, answer.body, answer.whole) == (200, begun, False)
    assert [row[1] for row in outcomes(gateway)] == ["upstream_abort"]
    assert gateway.exchange()["outcome"] == "upstream_abort"


async def test_a_small_body_that_breaks_is_tried_again(upstream: Upstream, gateway: InProcess):
    """Nothing of a small body is passed on before it is whole, so that another attempt can take its place."""
    upstream.answers([BROKEN_BODY, b'{"id"', 0.05, CLOSE], GOOD)
    answer = await post(gateway.url)
    assert (answer.status, json.loads(answer.body), answer.whole) == (200, WHOLE, True)
    assert [row[1] for row in outcomes(gateway)] == ["upstream_abort", "ok"]


ERROR_IN_200 = {"error": {"message": "no", "code": 429}}
FAILURES: dict[str, tuple[list[Step], str, str | None]] = {
    "an error object": (reply(ERROR_IN_200), "rate_limit", "429"),
    "an empty body": (reply(b""), "parsing", "parsing"),
    "a page": (reply(b"<html>hello</html>", content_type="text/html"), "parsing", "parsing"),
    "half of a body": (reply(b'{"id": "c1", "choices": ['), "parsing", "parsing"),
    "a finish word of failure": (
        reply({"id": "c1", "choices": [{"index": 0, "message": {}, "finish_reason": "insufficient_system_resource"}]}),
        "server",
        "insufficient_system_resource",
    ),
    "an error event": (
        stream([b'data: {"error": {"message": "no", "type": "overloaded_error"}}\n\n']),
        "server",
        "overloaded_error",
    ),
    "an error event after a sign of life": (
        stream([b': OPENROUTER PROCESSING\n\ndata: {"error": {"message": "no", "code": 429}}\n\n']),
        "rate_limit",
        "429",
    ),
    "an error event, coded": (
        stream([gzip.compress(b'event: error\ndata: {"message": "no"}\n\n')], [("Content-Encoding", "gzip")]),
        "server",
        "server",
    ),
    "an error in a stream's type": (reply(ERROR_IN_200, content_type="text/event-stream"), "rate_limit", "429"),
    "an error event in no type": (
        reply(b'data: {"error": {"message": "no", "code": 429}}\n\n', content_type="text/plain"),
        "rate_limit",
        "429",
    ),
    "no event": (stream([]), "upstream_abort", "upstream_abort"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_in_a_success_is_tried_again(name: str, upstream: Upstream, gateway: InProcess):
    """The status says 200 and the body does not: another attempt is made, and the last bytes are the provider's."""
    failing, kind, error_type = FAILURES[name]
    upstream.answers(failing, GOOD, failing)
    assert json.loads((await post(gateway.url)).body) == WHOLE
    assert [(row["outcome"], row.get("error_type")) for row in gateway.rows("CLIENT")] == [
        (kind, error_type),
        ("ok", None),
    ]
    straight = await exchange(upstream.url, request("POST", "/v1/chat/completions", [], CHAT))
    answer = await post(gateway.url)
    assert (answer.status, answer.body, answer.whole) == (200, straight.body, True)
    assert [row["outcome"] for row in gateway.rows("CLIENT")[2:]] == [kind] * 4
    assert gateway.rows("SERVER")[-1]["outcome"] == kind


async def test_a_sign_of_life_is_passed_on_at_once(upstream: Upstream, gateway: InProcess):
    """A comment before the first event reaches the client before that event is sent, and commits the response."""
    gate, comment = asyncio.Event(), b": keep-alive\n\n"
    upstream.answers(stream([comment, gate, b'data: {"error": {"message": "no", "code": 429}}\n\n']), GOOD)
    async with connected(gateway.url) as connection:
        await connection.send(request("POST", "/v1/chat/completions", [("Content-Type", "application/json")], CHAT))
        assert (await connection.head())[0] == 200
        assert await connection.piece() == comment
        gate.set()
        assert b'"no"' in await connection.rest()
        assert connection.whole
    assert [row["outcome"] for row in gateway.rows("CLIENT")] == ["rate_limit"]


async def test_nothing_is_tried_again_after_the_head_of_a_stream(upstream: Upstream, gateway: InProcess):
    """A stream that breaks is one attempt; the client is told in the stream, and sees that it is not whole."""
    delta = b'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"w"}}]}\n\n'
    upstream.answers(stream([delta, 0.05, delta, 0.05], end=CLOSE), GOOD)
    answer = await post(gateway.url, CHAT[:-1] + b',"stream":true}')
    assert (answer.status, answer.whole) == (200, False)
    told = answer.body.removeprefix(delta * 2)
    assert told.startswith(b'data: {"error":')
    assert [row[:2] for row in outcomes(gateway)] == [(0, "upstream_abort")]
    row = gateway.exchange()
    assert (row["outcome"], row["attempts"], row["status"]) == ("upstream_abort", 1, "ERROR")


async def test_a_client_that_leaves_during_a_wait_ends_the_exchange(upstream: Upstream, tmp_path):
    """No further attempt is made for it, it has got no status, and the wait is not the gateway's own work."""
    upstream.answers(failure(503), GOOD)
    toml = to(upstream.url).replace("initial_backoff = 1.0", "initial_backoff = 5000.0")
    async with InProcess(tmp_path / "data", toml) as gateway:
        async with connected(gateway.url) as client:
            head = [("Content-Type", "application/json")]
            await client.send(request("POST", "/v1/chat/completions", head, CHAT))
            await gateway.ended(1, "CLIENT")
            await asyncio.sleep(0.2)
        await gateway.ended()
        row = gateway.exchange()
        assert (row["outcome"], row["attempts"], row.get("http_status")) == ("client_abort", 1, None)
        assert [each[1] for each in outcomes(gateway)] == ["server"]
        assert row["duration_ns"] / 1e3 - row["overhead_us"] >= 200_000
    assert len(upstream.asked) == 1


async def test_each_attempt_of_an_exchange_has_the_exchange_as_its_parent(upstream: Upstream, gateway: InProcess):
    """All spans of an exchange share its trace; the attempts' parent is the root, and all are children of nobody."""
    upstream.answers(failure(500), failure(429), GOOD)
    answer = await post(gateway.url)
    root = gateway.exchange()
    attempts = gateway.rows("CLIENT")
    assert [row["parent_span_id"] for row in attempts] == [root["span_id"]] * 3
    assert {row["trace_id"] for row in (*attempts, root)} == {answer.values(b"x-gateway-trace-id")[0].decode()}
    assert [row["reason"] for row in attempts] == ["first", "retry after server", "retry after rate_limit"]
    assert "parent_span_id" not in root
    assert len({row["span_id"] for row in (*attempts, root)}) == 4


async def test_a_stream_that_is_left_at_its_last_event_was_answered(upstream: Upstream, tmp_path):
    """A client that hangs up at a good stream's last event ends a run of failures: the circuit stays closed."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    good = stream([event, b"data: [DONE]\n\n", 30.0])
    toml = to(upstream.url, "max_tries = 1\n[circuit]\nfailures = 2\n")
    body = CHAT.replace(b"{", b'{"stream":true,"stream_options":{"include_usage":true},', 1)
    async with InProcess(tmp_path / "data", toml) as gateway:
        health = gateway._worker._proxy._health
        for number, (steps, streak) in enumerate([(failure(500), 1), (good, 0), (failure(500), 1)], 1):
            upstream.answers(steps)
            async with connected(gateway.url) as connection:
                await connection.send(request("POST", "/v1/chat/completions", [], body))
                await connection.head()
                while (piece := await connection.piece()) and b"[DONE]" not in piece:
                    pass
            await gateway.ended(number)
            (state,) = health._records.values()
            assert state.failures == streak
