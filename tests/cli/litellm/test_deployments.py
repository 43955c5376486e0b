"""Entries of model_list: provider, address, model, key, order and share of each."""

import pytest

from gateway.cli.litellm.deployments import PROVIDERS, read
from gateway.cli.litellm.notes import Notes
from gateway.providers.catalog import CATALOG

OWN = "http://h/v1"


def entry(model: str = "groq/x", **params: object):
    """Read one entry; return it and the notes."""
    notes = Notes()
    found = read("$.m[0]", {"model_name": "n", "litellm_params": {"model": model, **params}}, {}, notes)
    return found, notes


@pytest.mark.parametrize(("theirs", "ours"), PROVIDERS.items())
def test_every_provider_of_the_table_is_known_or_needs_an_address(theirs, ours):
    """Our names are in the catalog; a server of the user's is left out without its address."""
    found, notes = entry(f"{theirs}/x")
    if ours:
        assert ours in CATALOG
        assert (found.server.provider, found.model) == (ours, "x")
    else:
        assert (found, ["has no api_base" in each for each in notes.warnings]) == (None, [True])
        found, _ = entry(f"{theirs}/x", api_base=OWN)
        assert (found.server.provider, found.server.base_url) == ("", OWN)


KEYS = {
    "none": ({}, None),
    "a reference": ({"api_key": "os.environ/K"}, "${env:K}"),
    "a literal": ({"api_key": "planted-key"}, "${env:GROQ_API_KEY}"),
    **{f"the placeholder {word}": ({"api_key": word}, None) for word in ("none", "None", "dummy")},
}


@pytest.mark.parametrize(("params", "key"), KEYS.values(), ids=KEYS)
def test_the_key_is_a_reference(params, key):
    """Literal keys are not copied; placeholders are none."""
    found, notes = entry(**params)
    assert found.key == key
    assert "planted" not in str(notes.warnings) + repr(found)


def test_azure_and_bedrock_have_their_own_rules():
    """Azure's deployments are below its endpoint, and Bedrock's region is in its address."""
    azure, notes = entry("azure/d", api_base="https://e.openai.azure.com/openai/v1", api_version="1")
    assert (azure.server.base_url, azure.key) == ("https://e.openai.azure.com", "${env:AZURE_API_KEY}")
    assert any("api_version" in each for each in notes.warnings)
    for model, params in (
        ("bedrock/converse/m", {"aws_region_name": "eu-west-1"}), ("bedrock/eu-west-1/m", {}),
    ):  # fmt: skip
        bedrock, _ = entry(model, **params)
        assert bedrock.server.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"
        assert bedrock.model == "m"


@pytest.mark.parametrize("name", ["weight", "rpm", "tpm"])
def test_a_share_is_a_number(name):
    """Limits are used as weights, with a warning."""
    found, notes = entry(**{name: 3})
    assert found.share == {name: 3}
    assert [f"litellm_params.{name}: is only used as a weight" in each for each in notes.warnings] == (
        [] if name == "weight" else [True]
    )
    found, notes = entry(**{name: "x"})
    assert found.share == {}
    assert "is not a number" in notes.warnings[0]


def test_headers_that_may_be_secret_move_to_variables():
    """Public ones are copied."""
    found, notes = entry(extra_headers={"User-Agent": "me", "x-key": "planted"}, organization="org")
    assert dict(found.server.headers) == {
        "OpenAI-Organization": "org", "User-Agent": "me", "x-key": "${env:HEADER_X_KEY}",
    }  # fmt: skip
    assert list(notes.variables) == ["HEADER_X_KEY"]


def test_parameters_without_an_equivalent_are_warned_of():
    """Each by its path; a timeout of 0 too."""
    found, notes = entry(temperature=0.2, timeout=0)
    assert found.server.timeout is None
    assert [each.partition(":")[0] for each in notes.warnings] == [
        "$.m[0].litellm_params.timeout", "$.m[0].litellm_params.temperature",
    ]  # fmt: skip
