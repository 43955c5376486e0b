"""How much of what was said is kept: full, cut to fit, what is not content, or nothing; JSON in every case."""

import json
from typing import Any

import pytest

from tests.support.gateways import InProcess, to
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream, events, reply, stream

JSON = ("Content-Type", "application/json")
CONTENT = ("system_instructions", "input_messages", "output_messages", "tool_definitions")
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SAID = "Tell me, naïvely, all of it. 東京 "


async def one(upstream: Upstream, tmp_path, capture: str, content: str = SAID, *, streamed: bool = False) -> Any:
    """Send one chat whose question and answer are `content`; return the exchange's and the attempt's row."""
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    chat = {"id": "c1", "model": "gpt-5-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    if streamed:
        delta = {"id": "c1", "model": "gpt-5-1", "choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}
        upstream.answers(stream([b"data: %b\n\n" % json.dumps(delta).encode(), b"data: [DONE]\n\n"]))
    else:
        upstream.answers(reply(chat | {"usage": usage}))
    asked = {"model": "gpt-5", "temperature": 0.5, "tools": [TOOL], "messages": [{"role": "user", "content": content}]}
    body = json.dumps(asked | ({"stream": True} if streamed else {})).encode()
    async with InProcess(tmp_path / "data", to(upstream.url, f"[capture]\n{capture}")) as gateway:
        answer = await exchange(gateway.url, request("POST", "/v1/chat/completions", [JSON], body))
        assert answer.status == 200
        assert gateway.ask("SELECT count(*) FROM spans WHERE outcome = 'ok'") == [(2,)]
        return gateway.exchange(), gateway.attempt()


async def test_full_keeps_all(upstream: Upstream, tmp_path):
    """All that was said is there, word for word, however long."""
    content = SAID * 10_000
    _, row = await one(upstream, tmp_path, 'store = "full"', content)
    assert row["input_messages"][0]["parts"] == [{"type": "text", "content": content}]
    assert row["output_messages"][0]["parts"] == [{"type": "text", "content": content}]
    assert row["tool_definitions"] == [TOOL]
    assert "gateway.content.truncated" not in row["attributes"]


CUT = {
    "truncated": ('store = "truncated"\notlp_bytes = 300', 300),
    "full, with a bound": ('store = "full"\nstore_bytes = 3000', 3000),
    "a bound that nothing fits": ('store = "full"\nstore_bytes = 2', 2),
}


@pytest.mark.parametrize(("capture", "limit"), CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("streamed", [False, True])
async def test_content_that_is_too_long_is_cut_and_stays_json(upstream: Upstream, tmp_path, capture, limit, streamed):
    """Each content attribute fits its bound, is a list as before, and the span says that something is missing."""
    _, row = await one(upstream, tmp_path, capture, SAID * 1000, streamed=streamed)
    for column in ("input_messages", "output_messages"):
        assert isinstance(row[column], list)
        assert len(json.dumps(row[column], ensure_ascii=False, separators=(",", ":")).encode()) <= limit
    if limit > 100:
        assert row["input_messages"][0]["parts"][0]["content"].startswith(SAID[:10])
    assert row["attributes"]["gateway.content.truncated"] is True


@pytest.mark.parametrize("streamed", [False, True])
async def test_metadata_keeps_all_but_content(upstream: Upstream, tmp_path, streamed):
    """Parameters, ids, finish reasons and token counts are there; nothing that was said is."""
    root, row = await one(upstream, tmp_path, 'store = "metadata"', streamed=streamed)
    assert not row.keys() & CONTENT
    assert SAID[:7] not in json.dumps([root, row], ensure_ascii=False)
    assert row["attributes"]["gen_ai.request.temperature"] == 0.5
    assert (row["response_id"], row["response_model"], row["finish_reasons"]) == ("c1", "gpt-5-1", ["stop"])
    assert row["usage_source"] == root["usage_source"] == ("estimated" if streamed else "reported")
    assert row["input_tokens"] > 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_off_reads_nothing(upstream: Upstream, tmp_path, streamed):
    """Only what HTTP and the route tell is recorded."""
    root, row = await one(upstream, tmp_path, 'store = "off"', streamed=streamed)
    assert not row.keys() & {*CONTENT, "response_model", "response_id", "finish_reasons", "usage_source"}
    assert (row["operation"], row["request_model"], row["outcome"], row["http_status"]) == ("chat", "gpt-5", "ok", 200)
    assert (root["outcome"], root["request_model"]) == ("ok", "gpt-5")
    assert SAID[:7] not in json.dumps([root, row], ensure_ascii=False)


@pytest.mark.parametrize("mode", ["full", "truncated", "metadata", "off"])
async def test_the_client_gets_the_same_in_every_mode(upstream: Upstream, tmp_path, read, mode):
    """What is kept changes no byte of what is relayed."""
    upstream.answers(stream(events(read("chat_text.sse"))))
    asked = b'{"model":"gpt-5","stream":true,"stream_options":{"include_usage":true},"messages":[]}'
    async with InProcess(tmp_path / "data", to(upstream.url, f'[capture]\nstore = "{mode}"')) as gateway:
        answer = await exchange(gateway.url, request("POST", "/v1/chat/completions", [JSON], asked))
        assert (answer.body, answer.whole) == (read("chat_text.sse"), True)
        assert upstream.asked[0].body == asked
        assert gateway.exchange()["outcome"] == "ok"


@pytest.mark.parametrize("store", ["full", "truncated", "metadata", "off"])
async def test_the_body_of_a_providers_error_is_kept_where_content_is(upstream: Upstream, tmp_path, store):
    """The attempt has it as it came, cut to fit and without the client's key."""
    key = "sk-planted-0123456789abcdef"
    body = json.dumps({"error": {"message": f"no such key: {key}", "detail": "x" * 9000}})
    upstream.answers(reply(body.encode(), "401 Unauthorized"))
    async with InProcess(tmp_path / "data", to(upstream.url, f'[capture]\nstore = "{store}"')) as gateway:
        headers = [JSON, ("Authorization", f"Bearer {key}")]
        asked = json.dumps({"model": "gpt-5", "messages": []}).encode()
        answer = await exchange(gateway.url, request("POST", "/v1/chat/completions", headers, asked))
        assert (answer.status, answer.body) == (401, body.encode())
        kept = gateway.attempt()["attributes"]
    if store in {"metadata", "off"}:
        assert "gateway.error.body" not in kept
        return
    limit = 4096 if store == "full" else 2000
    assert kept["gateway.error.body"] == body.replace(key, "[redacted]")[:limit]
    assert kept["gateway.content.truncated"] is True


async def test_an_unreadable_capture_header_captures_nothing(upstream: Upstream, tmp_path):
    """A listing is not refused for it: no error body is stored, and the collector gets no content either."""
    upstream.answers(reply(b'{"error":{"message":"no"}}', "500 Internal Server Error"))
    async with InProcess(tmp_path / "data", to(upstream.url)) as gateway:
        await exchange(gateway.url, request("GET", "/v1/models", [("x-gateway-capture", "junk")]))
        assert gateway.exchange()["attributes"]["gateway.capture.otlp"] == "off"
        assert all("gateway.error.body" not in row.get("attributes", {}) for row in gateway.rows())
