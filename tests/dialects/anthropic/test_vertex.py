"""Claude's paths on Vertex, where they lead, and who reads their requests and responses."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.model import parse
from gateway.dialects.anthropic import MESSAGES
from gateway.dialects.anthropic.vertex import COUNT, RAW_PREDICT, read_path, with_model
from gateway.dialects.conversation import Text
from gateway.dialects.wire.edit import Peek
from gateway.providers import table
from gateway.proxy.routing.routes import parse_path
from tests.support.routes import first

CLAUDE = "/projects/p/locations/eu/publishers/anthropic/models"
VERTEX = "/v1/projects/own/locations/global"


@pytest.mark.parametrize(
    ("path", "model", "stream"),
    [
        (f"/v1{CLAUDE}/claude-x@001:rawPredict", "claude-x@001", False),
        (f"/v1beta1{CLAUDE}/claude-x%40001:streamRawPredict", "claude-x@001", True),
        (f"{CLAUDE}/count-tokens:rawPredict", "", False),
        ("/v1/publishers/anthropic/models/c:rawPredict/", "c", False),
    ],
)
def test_a_path_names_the_model_and_whether_it_streams(path: str, model: str, stream: bool) -> None:
    """A token count's body names it; other methods read nothing."""
    operation, listed = read_path("POST", path), read_path("GET", path)
    assert operation is not None
    assert (operation.model, operation.stream, operation.dialect) == (model, stream, RAW_PREDICT if model else COUNT)
    assert listed is not None
    assert listed.dialect is None


@pytest.mark.parametrize(
    "path",
    [
        "/v1/messages",
        f"/v1{CLAUDE}/claude-x:predict",
        f"/v1{CLAUDE}/claude-x",
        f"/v1{CLAUDE.replace('anthropic', 'google')}/g:rawPredict",
        f"/v1{CLAUDE.replace('anthropic', 'mistralai')}/m:streamRawPredict",
    ],
)
def test_other_paths_are_no_predictions_of_claudes(path: str) -> None:
    """Those of other publishers and other actions."""
    assert read_path("POST", path) is None


NAMES = st.text("abz.:@-_ ü%", min_size=1, max_size=12).filter(lambda name: name != "count-tokens" and ".." not in name)


@given(name=NAMES, stream=st.booleans())
def test_another_model_in_a_path_is_that_model(name: str, stream: bool) -> None:
    """The project and the action stay; a token count's path has no model to change."""
    action = "streamRawPredict" if stream else "rawPredict"
    path = with_model(f"/v1{CLAUDE}/smart:{action}", name)
    operation = read_path("POST", path)
    assert operation is not None
    assert (operation.model, operation.stream, path.startswith(f"/v1{CLAUDE}/")) == (name, stream, True)
    assert with_model(f"/v1{CLAUDE}/count-tokens:rawPredict", name) == f"/v1{CLAUDE}/count-tokens:rawPredict"


@pytest.mark.parametrize("mount", ["", "/vertex"])
@pytest.mark.parametrize("version", ["/v1", "/v1beta1", ""])
@pytest.mark.parametrize("configured", ["", f'[providers.vertex]\nbase_url = "http://127.0.0.1:9{VERTEX}"\n'])
def test_predictions_lead_to_vertex(mount: str, version: str, configured: str) -> None:
    """With any version, whoever else claims the model's name; a path without a version gets the provider's."""
    providers = table.build(parse(configured, {}, "t"), {"GOOGLE_CLOUD_PROJECT": "own"})
    target = f"{version}{CLAUDE}/claude-x:streamRawPredict"
    parsed = parse_path("POST", mount + target, (), providers)
    route = first(parsed, Peek(), providers)
    assert (parsed.endpoint.name, route.provider.name, route.operation) == ("anthropic-vertex", "vertex", "chat")
    assert (route.target, route.model, route.stream) == (
        f"{version or '/v1'}{CLAUDE}/claude-x:streamRawPredict",
        "claude-x",
        True,
    )
    assert route.dialect is not None
    assert route.dialect.traced == "anthropic-messages"


def test_bodies_are_anthropics() -> None:
    """The same readers, but nothing is translated; a count is of input tokens."""
    body = b'{"anthropic_version":"vertex-2023-10-16","messages":[{"role":"user","content":"hi"}],"max_tokens":9}'
    assert RAW_PREDICT.read_request(body) == MESSAGES.read_request(body)
    assert RAW_PREDICT.read_request(body).input_messages[0].parts == [Text(content="hi")]
    assert RAW_PREDICT.read_conversation is None
    usage: Any = COUNT.read_response(b'{"input_tokens":7}').usage
    assert (usage.input_tokens, usage.output_tokens) == (7, None)
