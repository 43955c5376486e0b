"""Deployments become providers with free names, shared or named keys, prefixes, and candidates."""

import pytest

from gateway.cli.litellm.deployments import Deployment, Server
from gateway.cli.litellm.notes import Notes
from gateway.cli.litellm.servers import Servers
from gateway.providers.catalog import CATALOG

OWN = Server(provider="", base_url="http://vllm.internal:8000/v1")


def deployment(server: Server, name: str = "n", model: str = "m", key: str | None = None) -> Deployment:
    """Return an entry of model_list."""
    return Deployment(path="$.m[0]", name=name, server=server, model=model, key=key, order=None, share={})


def servers(*deployments: Deployment) -> tuple[Servers, list[str]]:
    """Return the servers and the warnings."""
    notes = Notes()
    return Servers(list(deployments), notes), notes.warnings


def test_names_are_made_of_addresses_and_never_taken():
    """A second server of a host gets a number; no name is one of the catalog's."""
    other = Server(provider="", base_url="http://vllm.internal:8000/v2")
    found, warnings = servers(deployment(OWN), deployment(other), deployment(Server(provider="groq")))
    assert list(found.tables) == ["vllm-internal-8000", "vllm-internal-8000-2"]
    assert not set(found.tables) & set(CATALOG)
    assert [found.candidate(each)["provider"] for each in found.groups["n"]] == [*found.tables, "groq"]
    assert warnings == []


def test_one_key_is_the_providers_and_several_are_named():
    """A candidate names its key if it is not the provider's."""
    one, _ = servers(deployment(OWN, key="${env:A}"), deployment(OWN, key="${env:A}"))
    assert (one.tables["vllm-internal-8000"]["api_key"], one.keys) == ("${env:A}", {})
    two, _ = servers(deployment(OWN, key="${env:A}"), deployment(OWN, key="${env:B_C}"))
    assert two.keys == {"a": "${env:A}", "b-c": "${env:B_C}"}
    assert [two.candidate(each)["api_key_name"] for each in two.groups["n"]] == ["a", "b-c"]


@pytest.mark.parametrize(
    ("name", "model", "prefix"),
    [("mine/*", "*", "mine/"), ("*", "*", None), ("a*b", "*", None), ("mine/*", "m*", None)],
)
def test_a_wildcard_is_a_prefix_or_a_warning(name, model, prefix):
    """Other patterns have no equivalent."""
    found, warnings = servers(deployment(OWN, name, model))
    assert found.tables["vllm-internal-8000"].get("prefix") == prefix
    assert ["is a wildcard that is not a prefix" in each for each in warnings] == ([] if prefix else [True])
    assert found.groups == {}


def test_a_server_that_cannot_work_is_a_warning():
    """The gateway's own table of providers refuses it."""
    bad = Server(provider="", base_url="no url")
    found, warnings = servers(deployment(bad), deployment(bad))
    assert (found.tables, found.groups) == ({}, {})
    assert ["cannot be used: " in warnings[0], "like the previous one" in warnings[1]] == [True, True]


def test_a_second_vertex_is_left_out():
    """Its credentials are sent to one address only."""
    found, warnings = servers(deployment(Server(provider="vertex")), deployment(Server(provider="vertex", timeout=1.0)))
    assert len(found.groups["n"]) == 1
    assert "needs a second vertex" in warnings[0]
