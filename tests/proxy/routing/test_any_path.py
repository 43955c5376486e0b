"""Routing of anything: whatever is asked for leads somewhere or is told, and what is sent is one target."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import parse
from gateway.dialects.registry import BUILT_IN
from gateway.dialects.wire.edit import Peek
from gateway.errors import ExchangeError
from gateway.providers import table
from gateway.proxy.headers import forwarded, target, translated
from tests.support.routes import ANTHROPICS, first, parsed

TOML = """
[providers.local]
base_url = "http://127.0.0.1:9000/v1"
[providers.plain]
base_url = "http://127.0.0.1:9001"
dialect = ["anthropic-messages", "gemini"]
"""
ENVIRON = {"AWS_REGION": "r", "GOOGLE_CLOUD_PROJECT": "p", "AZURE_OPENAI_ENDPOINT": "https://a", "OPENAI_API_KEY": "k"}
PROVIDERS = table.build(parse(TOML, {}, "t"), ENVIRON) | {"demo": table.demo("http://127.0.0.1:9/v1")}
WORDS = (
    "v1 v1beta v1alpha models tunedModels projects publishers google api chat completions embeddings generate messages "
    "count_tokens responses openai deployments model converse converse-stream invoke threads upload "
    "g:generateContent a:streamGenerateContent b:countTokens x%2Fy %25 .. us.nova:0"
).split()
segments = st.sampled_from([*WORDS, *PROVIDERS]) | st.text("ab/:%?&=~ü\udcff", max_size=4)
paths = st.lists(segments, max_size=7).map(lambda parts: "/" + "/".join(parts))
PREFIXES = sorted(prefix for each in PROVIDERS.values() for prefix in each.prefixes)
prefixed = st.tuples(st.sampled_from(PREFIXES), st.text("ab/:", max_size=3)).map("".join)
models = st.none() | st.text(max_size=8) | prefixed
fields = st.frozensets(st.sampled_from(["messages", "input", "contents", "system", "response_format"]))
names = st.sampled_from([b"Authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"Cookie", b"X-Other"])
headers = st.lists(st.tuples(names, st.binary(max_size=6)), max_size=3).map(tuple)


@pytest.mark.parametrize(
    "raw",
    [
        "/v1beta/models/gemini/\udcff:generateContent",
        "/v1beta/models/demo/\udcff:generateContent",
        "/model/bedrock%2F\udcff/converse",
        "/model/bedrock%2F%FF/converse",
        "/openai/deployments/azure/\udcff/embeddings",
    ],
)
def test_bytes_in_a_models_place_are_a_name_that_nobody_has(raw):
    """What is sent can be written."""
    found = routed("POST", raw, False, Peek())
    assert found is not None
    _, route = found
    assert route.target.isascii()
    assert route.model is not None
    assert route.model.encode().decode() == route.model


def routed(method, raw, anthropic, seen):
    """Return where a request goes; None where the client is told that it cannot."""
    try:
        where = parsed(method, raw, ANTHROPICS if anthropic else (), PROVIDERS)
        return where, first(where, seen, PROVIDERS)
    except ExchangeError as error:
        if error.status not in {400, 404}:
            raise
        return None


@given(st.sampled_from(["GET", "POST"]), paths, st.booleans(), models, st.booleans(), fields, headers)
def test_anything_leads_somewhere_or_is_told(method, raw, anthropic, model, stream, shape, sent):
    """No path, body or header breaks it, a query goes as it came, and cookies to nobody who was not named by a path."""
    found = routed(method, raw, anthropic, Peek(model, stream, shape))
    if found is None:
        return
    where, route = found
    assert where.endpoint in BUILT_IN
    assert where.provider is None or where.provider is route.provider
    assert route.target.startswith("/")
    assert (route.translated_to is None) == (route.response_dialect is None)
    shown = forwarded(sent, route, decoded=False) if route.translated_to is None else translated(sent, route)
    assert route.addressed or b"Cookie" not in {name for name, _ in shown}
    told = target(sent, route).decode("utf-8", "surrogateescape")
    assert told == route.target or where.endpoint.name == "gemini"
    assert told.partition("?")[0] == route.target.partition("?")[0]
