"""Secrets are found in requests and providers, and removed from texts, attributes, JSON and URLs."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import parse
from gateway.providers import table
from gateway.redaction import REDACTED
from gateway.tracing.secrets import (
    OPAQUE,
    SECRET_ATTRIBUTES,
    SECRET_HEADERS,
    SECRET_PARAMETERS,
    URL_ATTRIBUTES,
    ExchangeSecrets,
    opaque,
    provider_secrets,
    request_secrets,
    scrub_json,
    scrub_named,
    without_secret,
)

KEY = "sk-planted-0123456789abcdef"
SLASHED = "sk-aB3/dE+9xQ=7hGt2LmZ0042/zz"


@pytest.mark.parametrize("name", SECRET_HEADERS)
@pytest.mark.parametrize("value", [KEY, f"Bearer {KEY}", f"Basic {KEY}"])
def test_every_secret_header_is_redacted(name, value):
    """Each header that may hold a key is searched, with or without a scheme."""
    secrets = ExchangeSecrets({name: value}, "/")
    assert KEY in secrets.all
    assert KEY not in secrets.scrub(f"no such key: {KEY}")


@pytest.mark.parametrize("name", SECRET_PARAMETERS)
@pytest.mark.parametrize("prefix", ["", "api_", "X-Amz-", "subscription-"])
def test_every_secret_parameter_is_redacted(name, prefix):
    """Each query parameter that may hold a key is searched, whatever its prefix, plain and percent-encoded."""
    assert KEY in request_secrets({}, f"/v1/models?alt=sse&{prefix}{name.title()}={KEY}&x=y")
    assert KEY in request_secrets({}, f"/?{prefix}{name}={KEY.replace('-', '%2D')}")


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "proxy-authorization", "x-auth-token",
        "x-gateway-token", "x-amz-security-token", "ocp-apim-subscription-key",
    ],
)  # fmt: skip
def test_the_makers_own_headers_are_among_the_secret_ones(name):
    """A list of its own, since a name that the module forgets would be missing from its list too."""
    assert KEY in ExchangeSecrets({name: KEY}, "/").all


@pytest.mark.parametrize(
    "name", ["api_key", "access_token", "client_secret", "X-Amz-Signature", "sig", "password", "code"]
)
def test_the_makers_own_parameters_are_among_the_secret_ones(name):
    """Likewise: Google's key, OAuth's token and secret, a signature of AWS, of Azure, a password, OAuth's code."""
    assert KEY in request_secrets({}, f"/v1/models?{name}={KEY}")


@pytest.mark.parametrize(
    ("headers", "target", "found"),
    [
        ({"authorization": f"Bearer {KEY}"}, "/", {f"Bearer {KEY}", KEY}),
        ({"cookie": f"a=one-cookie; b={KEY}"}, "/", {f"a=one-cookie; b={KEY}", "one-cookie", f"b={KEY}", KEY}),
        ({}, "/x?access_token=a%2Bbcdef", {"a%2Bbcdef", "a+bcdef"}),
        ({"authorization": "Bearer short"}, "/", {"Bearer short"}),
        ({"Sec-WebSocket-Protocol": f"realtime, openai-insecure-api-key.{KEY}"}, "/", {KEY}),
        (
            {"authorization": "Basic dXNlcjpwYXNzLXdvcmQ="},
            "/",
            {"Basic dXNlcjpwYXNzLXdvcmQ=", "dXNlcjpwYXNzLXdvcmQ=", "user:pass-word", "pass-word"},
        ),
        ({"authorization": "Basic no-base64"}, "/", {"Basic no-base64", "no-base64"}),
        ({}, f"http://user:{KEY}@host/v1/models", {f"user:{KEY}", KEY}),
        ({"user-agent": KEY}, f"/{KEY}?model={KEY}", {KEY}),  # by its form
        ({"user-agent": "own-0123456789abcdef"}, "/own-0123456789abcdef?model=own-0123456789abcdef", set()),
        ({"X-Portkey-Api-Key": "vendors-0123"}, "/", {"vendors-0123"}),
        ({"Helicone-Auth": "Bearer vendors-0123"}, "/", {"Bearer vendors-0123", "vendors-0123"}),
        ({"cf-aig-authorization": "Bearer vendors-0123"}, "/", {"Bearer vendors-0123", "vendors-0123"}),
        ({"X-My-Secret": "vendors-0123"}, "/", {"vendors-0123"}),
        ({"X-Whatever": "gsk_0123456789abcdef"}, "/", {"gsk_0123456789abcdef"}),
        ({"X-Gateway-Models": '[{"model": "m", "api_key": "vendors-0123"}]'}, "/", {"vendors-0123"}),
        ({"X-Author": "Some Author", "Idempotency-Key": "stainless-retry-1", "x-keyboard": "qwertz"}, "/", set()),
        ({}, "/v1/models?auth=vendors-0123&api%5Fkey=vendors-4567", {"vendors-0123", "vendors-4567"}),
    ],
)
def test_secrets_of_a_request(headers, target, found):
    """Headers, cookies, the query and a URL's user are searched; a value shorter than six characters is none."""
    assert set(ExchangeSecrets(headers, target).all) == found


def test_secrets_of_a_provider():
    """Keys, configured headers, and the query of an override URL are what a provider gets for the client."""
    toml = "[providers.local]\nbase_url = 'http://x'\napi_keys = ['k1', 'k2']\nheaders = {X-Team = 't'}"
    provider = table.build(parse(toml, {}, "t"), {})["local"]
    assert set(provider_secrets(provider)) == {"k1", "k2", "t"}
    environ = {"OPENAI_API_KEY": "from-environment"}
    assert provider_secrets(table.build(parse("", {}, "t"), environ)["openai"]) == ("from-environment",)


def test_upstream_secrets_are_redacted_from_when_they_are_added():
    """Credentials of a cloud are known only once a request is signed; a text may have been scrubbed before."""
    secrets = ExchangeSecrets({"x-api-key": "client-key"}, "/")
    assert secrets.scrub("client-key first-key later-key") == f"{REDACTED} first-key later-key"
    secrets.add(["first-key"])
    assert secrets.scrub("client-key first-key later-key") == f"{REDACTED} {REDACTED} later-key"
    secrets.add(["later-key"])
    assert secrets.scrub("client-key first-key later-key") == " ".join([REDACTED] * 3)


def test_the_longest_secret_is_redacted_first():
    """A secret that begins with another is redacted as a whole, and neither is in the repr."""
    secrets = ExchangeSecrets({}, "/")
    secrets.add(["secret", "secret-and-more"])
    assert secrets.scrub("secret-and-more") == REDACTED
    assert secrets.all == ("secret-and-more", "secret")
    assert repr(secrets) == "<ExchangeSecrets>"


def test_a_scrubbed_text_is_valid_utf8():
    """A byte of a header that is no UTF-8 becomes a question mark."""
    assert ExchangeSecrets({}, "/").scrub("a\udcffb") == "a?b"


FORMS = {
    "as JSON": json.dumps,
    "as JSON with its slashes escaped": lambda key: key.replace("/", "\\/"),
    "percent-encoded": lambda key: quote(key, safe=""),
    "percent-encoded, in lower case": lambda key: (
        quote(key, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d")
    ),
    "in base64": lambda key: base64.b64encode(key.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_redacted_in_every_form_in_which_a_provider_may_repeat_it(form):
    """Errors quote what they were sent, each in its own encoding."""
    secrets = ExchangeSecrets({"x-api-key": SLASHED}, "/")
    encoded = FORMS[form](SLASHED)
    assert encoded.strip('"') not in secrets.scrub(f"no such key: {encoded}.")
    assert secrets.scrub("no such key") == "no such key"


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_secret_within_base64_is_redacted_at_any_offset(before, after):
    """Only the one or two bytes at its ends that share their letters with a neighbour may stay."""
    for encode, decode in ((base64.b64encode, base64.b64decode), (base64.urlsafe_b64encode, base64.urlsafe_b64decode)):
        encoded = encode(before + SLASHED.encode() + after).decode()
        left = ExchangeSecrets({"x-api-key": SLASHED}, "/").scrub(encoded)
        assert REDACTED in left
        for part in left.split(REDACTED):
            assert SLASHED[3:9].encode() not in decode(part + "=" * (-len(part) % 4) if len(part) % 4 != 1 else "")


def test_attributes_are_scrubbed_content_included():
    """Content stays valid JSON; numbers and lists are left alone."""
    attributes = {"gen_ai.output.messages": json.dumps([{"content": f"env says {KEY}!"}]), "count": 1, "list": ["a"]}
    ExchangeSecrets({"x-api-key": KEY}, "/").scrub_attributes(attributes)
    assert attributes == {
        "gen_ai.output.messages": '[{"content": "env says [redacted]!"}]',
        "count": 1,
        "list": ["a"],
    }


def test_a_secret_is_redacted_as_it_is_escaped_within_content():
    """Content is JSON, in which a quote is escaped; other attributes hold the secret as it is."""
    secret = 'sk-"quoted"-0123456789abcdef'
    attributes = {"gen_ai.input.messages": json.dumps([secret]), "gateway.error": secret}
    ExchangeSecrets({"x-api-key": secret}, "/").scrub_attributes(attributes)
    assert attributes == {"gen_ai.input.messages": '["[redacted]"]', "gateway.error": REDACTED}


def test_a_secret_that_may_be_a_word_stays_in_attributes():
    """Local servers accept any key, such as `ollama`; a conversation about one is recorded as it is."""
    secrets = ExchangeSecrets({"authorization": "Bearer ollama"}, "/?code=python")
    assert {"ollama", "python"} <= set(secrets.all)
    attributes = {"gen_ai.input.messages": '["ollama in python"]', "gateway.provider": "ollama"}
    secrets.scrub_attributes(attributes)
    assert attributes == {"gen_ai.input.messages": '["ollama in python"]', "gateway.provider": "ollama"}


@pytest.mark.parametrize(("length", "redacted"), [(OPAQUE - 1, False), (OPAQUE, True), (OPAQUE + 1, True)])
def test_a_secret_is_opaque_from_twenty_characters_on(length, redacted):
    """A secret of exactly that length is redacted in content, one that is a character shorter is not."""
    secret = "s" * length
    attributes = {"gen_ai.input.messages": json.dumps([secret])}
    ExchangeSecrets({"x-api-key": secret}, "/").scrub_attributes(attributes)
    assert (REDACTED in attributes["gen_ai.input.messages"]) is redacted
    assert (opaque([secret]) == [secret]) is redacted
    assert OPAQUE == 20


def test_opaque_secrets_have_no_spaces_and_come_longest_first():
    """A header's whole value is no secret of its own; a secret within another comes after it."""
    assert opaque([KEY, f"Bearer {KEY}", KEY + "-longer", KEY]) == [KEY + "-longer", KEY]


LONG = "sk-0123456789abcdefghijABCDEFGHIJ"  # 33 characters, of which 17 are a half


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"a {LONG} b {LONG}", "a [redacted] b [redacted]"),
        (f"it is {LONG[:-1]}", "it is [redacted]"),
        (f"it is {LONG[:17]}", "it is [redacted]"),
        (f"it is {LONG[:17]}, no {LONG}!", "it is [redacted], no [redacted]!"),
        (f"it is {LONG[:16]}", f"it is {LONG[:16]}"),
        (f"{LONG}{LONG}", "[redacted][redacted]"),
        ("", ""),
    ],
)
def test_half_a_secret_is_redacted_too(text, left):
    """A stream may end, and a text may be cut, within a secret: its first half is still secret."""
    assert without_secret(text, LONG, "[redacted]") == left
    assert without_secret(text.encode(), LONG.encode(), b"[redacted]") == left.encode()
    assert scrub_json(json.dumps(text).encode(), [LONG]) == json.dumps(left).encode()


@pytest.mark.parametrize("secret", ['quoted-"-0123456789', "slashed-\\-0123456789", "latin-é-0123456789"])
def test_scrubbed_json_is_valid(secret):
    """A secret is found as JSON escapes it."""
    encoded = json.dumps({"a": [f"x {secret} y"]}, ensure_ascii=False).encode()
    assert json.loads(scrub_json(encoded, [secret])) == {"a": [f"x {REDACTED} y"]}


@pytest.mark.parametrize("name", SECRET_ATTRIBUTES)
@pytest.mark.parametrize("prefix", ["", "http.request.header.", "http.response.header.x-", "HTTP_"])
@pytest.mark.parametrize("joiner", ["-", "_", "."])
def test_every_secret_attribute_is_redacted(name, prefix, joiner):
    """An instrumentation of HTTP may record headers, under names that it spells in its own way."""
    assert scrub_named(prefix + name.replace("-", joiner), ["value"]) == REDACTED


@pytest.mark.parametrize(
    "name", ["http.request.header.accept", "gen_ai.usage.input_tokens", "cookies.count", "keyword", "secretary"]
)
def test_other_attributes_stay(name):
    """A name is matched by its whole last words."""
    assert scrub_named(name, KEY) == KEY


@pytest.mark.parametrize("name", sorted(URL_ATTRIBUTES))
@pytest.mark.parametrize("parameter", [*SECRET_PARAMETERS, "api_key", "x-api-key", "apiKey", "sessionToken"])
def test_every_secret_parameter_of_a_recorded_url_is_redacted(name, parameter):
    """In whichever attribute a URL is recorded, as a whole or its query alone."""
    assert scrub_named(name, f"https://x.example/v1?{parameter}=k1&alt=sse#a") == (
        f"https://x.example/v1?{parameter}={REDACTED}&alt=sse#a"
    )
    assert scrub_named(name, f"a=1&{parameter}=k1") == f"a=1&{parameter}={REDACTED}"


@pytest.mark.parametrize("url", ["/key=1/monkey=2?donkey=3&zipcode=4&q=keys&design=5", "/v1/models"])
def test_other_parameters_stay(url):
    """A path is no query, and a word that merely ends like a secret's name is another word."""
    assert scrub_named("url.full", url) == url
    assert scrub_named("note", f"/?key={KEY}") == f"/?key={KEY}"
