"""`POST /events`: accepted events, the reasons of refusals, and batches that are stored whole or not at all."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateways import InProcess, to
from tests.support.raw_http import connected, exchange, request
from tests.support.run_events import INNER, RUN, STEP, at, lines_of, post_events, step, whole_run
from tests.support.store import no_file_may_grow
from tests.support.upstream import Upstream

NIL = "00000000-0000-0000-0000-000000000000"
START = {"type": "run:start", "id": RUN, "name": "n", "time": at(0)}
PLAIN = {"type": "note", "run_id": RUN, "step_id": STEP, "data": {"a": 1}}


@pytest.mark.parametrize("path", ["/event", "/events", "/v1/event", "/v1/events", "/events?x=1"])
@pytest.mark.parametrize(
    "body", [START, [START, PLAIN], {"events": [START, PLAIN, step("state", STEP, 1, state="s")]}, {"events": []}]
)
async def test_one_event_or_many_are_accepted_on_every_path(gateway: InProcess, path, body):
    """An event, a list and chronicle's batch are answered 202 with the number of events."""
    answer = await post_events(gateway.url, body, path=path)
    events = body if isinstance(body, list) else body.get("events", [body])
    assert (answer.status, json.loads(answer.body)) == (202, {"accepted": len(events)})
    assert [line["type"] for line in gateway.events()] == [event["type"] for event in events]
    assert gateway.rows() == []  # it is no exchange


async def test_the_whole_of_a_run_is_read_back_by_sql(gateway: InProcess):
    """A run, its steps and their events are in `runs`, `steps` and `events`."""
    assert (await post_events(gateway.url, {"events": whole_run()})).status == 202
    ((*run, information, given, output),) = gateway.ask(
        "SELECT run_id, name, status, application, description, tags, duration_ms, started_at < ended_at, info, input, "
        "output FROM runs"
    )
    assert run == [RUN, "answer a ticket", "finished", "shop", "of a customer", ["a", "b"], 50.0, True]
    assert [json.loads(each) for each in (information, given, output)] == [
        {"tier": 1, "cost": 2},
        {"ticket": 7},
        "sorry",
    ]
    steps = gateway.ask(
        "SELECT step_id, parent_step_id, type, name, status, duration_ms, error ->> '$.message', output FROM steps "
        "ORDER BY started_at"
    )
    assert steps == [
        (STEP, None, "chain", "retrieve", "finished", 30.0, None, '{"docs":[]}'),
        (INNER, STEP, "tool", None, "error", 10.0, "no such index", None),
    ]
    assert gateway.ask("SELECT step_id, data, error FROM events WHERE type = 'note'") == [
        (INNER, '{"score":0.5}', '{"m":"e"}')
    ]
    assert gateway.ask("SELECT count(*), count(DISTINCT type) FROM events") == [(8, 7)]


async def test_chronicles_own_examples_are_accepted(gateway: InProcess):
    """Invalid trace ids are stored with the other data and not used; unknown fields are no error."""
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    start = {
        "type": "run:start", "id": uuid, "name": "Test Run", "trace_id": "trace-123", "span_id": "span-456",
        "tags": ["test"], "info": {"extra": "info"}, "time": "2023-06-28T10:00:00Z", "more": 1,
    }  # fmt: skip
    data = {
        "parent_step": INNER, "type": "a_step", "span_id": "span-456", "tags": ["dag"], "info": {"n": 1},
        "input": {"p": "v"}, "name": "main_workflow", "context": {"c": 1},
    }  # fmt: skip
    of_step = {"run_id": uuid, "step_id": STEP, "time": "2023-06-27T12:34:56Z"}
    events = [start, {"type": "step:start", "data": data, **of_step}]
    assert (await post_events(gateway.url, {"events": events})).status == 202
    first, second = gateway.events()
    assert (first["trace_id"], first["span_id"]) == (uuid.replace("-", ""), "0123456789abcdef")
    assert first["data"] == {"trace_id": "trace-123", "span_id": "span-456"}
    assert (second["span_id"], second["parent_span_id"]) == ("9a6bfedcba987654", "aa6b00000000aaaa")
    assert second["data"] == {"span_id": "span-456"}
    assert gateway.ask("SELECT started_at::VARCHAR FROM runs") == [("2023-06-28 10:00:00",)]


async def test_absent_fields_of_chronicles_client_are_null(gateway: InProcess):
    """A nil id is no id, a step without a result has no output, and a run without a name has none."""
    events = [
        {"type": "run:start", "id": RUN, "name": "", "tags": None, "info": None},
        step("start", STEP, 0, type="task", name="s", parent_step=NIL),
        {"type": "step:end", "run_id": RUN, "step_id": STEP, "data": {}},
        {"type": "note", "run_id": NIL, "step_id": NIL, "data": None},
        {"type": "alone"},
    ]
    assert (await post_events(gateway.url, {"events": events})).status == 202
    assert gateway.ask("SELECT name, tags, info, ended_at FROM runs") == [(None, None, None, None)]
    assert gateway.ask("SELECT status, output, parent_step_id FROM steps") == [("finished", None, None)]
    assert gateway.ask("SELECT type, run_id, step_id, data FROM events WHERE run_id IS NULL ORDER BY 1") == [
        ("alone", None, None, None),
        ("note", None, None, None),
    ]


# Of each known type: a field, a value that it cannot have, and where the message says that it is.
MISSING = object()
_START = {"type": "run:start", "id": RUN, "name": "n"}
_STEP_START = step("start", STEP, 0, type="t")
BAD: list[tuple[dict[str, Any], str, Any]] = [
    *((_START, field, 5) for field in ("id", "name", "description", "application", "environment", "trace_id")),
    *((_START, field, 5) for field in ("span_id", "status", "tags", "tags[0]", "info", "time", "event_id")),
    *((_START, field, MISSING) for field in ("id", "name")),
    (_START, "id", ""),
    (_START, "id", "x" * 257),
    (_START, "info", ["a"]),
    (_START, "time", "yesterday"),
    (_START, "time", "2026-01-31T12:00:00"),
    (_START, "time", "1969-01-31T12:00:00Z"),
    (_START, "time", "2300-01-31T12:00:00Z"),
    *(({"type": "run:update", "id": RUN}, field, 5) for field in ("id", "status", "info", "time")),
    ({"type": "run:update", "id": RUN}, "id", MISSING),
    *((_STEP_START, field, 5) for field in ("run_id", "step_id", "time", "data")),
    *((_STEP_START, f"data.{field}", 5) for field in ("type", "name", "parent_step", "span_id", "tags", "info")),
    *((_STEP_START, field, MISSING) for field in ("run_id", "step_id", "data", "data.type")),
    *((step("end", STEP, 0), field, 5) for field in ("run_id", "step_id", "time", "data", "data.info")),
    *((step("end", STEP, 0), field, MISSING) for field in ("run_id", "step_id", "data")),
    *((step("error", STEP, 0, error={}), field, 5) for field in ("run_id", "step_id", "time", "data")),
    *((step("error", STEP, 0, error={}), field, MISSING) for field in ("run_id", "step_id", "data", "data.error")),
    *((step("state", STEP, 0, state="s"), field, 5) for field in ("run_id", "step_id", "time", "data", "data.state")),
    *((step("state", STEP, 0, state="s"), field, MISSING) for field in ("run_id", "step_id", "data", "data.state")),
    *((PLAIN, field, 5) for field in ("type", "run_id", "step_id", "time")),
    (PLAIN, "type", ""),
    (PLAIN, "type", MISSING),
]


def _spoiled(event: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """Return an event with one field wrong or missing."""
    copy = json.loads(json.dumps(event))
    holder, name = (copy["data"], field[5:]) if field.startswith("data.") else (copy, field)
    if value is MISSING:
        del holder[name]
    elif name == "tags[0]":
        holder["tags"] = [value]
    else:
        holder[name] = value
    return copy


@pytest.mark.parametrize(
    ("event", "field", "value"),
    BAD,
    ids=[f"{event['type']} {field} {'missing' if value is MISSING else value!r:.12}" for event, field, value in BAD],
)
async def test_an_invalid_event_is_named_and_nothing_is_stored(gateway: InProcess, event, field, value):
    """The 422 names event and field, and the valid events of the batch are not stored either."""
    bad = _spoiled(event, field, value)
    answer = await post_events(gateway.url, {"events": [START, PLAIN, bad]})
    error = json.loads(answer.body)["error"]
    assert answer.status == 422
    assert error["message"].startswith(f"$.events[2].{field}: ")
    assert error["details"]["path"] == f"$.events[2].{field}"
    assert error["details"]["index"] == 2
    assert error["details"]["body"] == error["message"]  # what chronicle's client prints
    assert gateway.events() == []


async def test_the_path_of_an_error_is_that_in_the_body(gateway: InProcess):
    """The path of an error is right for a single event and within a list."""
    bad = _spoiled(_STEP_START, "data.type", 5)
    for body, path in ((bad, "$.data.type"), ([START, bad], "$[1].data.type")):
        error = json.loads((await post_events(gateway.url, body)).body)["error"]
        assert error["details"]["path"] == path


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "no JSON"),
        (b"{", 400, "no JSON"),
        (b'{"type": "a" \xff}', 400, "no JSON"),
        (b"[" * 5000, 400, "no JSON"),
        (b"5", 422, "$: Expected `object`"),
        (b'"run:start"', 422, "$: Expected `object`"),
        (b"[5]", 422, "$[0]: Expected `object`"),
        (b"null", 422, "$: Expected `object`"),
        (b'{"events": 5}', 422, "$.events: Expected `array`"),
        (b'{"events": [[]]}', 422, "$.events[0]: Expected `object`"),
        (b"{}", 422, "$.type: this field is missing"),
        (b'[{"type": "a"},{"type": "a", "data": ' + b"[" * 900 + b"]" * 900 + b"}]", 202, ""),
        (b'{"type": "a", "data": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400, "no JSON"),
        (b"[" + b",".join([b'{"type":"a"}'] * 20_001) + b"]", 413, "send at most 20000"),
    ],
)
async def test_an_undecodable_body_is_an_error(gateway: InProcess, body, status, said):
    """A body that cannot be decoded is an error in chronicle's form."""
    answer = await post_events(gateway.url, body)
    assert answer.status == status
    if status != 202:
        assert said in json.loads(answer.body)["error"]["message"]
        assert gateway.events() == []


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b'"\\ud83d"', "?"),
        (b'"a\\u0000b"', "a\0b"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"[1e400]", None),
        (b'{ "a" :\n\r\n 1 }', {"a": 1}),
    ],
)
async def test_lone_surrogates_do_not_refuse_a_batch(gateway: InProcess, sent, kept):
    """Half a surrogate pair, which JavaScript writes as an escape, does not refuse the batch."""
    answer = await post_events(gateway.url, b'{"events": [{"type": "odd", "data": %b}]}' % sent)
    if kept is None:
        assert answer.status == 422
        assert "$.events[0]: " in json.loads(answer.body)["error"]["message"]
        return
    assert answer.status == 202
    ((data,),) = gateway.ask("SELECT data FROM events")
    assert json.loads(data) == kept


async def test_compressed_bodies_are_read(gateway: InProcess):
    """A body may be compressed; an unknown coding is refused."""
    body = gzip.compress(json.dumps({"events": whole_run()}).encode())
    assert (await post_events(gateway.url, body, ("Content-Encoding", "gzip"))).status == 202
    for coding, data in (("br", body), ("gzip", b"no gzip")):
        answer = await post_events(gateway.url, data, ("Content-Encoding", coding))
        assert (answer.status, json.loads(answer.body)["error"]["kind"]) == (415, "unreadable_coding")
    assert len(gateway.events()) == 8


async def test_a_body_that_is_too_large_is_refused(upstream: Upstream, tmp_path: Path):
    """The limit of bodies applies with and without a Content-Length, and after decoding."""
    big = json.dumps({"type": "a", "data": "x" * 3000}).encode()
    async with InProcess(tmp_path, to(upstream.url, "[limits]\nbody_bytes = 2000\n")) as gateway:
        for body, headers in ((big, []), (gzip.compress(big), [("Content-Encoding", "gzip")])):
            answer = await post_events(gateway.url, body, *headers)
            assert answer.status in {413, 415}
            assert "2000 bytes" in json.loads(answer.body)["error"]["message"]
        assert (await post_events(gateway.url, {"type": "a"})).status == 202


async def test_a_body_without_end_is_not_read_to_its_end(upstream: Upstream, tmp_path: Path):
    """A body is answered once it exceeds the limit, while it is still being sent."""
    toml = to(upstream.url, "[limits]\nbody_bytes = 2000\n")
    async with InProcess(tmp_path, toml) as gateway, connected(gateway.url) as connection:
        await connection.send(b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await connection.send(b"bb8\r\n" + b" " * 3000 + b"\r\n")
        assert (await connection.answer("POST")).status == 413


async def test_a_body_that_stops_arriving_is_refused(upstream: Upstream, tmp_path: Path):
    """The idle timeout applies to events, too."""
    async with (
        InProcess(tmp_path, to(upstream.url, "[timeouts]\nidle = 0.05\n")) as gateway,
        connected(gateway.url) as connection,
    ):
        await connection.send(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{")
        answer = await connection.answer("POST")
        assert answer.status == 408
        assert "$.timeouts.idle" in json.loads(answer.body)["error"]["message"]


# who may, and what is kept of it


async def test_a_required_token_is_checked(upstream: Upstream, tmp_path: Path):
    """The token is accepted in its header or as a bearer token, and redacted from every row."""
    token = "our-own-token-0123456789"
    async with InProcess(tmp_path, to(upstream.url), token=token) as gateway:
        refused = await post_events(gateway.url, START)
        assert (refused.status, json.loads(refused.body)["error"]["kind"]) == (401, "auth")
        said = {"type": "env", "data": {"token": token, "auth": f"Bearer {token}"}}
        for header in (("x-gateway-token", token), ("Authorization", f"Bearer {token}")):
            assert (await post_events(gateway.url, said, header)).status == 202
        assert [line["data"] for line in gateway.events()] == [{"token": "[redacted]", "auth": "Bearer [redacted]"}] * 2


async def test_credentials_of_the_request_are_redacted(gateway: InProcess):
    """Credentials in any header or in metadata are redacted from the request's events."""
    key = 'sk-planted-0123456789"abcdef'
    event = {"type": "run:start", "id": RUN, "name": key, "input": {"key": key}}
    headers = [("x-api-key", key), ("x-gateway-environment", key), ("x-gateway-extra-meta", json.dumps({"k": key}))]
    assert (await post_events(gateway.url, event, *headers)).status == 202
    (path,) = (gateway.data / "live").glob("*.jsonl")
    assert b"planted" not in path.read_bytes()
    assert gateway.ask("SELECT name, environment FROM runs") == [("[redacted]", "[redacted]")]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("https://mine.example", 202),
        ("http://localhost:3000", 202),
        (None, 202),
    ],
)
async def test_a_page_of_another_origin_is_refused(upstream: Upstream, tmp_path: Path, origin, status):
    """A request that needs no preflight is refused by its origin, as a proxied one is."""
    toml = to(upstream.url, '[auth]\norigins = ["https://mine.example"]\n')
    async with InProcess(tmp_path, toml) as gateway:
        headers = [] if origin is None else [("Origin", origin)]
        answer = await post_events(gateway.url, START, *headers)
        assert answer.status == status
        assert len(gateway.events()) == (status == 202)


async def test_headers_set_the_metadata_of_a_run(gateway: InProcess):
    """Metadata headers may have chronicle's names or the gateway's; the event's own application wins."""
    headers = [
        ("x-chronicle-application", "theirs"), ("x-chronicle-environment", "prod"), ("x-gateway-organization-id", "o"),
        ("x-chronicle-project-id", "p"), ("x-gateway-user-id", "u"), ("x-chronicle-workflow-id", "w"),
        ("x-chronicle-workflow-name", "wn"), ("x-chronicle-step-index", "3"), ("x-chronicle-prompt-id", "pi"),
        ("x-chronicle-prompt-version", "4"), ("x-chronicle-extra-meta", '{"more": [1]}'),
    ]  # fmt: skip
    update = {"type": "run:update", "id": RUN, "info": {"late": 1}}
    event = START | {"application": "mine", "info": {"own": 2, "project_id": "other"}}
    assert (await post_events(gateway.url, [event, update], *headers)).status == 202
    ((application, environment, information),) = gateway.ask("SELECT application, environment, info FROM runs")
    assert (application, environment) == ("mine", "prod")
    assert json.loads(information) == {
        "own": 2, "late": 1, "organization_id": "o", "project_id": "p", "user_id": "u", "workflow_id": "w",
        "workflow_name": "wn", "step_index": 3, "prompt_id": "pi", "prompt_version": 4, "more": [1],
    }  # fmt: skip


@pytest.mark.parametrize(("header", "value"), [("x-chronicle-step-index", "three"), ("x-gateway-extra-meta", "[1]")])
async def test_a_header_that_cannot_be_read_is_named(gateway: InProcess, header, value):
    """The 422 names the header, and nothing is stored."""
    answer = await post_events(gateway.url, START, (header, value))
    assert answer.status == 422
    assert header in json.loads(answer.body)["error"]["message"]
    assert gateway.events() == []


# how much is kept

CONTENT = "SELECT count(input), count(output), count(error), count(data) FROM events"


@pytest.mark.parametrize(("store", "kept"), [("full", (2, 2, 2, 1)), ("metadata", (0,) * 4), ("off", (0,) * 4)])
async def test_the_capture_setting_applies_to_events(upstream: Upstream, tmp_path: Path, store, kept):
    """Without content the tree has names, times and statuses, and `info` unless capture is off."""
    async with InProcess(tmp_path, to(upstream.url, f'[capture]\nstore = "{store}"\n')) as gateway:
        await post_events(gateway.url, whole_run())
        assert gateway.ask(CONTENT) == [kept]
        assert gateway.ask("SELECT name, status, tags, info IS NULL FROM runs") == [
            ("answer a ticket", "finished", ["a", "b"], store == "off")
        ]
        assert gateway.ask("SELECT count(*), count(duration_ms), count(info) FROM steps") == [
            (2, 2, 0 if store == "off" else 1)
        ]


@pytest.mark.parametrize(
    "value", [{"text": "x" * 5000}, ["x" * 5000], "x" * 5000, {str(key): key for key in range(900)}, [7] * 3000]
)
async def test_content_that_is_too_long_is_cut(upstream: Upstream, tmp_path: Path, value):
    """Content of any form is cut to valid JSON of about the configured size."""
    async with InProcess(tmp_path, to(upstream.url, '[capture]\nstore = "truncated"\notlp_bytes = 300\n')) as gateway:
        assert (await post_events(gateway.url, step("end", STEP, 0, output=value))).status == 202
        ((output,),) = gateway.ask("SELECT output FROM steps")
        assert 20 < len(output) <= 300
        assert json.loads(output)


async def test_a_value_of_many_items_is_stored_as_cut_text(gateway: InProcess):
    """A value of 100,000 strings is not parsed on the event loop; the rest of the event is stored."""
    many = ["word"] * 200_000
    huge = step("end", STEP, 40, output=many, info={"k": many})
    assert (await post_events(gateway.url, [huge, {"type": "x", "data": many}])).status == 202
    ((output, information),) = gateway.ask("SELECT output, info FROM steps")
    assert json.loads(output).startswith('["word", "word"')
    assert json.loads(output).endswith("more bytes]")
    assert json.loads(information) == {"gateway.content.truncated": True}
    assert gateway.ask("SELECT json_type(data) FROM events WHERE type = 'x'") == [("VARCHAR",)]


# when it cannot be kept


async def test_a_full_disk_is_503_and_counted(gateway: InProcess):
    """Clients retry after a 503; the loss is in /-/health at once, and later in the ledger."""
    with no_file_may_grow():
        answer = await post_events(gateway.url, [START, PLAIN])
    assert answer.status == 503
    assert "write_error" in json.loads(answer.body)["error"]["message"]
    assert gateway.events() == []
    assert (await post_events(gateway.url, START)).status == 202
    assert gateway.health()["events"] == {"stored": 1, "dropped": {"write_error": 2}}
    assert gateway.ask("SELECT events, events_dropped, accepted FROM ledger") == [(1, 2, 0)]


async def test_other_methods_and_paths_are_proxied(gateway: InProcess, upstream: Upstream):
    """`GET /events` and paths below it are forwarded for a client with a key, like any path that is not known."""
    for method, path in (("GET", "/v1/events"), ("POST", "/v1/events/x")):
        await exchange(gateway.url, request(method, path, [("Authorization", "Bearer sk-proj-0123456789")]))
    assert [asked.target for asked in upstream.asked] == ["/v1/events", "/v1/events/x"]


def test_a_repeated_event_has_the_same_id_and_another_one_has_not():
    """An event's id is the client's, or derived from run, step, type, time and content."""
    event = step("state", STEP, 5, state="a")
    others = [
        step("state", INNER, 5, state="a"),
        step("state", STEP, 6, state="a"),
        step("state", STEP, 5, state="b"),
        step("state", STEP, 5, INNER, state="a"),
        {"type": "other", "run_id": RUN, "step_id": STEP, "time": at(5)},
    ]
    ids = [line["event_id"] for line in lines_of([event, event, event | {"event_id": "mine"}, *others])]
    assert ids[0] == ids[1]
    assert ids[2] == "mine"
    assert len(set(ids)) == 7
