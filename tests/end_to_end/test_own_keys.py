"""A request's own key is nowhere in what is recorded, in whichever field the request repeats it."""

import json
from pathlib import Path

import pytest

from tests.support.gateways import InProcess, to
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream, reply

KEY = "sk-proj-own0123456789ABCDEF"
JSON = ("Content-Type", "application/json")
CARRIERS = {
    "bearer": ("Authorization", f"Bearer {KEY}"),
    "basic": ("Authorization", "Basic dTpzay1wcm9qLW93bjAxMjM0NTY3ODlBQkNERUY="),
    "x-api-key": ("x-api-key", KEY),
    "api-key": ("api-key", KEY),
    "x-goog-api-key": ("X-Goog-Api-Key", KEY),
    "a vendor's": ("x-portkey-api-key", KEY),
    "another vendor's": ("Helicone-Auth", f"Bearer {KEY}"),
    "an ingress's": ("cf-aig-authorization", f"Bearer {KEY}"),
    "anyone's": ("X-My-Secret", KEY),
    "one of no known name": ("X-Whatever", KEY),
}
RUN = "01890000-0000-7000-8000-000000000001"
OPTIONS = [
    *(
        (f"x-gateway-{name}", KEY)
        for name in ("session", "application", "environment", "user", "tags", "workflow-name")
    ),
    ("x-gateway-extra-meta", json.dumps({"k": KEY, KEY: 1})),
    ("x-gateway-run-id", f"run-{KEY}"),
    ("x-gateway-step-id", KEY),
    ("x-gateway-prompt-id", KEY.lower()),
    ("User-Agent", f"{KEY}/1.0 x"),
]
BODY = {
    "model": f"ft:{KEY}",
    "stop": [KEY, "x"],
    "user": KEY,
    "metadata": {"session": KEY},
    "messages": [{"role": "user", "content": f"my key is {KEY}"}],
}


def repeating(carrier: tuple[str, str], path: str = "/v1/chat/completions", *more: tuple[str, str]) -> bytes:
    """Return a request that repeats the key of its header in every field."""
    return request("POST", path, [JSON, carrier, *OPTIONS, *more], json.dumps(BODY).encode())


def journal(gateway: InProcess) -> str:
    """Return all that the worker has written, starts of exchanges included."""
    return "".join(path.read_text() for path in (gateway.data / "live").glob("*.jsonl"))


async def test_a_key_that_a_request_repeats_is_recorded_nowhere(upstream: Upstream, tmp_path: Path):
    """In no span, attribute, error or line of the journal, whatever header it came in; its provider gets it."""
    upstream.answers(reply({"error": {"message": f"no {KEY}", "code": KEY}}, "400 Bad Request"))
    async with InProcess(tmp_path / "data", to(upstream.url)) as gateway:
        for carrier in CARRIERS.values():
            await exchange(gateway.url, repeating(carrier))
        await exchange(gateway.url, repeating(CARRIERS["bearer"], f"/openai/v1/files/{KEY}?auth={KEY}"))
        await exchange(gateway.url, request("GET", f"/openai/v1/files/{KEY}?auth={KEY}", [JSON]))
        refused = await exchange(
            gateway.url, repeating(CARRIERS["bearer"], "/v1/messages", ("x-gateway-provider", KEY))
        )
        assert refused.status == 422
        assert KEY.lower().encode() not in refused.body.lower()
        written = journal(gateway)
        rows = gateway.rows("CLIENT")
    assert KEY.lower() not in written.lower()
    assert len(rows) == len(CARRIERS) + 2
    assert {row["request_model"] for row in rows if "request_model" in row} == {"ft:[redacted]"}
    assert all(json.loads(asked.body)["model"] == f"ft:{KEY}" for asked in upstream.asked if asked.body)


async def test_a_key_in_an_option_is_recorded_nowhere(upstream: Upstream, tmp_path: Path):
    """In the body of chronicle's requests, and in headers that are JSON."""
    toml = to(upstream.url, "[requests]\napi_keys = true\n")
    key = "an-option-0123456789-0123456789"
    options = {"api_key": key, "model": f"openai/{key}", "metadata": {"application": key, "extra": {"a": key}}}
    async with InProcess(tmp_path / "data", toml) as gateway:
        body = json.dumps({"messages": [{"role": "user", "content": "hi"}], **options}).encode()
        await exchange(gateway.url, request("POST", "/chat", [JSON, ("x-chronicle-environment", key)], body))
        models = json.dumps([{"model": "m", "provider": "openai", "api_key": key}])
        headers = [JSON, ("x-gateway-models", models), ("x-gateway-session", key)]
        await exchange(gateway.url, request("POST", "/v1/chat/completions", headers, b'{"model":"m","messages":[]}'))
        rows = gateway.rows()
    assert len(upstream.asked) == 2
    assert key not in json.dumps(rows)


@pytest.mark.parametrize("option", ["retry", "extra-meta", "models"])
@pytest.mark.parametrize("prefix", ["x-gateway-", "x-chronicle-"])
async def test_a_bomb_in_an_option_is_refused(upstream: Upstream, gateway: InProcess, prefix, option):
    """JSON that is nested deeper than can be read is the client's mistake."""
    for depth in (60, 70, 900, 1500, 5000):
        bomb = '{"a":' * depth + "1" + "}" * depth
        answer = await exchange(
            gateway.url,
            request(
                "POST", "/v1/chat/completions", [JSON, (f"{prefix}{option}", bomb)], b'{"model":"m","messages":[]}'
            ),
        )
        assert answer.status == (422 if depth > 64 or option != "extra-meta" else 200)
    assert len(upstream.asked) == (option == "extra-meta")
    assert all(len(str(row["attributes"].get("gateway.extra", ""))) < 1000 for row in gateway.rows("SERVER"))
