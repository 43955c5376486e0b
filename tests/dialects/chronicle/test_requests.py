"""chronicle's requests: their paths, and a body without its options."""

import json
import random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.chronicle.requests import HEADER_PREFIX, OPTIONS, PATH, claims, read, speaks, uuid7
from gateway.errors import ExchangeError

RUN = "01a212d9-478c-7759-916d-18ab7b348327"


def body_of(**fields: Any) -> bytes:
    """Return a chat request with these fields."""
    return json.dumps({"model": "m", "messages": []} | fields).encode()


@pytest.mark.parametrize(
    ("path", "plain", "speaking"),
    [
        ("/chat", True, True),
        ("//chat", True, True),
        ("/chat/", True, True),
        ("/chat/chat/completions", True, True),
        ("/v1/chat/anything/at/all", True, True),
        ("/chat/completions", False, True),
        ("/v1/chat/completions", False, True),
        ("/v1/chat/completions/", False, True),
        ("/v1/chat/completions/chatcmpl-1", False, True),
        ("/v1/chat", False, False),
        ("/chats", False, False),
        ("/v1/responses", False, False),
        ("/v2/chat/x", False, False),
    ],
)
def test_its_routes(path: str, plain: bool, speaking: bool):
    """Chats have any tail; OpenAI's own paths are chronicle's only where the client has a header of it."""
    assert claims("POST", path, ((b"Accept", b"*/*"),)) == (PATH if plain else None)
    assert claims("POST", path, ((HEADER_PREFIX + b"user-id", b"u"),)) == (PATH if speaking else None)
    assert claims("GET", path, ((HEADER_PREFIX + b"user-id", b"u"),)) is None


def test_what_speaks_for_it():
    """Any header with its prefix, in any case; none of ours."""
    assert speaks(((b"Host", b"a"), (b"X-Chronicle-User-Id", b"u")))
    assert not speaks(((b"x-gateway-user", b"u"), (b"chronicle", b"1")))


NAMES = st.text(max_size=8).filter(lambda name: name not in {"model", "messages", "system", *OPTIONS})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
WRITTEN = st.builds(
    lambda value, indent, ascii_: json.dumps(value, indent=indent, ensure_ascii=ascii_).encode(),
    VALUES,
    st.none() | st.integers(0, 2),
    st.booleans(),
)
MEMBERS = st.fixed_dictionaries(
    {},
    optional={
        "provider": st.text(min_size=1),
        "override_url": st.text(min_size=1),
        "api_key": st.text(min_size=1),
        "models": st.just([{"model": "a", "provider": "b"}]),
        "random_choice": st.just(True),
        "timeout": st.integers(1, 10**9) | st.floats(0.5, 1e9),
        "retry": st.just({"max_tries": 2, "increase": {"type": "constant"}}),
        "metadata": st.dictionaries(NAMES, VALUES, min_size=1),
    },
)
GAPS = st.text(" \t\r\n", max_size=3).map(str.encode)


@given(st.dictionaries(NAMES, WRITTEN, max_size=5), MEMBERS, st.data())
def test_what_goes_up_is_the_body_without_its_options(others: dict[str, bytes], options: dict[str, Any], data: Any):
    """In the order they came, each value with the bytes it came with; where there is no option, the very body."""
    fields = {"model": b'"m"', "messages": b"[ ]"} | others | {k: json.dumps(v).encode() for k, v in options.items()}
    order = data.draw(st.permutations(list(fields)))
    gap = data.draw(GAPS)
    members = [b"%b%b%b:%b%b" % (gap, json.dumps(name).encode(), gap, gap, fields[name]) for name in order]
    body = gap + b"{" + b",".join(members) + gap + b"}" + gap
    chat = read(body, "/chat")
    if not options:
        assert chat.body("other") == body
    sent = msgspec.json.decode(chat.body("other"), type=dict[str, msgspec.Raw])
    assert [(name, bytes(raw)) for name, raw in sent.items()] == [
        (name, fields[name]) for name in order if name not in options
    ]
    assert chat.options == {name: fields[name] for name in options}


@given(st.binary() | st.builds(lambda raw: b'{"model":"m",' + raw + b"}", st.binary()))
def test_any_bytes_are_read_or_refused(body: bytes):
    """No body raises anything but an error for its client."""
    try:
        read(body, "/chat")
    except ExchangeError as error:
        assert error.status in {400, 422}  # noqa: PT017


@pytest.mark.parametrize("body", [None, b"", b"[]", b"{", b'"a"', b"\xff", b'{"model":"m"} x', b'{"a":' + b"[" * 9000])
def test_no_json_object(body: bytes | None):
    """400, and what it should have been."""
    with pytest.raises(ExchangeError, match="no JSON object") as caught:
        read(body, "/chat")
    assert caught.value.status == 400


def test_half_a_surrogate_pair_is_read():
    """JavaScript writes one where it cut a text within a character."""
    chat = read(rb'{"model":"m","provider":"a","messages":[{"role":"user","content":"\ud83d"}]}', "/chat")
    assert json.loads(chat.body("m")) == {"model": "m", "messages": [{"role": "user", "content": "?"}]}


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (b'"system":"\\u0062","messages":[ {"a" : 1}]', b'[{"role":"system","content":"\\u0062"},{"a" : 1}]'),
        (b'"messages": [ ] ,"system":"s"', b'[{"role":"system","content":"s"}]'),
        (b'"messages":[{}],"system":null', b"[{}]"),
    ],
)
def test_a_system_of_its_own_is_the_first_message(fields: bytes, messages: bytes):
    """As chronicle has it; the messages' bytes stay."""
    chat = read(b'{"model":"m",%b}' % fields, "/chat")
    assert chat.body("m") == b'{"model":"m","messages":%b}' % messages


def test_headers_that_are_not_for_providers():
    """On its routes a bearer token is for the gateway's guard; on OpenAI's path it is the client's key of OpenAI."""
    assert read(body_of(), "/chat?x").private_headers == {
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"content-encoding",
    }
    assert read(body_of(), "/v1/chat/completions?x").private_headers == {b"content-encoding"}


@pytest.mark.parametrize(("model", "sent"), [({}, "other"), ({"model": None}, "other"), ({"model": ""}, "other")])
def test_a_body_without_a_model_gets_one(model: dict[str, Any], sent: str):
    """It is added to a body that had none; a body with one keeps it."""
    chat = read(json.dumps({"messages": []} | model).encode(), "/chat")
    assert not chat.model
    assert json.loads(chat.body("other"))["model"] == sent
    assert json.loads(read(body_of(timeout=1), "/chat").body("other")) == {"model": "m", "messages": []}


@pytest.mark.parametrize("fields", [{"model": 1}, {"system": 1}])
def test_a_wrong_type_is_refused(fields: dict[str, Any]):
    """422, with the field's name."""
    with pytest.raises(ExchangeError, match=f"'{next(iter(fields))}' is wrong: expected a string") as caught:
        read(body_of(**fields), "/chat")
    assert caught.value.status == 422


@given(st.floats(0, 2**47 / 1000), st.integers(0))
def test_ids(now: float, seed: int):
    """They are UUIDs of version 7 that begin with the time in milliseconds, and no two are alike."""
    rng = random.Random(seed)
    one, two = UUID(uuid7(now, rng)), UUID(uuid7(now, rng))
    assert (one.version, one.variant) == (7, UUID(RUN).variant)
    assert one.int >> 80 == int(now * 1000)
    assert one != two
