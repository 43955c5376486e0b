"""Chronicle's requests: which they are, how their options are taken out, and how its clients are told of errors."""

import json
import random
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ExchangeError, Kind
from gateway.proxy.chronicle import errors
from gateway.proxy.chronicle.requests import healthy, is_chat, read, speaks, uuid7
from gateway.proxy.routing.request_options import NONE, Named, Options
from gateway.tracing.metadata import Metadata

RUN = "01a212d9-478c-7759-916d-18ab7b348327"


def body_of(**fields: Any) -> bytes:
    """Return a chat request with these fields."""
    return json.dumps({"model": "m", "messages": []} | fields).encode()


def asked(**fields: Any) -> Options:
    """Return the options that a body with these fields has."""
    return read(body_of(**fields), (), "/chat", NONE).options


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
    assert is_chat("POST", path, speaks=False) is plain
    assert is_chat("POST", path, speaks=True) is speaking
    assert not is_chat("GET", path, speaks=True)


def test_what_speaks_for_it():
    """Any header with its prefix, in any case; none of ours."""
    assert speaks(((b"Host", b"a"), (b"X-Chronicle-User-Id", b"u")))
    assert not speaks(((b"x-gateway-user", b"u"), (b"chronicle", b"1")))


def test_its_health():
    """The root and `/healthz`, for GET and HEAD."""
    assert [healthy("GET", target) for target in ("/", "/?x=1", "/healthz", "/chat", "//")] == [True] * 3 + [False] * 2
    assert healthy("HEAD", "/")
    assert not healthy("POST", "/healthz")


NAMES = st.text(max_size=8).filter(
    lambda name: name not in {"model", "messages", "system", *Options.__struct_fields__, *Metadata.__struct_fields__}
)
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
OPTIONS = st.fixed_dictionaries(
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


@given(st.dictionaries(NAMES, WRITTEN, max_size=5), OPTIONS, st.data())
def test_what_goes_up_is_the_body_without_its_options(others: dict[str, bytes], options: dict[str, Any], data: Any):
    """In the order they came, each value with the bytes it came with; where there is no option, the very body."""
    fields = {"model": b'"m"', "messages": b"[ ]"} | others | {k: json.dumps(v).encode() for k, v in options.items()}
    order = data.draw(st.permutations(list(fields)))
    gap = data.draw(GAPS)
    members = [b"%b%b%b:%b%b" % (gap, json.dumps(name).encode(), gap, gap, fields[name]) for name in order]
    body = gap + b"{" + b",".join(members) + gap + b"}" + gap
    chat = read(body, (), "/chat", NONE)
    if not options:
        assert chat.body == body
    sent = msgspec.json.decode(chat.body, type=dict[str, msgspec.Raw])
    assert [(name, bytes(raw)) for name, raw in sent.items()] == [
        (name, fields[name]) for name in order if name not in options
    ]
    for name in options.keys() - {"models", "metadata"}:
        assert getattr(chat.options, name) == options[name]
    assert chat.options.metadata.extra == (options.get("metadata") or None)


@given(st.binary() | st.builds(lambda raw: b'{"model":"m",' + raw + b"}", st.binary()))
def test_any_bytes_are_read_or_refused(body: bytes):
    """No body raises anything but an error that its client is told."""
    try:
        read(body, (), "/chat", NONE)
    except ExchangeError as error:
        assert error.status in {400, 422}  # noqa: PT017


def test_all_options():
    """Each has its value, and models and metadata their own types."""
    told = asked(
        provider="groq",
        override_url="http://a",
        api_key="k",
        models=[{"model": "a", "provider": "b"}, {"model": "c", "provider": "d", "api_key": "e", "api_key_name": None}],
        random_choice=True,
        timeout=1500,
        retry={"max_tries": 2, "initial_backoff": None},
        metadata={"application": "shop", "run_id": RUN, "step_index": 3, "colour": "red", "extra": {"size": 1}},
    )
    assert told == Options(
        provider="groq",
        override_url="http://a",
        api_key="k",
        models=(Named(model="a", provider="b"), Named(model="c", provider="d", api_key="e")),
        random_choice=True,
        timeout=1500.0,
        retry={"max_tries": 2},
        metadata=Metadata(application="shop", run_id=RUN, step_index=3, extra={"size": 1, "colour": "red"}),
    )


def test_the_body_goes_before_the_headers():
    """A header counts where the body says nothing, and the model is the exception: there the header says another."""
    said = Options(model="other", provider="header", timeout=5.0, metadata=Metadata(application="h", user_id="u"))
    chat = read(body_of(provider="body", metadata={"application": "b"}), (), "/chat", said)
    assert (chat.options.provider, chat.options.timeout, chat.options.model) == ("body", 5.0, "other")
    assert chat.options.metadata == Metadata(application="b", user_id="u")
    assert chat.metadata
    assert json.loads(chat.body)["model"] == "m"
    assert not read(body_of(), (), "/chat", said).metadata


def test_nothing_said_is_nothing():
    """Null and an empty name are no options; neither is null metadata."""
    empty = dict.fromkeys(["provider", "models", "random_choice", "timeout", "retry", "override_url"])
    assert asked(**empty, api_key="", metadata={"application": None, "extra": None}) == NONE


@pytest.mark.parametrize(
    ("fields", "named", "expected"),
    [
        ({"model": 1}, "'model'", "a string"),
        ({"provider": 1}, "'provider'", "a string"),
        ({"override_url": []}, "'override_url'", "a string"),
        ({"api_key": {"a": "sk-secret"}}, "'api_key'", "a string"),
        ({"models": "a"}, "'models'", "a list of {model, provider}"),
        ({"models": [{"provider": "a"}]}, "'models'", "`model`"),
        ({"models": [{"model": "a", "key": "sk-secret"}]}, "'models'", "`key`"),
        ({"random_choice": "yes"}, "'random_choice'", "true or false"),
        ({"timeout": "1"}, "'timeout'", "milliseconds above 0"),
        ({"timeout": 0}, "'timeout'", "milliseconds above 0"),
        ({"timeout": True}, "'timeout'", "milliseconds above 0"),
        ({"retry": []}, "'retry'", "an object"),
        ({"retry": {"tries": 1}}, "retry", "`tries`"),
        ({"retry": {"max_tries": 0}}, "retry", "max_tries must be from 1"),
        ({"retry": {"increase": {"type": "sideways"}}}, "retry", "sideways"),
        ({"metadata": "a"}, "'metadata'", "an object"),
        ({"metadata": {"application": 1}}, "'metadata.application'", "a string"),
        ({"metadata": {"run_id": "nightly"}}, "'metadata.run_id'", "a UUID"),
        ({"metadata": {"step_id": "1"}}, "'metadata.step_id'", "a UUID"),
        ({"metadata": {"step_index": 1.5}}, "'metadata.step_index'", "a whole number"),
        ({"metadata": {"step_index": -1}}, "'metadata.step_index'", "a whole number"),
        ({"metadata": {"prompt_version": True}}, "'metadata.prompt_version'", "a whole number"),
        ({"system": 1}, "'system'", "a string"),
    ],
)
def test_a_wrong_type_is_told(fields: dict[str, Any], named: str, expected: str):
    """422, the field's name and what was expected there, and nothing of its value that may be a key."""
    with pytest.raises(ExchangeError) as caught:
        asked(**fields)
    error = caught.value
    assert (error.status, error.kind) == (422, Kind.BAD_INPUT)
    assert named in error.message
    assert expected in error.message
    assert "sk-secret" not in error.message
    assert json.loads(errors.ours(error))["error"]["kind"] == "invalid_request"


@pytest.mark.parametrize("body", [None, b"", b"[]", b"{", b'"a"', b"\xff", b'{"model":"m"} x', b'{"a":' + b"[" * 9000])
def test_no_json_object(body: bytes | None):
    """400, and what it should have been."""
    with pytest.raises(ExchangeError, match="no JSON object") as caught:
        read(body, (), "/chat", NONE)
    assert caught.value.status == 400


def test_half_a_surrogate_pair_is_read():
    """JavaScript writes one where it cut a text within a character."""
    chat = read(rb'{"model":"m","provider":"a","messages":[{"role":"user","content":"\ud83d"}]}', (), "/chat", NONE)
    assert json.loads(chat.body) == {"model": "m", "messages": [{"role": "user", "content": "?"}]}


@pytest.mark.parametrize(
    ("fields", "said", "model"),
    [
        ({"model": None}, Options(model="a"), "a"),
        ({"model": ""}, Options(models=(Named(model="b"), Named(model="c"))), "b"),
        ({"model": None, "models": [{"model": "d", "provider": "e"}]}, NONE, "d"),
    ],
)
def test_a_model_is_put_where_there_is_none(fields: dict[str, Any], said: Options, model: str):
    """The body that is sent has one to be renamed, wherever it was said."""
    assert json.loads(read(body_of(**fields), (), "/chat", said).body)["model"] == model


def test_a_missing_model():
    """It is told in the seed's words."""
    with pytest.raises(ExchangeError, match="Request is missing model name") as caught:
        read(b'{"messages":[]}', (), "/chat", NONE)
    assert caught.value.status == 400
    assert json.loads(errors.ours(caught.value))["error"]["kind"] == "missing_model"


@pytest.mark.parametrize(
    ("fields", "messages"),
    [
        (b'"system":"\\u0062","messages":[ {"a" : 1}]', b'[{"role":"system","content":"\\u0062"},{"a" : 1}]'),
        (b'"messages": [ ] ,"system":"s"', b'[{"role":"system","content":"s"}]'),
        (b'"messages":[{}],"system":null', b"[{}]"),
    ],
)
def test_a_system_of_its_own_is_the_first_message(fields: bytes, messages: bytes):
    """As the seed has it; the messages' bytes stay."""
    chat = read(b'{"model":"m",%b}' % fields, (), "/chat", NONE)
    assert chat.body == b'{"model":"m","messages":%b}' % messages


def test_headers_that_are_not_for_providers():
    """On its routes a bearer token is for who guards the gateway; on OpenAI's path it is the client's key of OpenAI."""
    headers = ((b"Authorization", b"Bearer t"), (b"Content-Encoding", b"gzip"), (b"Accept", b"*/*"))
    assert read(body_of(), headers, "/chat?x", NONE).headers == ((b"Accept", b"*/*"),)
    kept = read(body_of(), headers, "/v1/chat/completions?x", NONE).headers
    assert kept == ((b"Authorization", b"Bearer t"), (b"Accept", b"*/*"))


@given(st.floats(0, 2**47 / 1000), st.integers(0))
def test_ids(now: float, seed: int):
    """They are UUIDs of version 7 that begin with the time in milliseconds, and no two are alike."""
    rng = random.Random(seed)
    one, two = UUID(uuid7(now, rng)), UUID(uuid7(now, rng))
    assert (one.version, one.variant) == (7, UUID(RUN).variant)
    assert one.int >> 80 == int(now * 1000)
    assert one != two


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (Kind.SERVER, "provider_server_error"),
        (Kind.SENDING, "provider_connection_error"),
        (Kind.PARSING, "parsing_provider_response"),
        (Kind.CLOSED, "provider_connection_closed"),
        (Kind.RATE_LIMIT, "rate_limit"),
        (Kind.TIMEOUT, "timeout"),
        (Kind.PERMANENT, "unrecoverable_server_error"),
        (Kind.BAD_INPUT, "provider_rejected_input"),
        (Kind.AUTH, "provider_rejected_token"),
        (Kind.CREDITS, "out_of_credits"),
        (Kind.GENERIC, "generic"),
    ],
)
def test_the_words_for_providers_errors(kind: Kind, word: str):
    """Each kind has the seed's; the provider's body is JSON where it is JSON."""
    error = json.loads(errors.providers(kind, "It failed.", '{"error": {"a": 1}}'))["error"]
    assert error == {"kind": word, "message": "It failed.", "details": {"body": {"error": {"a": 1}}, "details": None}}
    for text, said in (("<html>", "<html>"), ("", None), ("[1", "[1"), ('"a"', "a")):
        assert json.loads(errors.providers(kind, "", text))["error"]["details"]["body"] == said


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ExchangeError(Kind.AUTH, "No token."), "auth_missing"),
        (ExchangeError(Kind.BAD_INPUT, "So not.", status=400, code="dialect_mismatch"), "transforming_request"),
        (ExchangeError(Kind.BAD_INPUT, "Who?", code="unknown_provider"), "missing_provider"),
        (ExchangeError(Kind.BAD_INPUT, "x-chronicle-timeout: ..", code="bad_option"), "invalid_proxy_headers"),
        (ExchangeError(Kind.TOO_LARGE, "Large."), "request_too_large"),
        (ExchangeError(Kind.SENDING, "Refused."), "provider_connection_error"),
        (ExchangeError(Kind.TIMEOUT, "Late."), "timeout"),
    ],
)
def test_the_words_for_errors_of_ours(error: ExchangeError, word: str):
    """The text stands where chronicle's client looks for a provider's."""
    told = json.loads(errors.ours(error))["error"]
    assert told == {"kind": word, "message": error.message, "details": {"body": error.message, "details": None}}
