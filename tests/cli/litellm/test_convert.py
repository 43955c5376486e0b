"""`gateway import litellm`: the result works and is equivalent, has no key, and nothing is dropped silently."""

import json
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.litellm import files
from gateway.cli.litellm.convert import Imported, convert
from gateway.config import model as config
from gateway.config.layers import variables_in
from gateway.proxy.routing.context import RuntimeConfig, build_runtime
from tests.cli.test_main import run
from tests.support.gateways import Process
from tests.support.raw_http import exchange, request
from tests.support.upstream import Upstream, reply


def model(name: str, model: str, **params: Any) -> dict[str, Any]:
    """Return an entry of model_list."""
    return {"model_name": name, "litellm_params": {"model": model, **params}}


def working(found: Imported) -> RuntimeConfig:
    """Read what was made with our own loader, as the gateway does, every variable being set."""
    text = files.dumps(found.tables)
    named = variables_in(tomllib.loads(text))
    assert set(named) <= set(found.variables), "each variable is told of"
    environ = dict.fromkeys(named, "http://127.0.0.1:9/key") | {"AWS_REGION": "us-east-1", "GOOGLE_CLOUD_PROJECT": "p"}
    return build_runtime(config.parse(text, environ, "gateway.toml"), environ)


def made(*models: dict[str, Any], **sections: Any) -> Imported:
    """Convert a configuration and see that it works."""
    found = convert({"model_list": list(models), **sections})
    working(found)
    return found


def candidates(found: Imported, alias: str) -> list[str]:
    """Return an alias's candidates."""
    listed = working(found).aliases[alias].candidates
    return [f"{each.provider.name}/{each.model}" for each in listed]


# -- models

PROVIDERS = {
    "openai/gpt-4o": "openai/gpt-4o",
    "gpt-4o": "openai/gpt-4o",
    "claude-sonnet-5": "anthropic/claude-sonnet-5",
    "anthropic/claude-sonnet-5": "anthropic/claude-sonnet-5",
    "azure/my-deployment": "azure-openai/my-deployment",
    "bedrock/anthropic.claude-v2": "aws-bedrock/anthropic.claude-v2",
    "bedrock/converse/anthropic.claude-v2": "aws-bedrock/anthropic.claude-v2",
    "bedrock/us-west-2/anthropic.claude-v2": "aws-bedrock/anthropic.claude-v2",
    "gemini/gemini-3-flash": "gemini/gemini-3-flash",
    "vertex_ai/gemini-3-flash": "vertex/gemini-3-flash",
    "groq/llama-3.3-70b": "groq/llama-3.3-70b",
    "ollama/mistral": "ollama/mistral",
    "ollama_chat/mistral": "ollama/mistral",
    "mistral/mistral-large": "mistral/mistral-large",
    "together_ai/meta-llama/Llama-3": "together/meta-llama/Llama-3",
    "fireworks_ai/accounts/fireworks/models/x": "fireworks/accounts/fireworks/models/x",
    "deepinfra/meta-llama/Llama-3": "deepinfra/meta-llama/Llama-3",
    "openrouter/openai/gpt-4o": "openrouter/openai/gpt-4o",
    "hosted_vllm/facebook/opt": "vllm/facebook/opt",
    "deepseek/deepseek-chat": "deepseek/deepseek-chat",
    "nvidia_nim/meta/llama": "nvidia/meta/llama",
}


@pytest.mark.parametrize(("theirs", "ours"), PROVIDERS.items(), ids=PROVIDERS)
def test_a_model_is_at_the_provider_of_its_prefix(theirs, ours):
    """Their word for a provider becomes ours; the rest is the model's name there."""
    assert candidates(made(model("m", theirs)), "m") == [ours]


def test_a_server_of_ones_own_is_a_provider_named_by_its_host():
    """With the dialect of OpenAI, below the address as it was; the one of OpenAI itself is just that."""
    found = made(
        model("a", "openai/facebook/opt", api_base="http://vllm.internal:8000/v1", api_key="os.environ/VLLM_KEY"),
        model("b", "openai/gpt-4o", api_base="https://api.openai.com/v1/"),
        model("c", "openai/x", api_base="os.environ/MY_BASE"),
        model("d", "hosted_vllm/x", api_base="http://one:1/v1"),
        model("e", "hosted_vllm/y", api_base="http://two:2/v1"),
    )
    assert [candidates(found, name)[0] for name in "abcde"] == [
        "vllm-internal-8000/facebook/opt", "openai/gpt-4o", "my-base/x", "vllm/x", "vllm-2/y",
    ]  # fmt: skip
    assert found.tables["providers"] == {
        "vllm-internal-8000": {"base_url": "http://vllm.internal:8000/v1", "api_key": "${env:VLLM_KEY}"},
        "my-base": {"base_url": "${env:MY_BASE}"},
        "vllm": {"base_url": "http://one:1/v1"},
        "vllm-2": {"base_url": "http://two:2/v1", "dialect": "openai-chat"},
    }
    assert found.warnings == []


def test_servers_of_one_host_have_names_of_their_own():
    """Where their paths or their timeouts differ."""
    bases = ("http://h:1/a/v1", "http://h:1/b/v1", "http://h-1/v1")
    found = made(*(model(base, "openai/x", api_base=base, timeout=n) for base in bases for n in (1, 2)))
    assert set(found.tables["providers"]) == {"h-1", *(f"h-1-{n}" for n in range(2, 7))}
    assert {(each["base_url"], each["timeout"]) for each in found.tables["providers"].values()} == {
        (base, n) for base in bases for n in (1, 2)
    }


def test_addresses_of_azure_and_bedrock_are_said_as_ours_are():
    """Azure's without its path, a second one with it; Bedrock's by its region, a second one with a key of its own."""
    found = made(
        model("a", "azure/x", api_base="https://eu.openai.azure.com/openai/deployments/x", api_version="2024-02-01"),
        model("b", "azure/y", api_base="https://us.openai.azure.com/", api_key="os.environ/US"),
        model("c", "bedrock/m", aws_region_name="eu-west-1"),
        model("d", "bedrock/n", aws_region_name="us-east-1"),
    )
    providers = working(found).providers
    assert [candidates(found, name)[0] for name in "abcd"] == [
        "azure-openai/x", "azure-openai-2/y", "aws-bedrock/m", "aws-bedrock-2/n",
    ]  # fmt: skip
    assert providers["azure-openai"].paths["openai-chat"] == "/openai/v1"
    assert providers["azure-openai-2"].paths["openai-chat"] == "/openai/v1"
    assert providers["aws-bedrock"].origin.host == "bedrock-runtime.eu-west-1.amazonaws.com"
    assert providers["aws-bedrock-2"].origin.host == "bedrock-runtime.us-east-1.amazonaws.com"
    assert set(found.variables) == {"AZURE_API_KEY", "US", "AWS_BEARER_TOKEN_BEDROCK"}
    assert [each.partition(":")[0] for each in found.warnings] == [
        "$.model_list[0].litellm_params.api_version",
        "$.model_list[3]",
    ]


def test_credentials_that_are_named_are_looked_up():
    """The entry's own values win over them."""
    credentials = [
        {"credential_name": "eu", "credential_values": {"api_key": "os.environ/EU", "api_base": "http://eu/v1"}}
    ]
    found = made(
        model("a", "openai/x", litellm_credential_name="eu"),
        model("b", "openai/x", litellm_credential_name="eu", api_base="http://b/v1"),
        credential_list=credentials,
    )
    providers = found.tables["providers"]
    assert {name: said["base_url"] for name, said in providers.items()} == {
        "eu-server": "http://eu/v1",
        "b-server": "http://b/v1",
    }
    assert {said["api_key"] for said in providers.values()} == {"${env:EU}"}
    assert found.warnings == []


def test_several_keys_of_a_provider_have_names():
    """One key is the provider's; of several, each candidate names its own."""
    found = made(
        model("a", "groq/x", api_key="os.environ/ONE"),
        model("b", "openai/x", api_key="os.environ/ONE"),
        model("b", "openai/x", api_key="os.environ/TWO"),
        model("b", "openai/x"),
    )
    assert found.tables["providers"] == {"groq": {"api_key": "${env:ONE}"}}
    assert found.tables["api_keys"] == {"one": "${env:ONE}", "two": "${env:TWO}"}
    listed = working(found).aliases["b"].candidates
    assert [each.provider.key_name for each in listed] == ["one", "two", None]


def test_a_name_for_all_models_of_a_provider_is_a_prefix():
    """One that leads there anyway needs nothing, and the provider keeps the key that was given with it."""
    found = made(
        model("anthropic/*", "anthropic/*", api_key="os.environ/A"),
        model("mine/*", "openai/*", api_base="http://one:1/v1"),
        model("anthropic/*", "anthropic/*", api_key="os.environ/B"),
        model("c", "anthropic/claude-x", api_key="os.environ/B"),
        model("*", "*"),
        model("x-*", "groq/llama-*"),
    )
    assert found.tables["providers"] == {
        "anthropic": {"api_key": "${env:A}"},
        "one-1": {"base_url": "http://one:1/v1", "prefix": "mine/"},
    }
    assert working(found).aliases["c"].candidates[0].provider.key_name == "b"
    assert len(found.warnings) == 2
    assert "$.model_list[5].model_name: is a wildcard that is not a prefix" in found.warnings[1]


def test_timeouts_and_headers_are_of_providers():
    """Where two deployments differ in them they are two providers; a header that may be a secret is not copied."""
    found = made(
        model("a", "openai/x", timeout=5, organization="org-1"),
        model("b", "openai/x", extra_headers={"X-Title": "blue", "x-team": "planted"}),
    )
    assert found.tables["providers"]["openai"] == {"headers": {"OpenAI-Organization": "org-1"}, "timeout": 5}
    second = found.tables["providers"]["openai-2"]
    assert second["headers"] == {"X-Title": "blue", "x-team": "${env:HEADER_X_TEAM}"}
    assert second["base_url"] == "https://api.openai.com/v1"
    assert candidates(found, "b") == ["openai-2/x"]


# -- candidates


def test_entries_of_one_name_are_candidates():
    """Drawn alike, by weight, or by requests a minute; the fastest; or in their order."""
    two = [model("m", "groq/a"), model("m", "mistral/b")]
    assert made(*two).tables["aliases"]["m"]["order"] == "random"
    fastest = made(*two, router_settings={"routing_strategy": "latency-based-routing"})
    assert fastest.tables["aliases"]["m"]["order"] == "fastest"
    weighed = made(model("m", "groq/a", weight=0.1), model("m", "mistral/b", weight=0.9), model("m", "xai/c"))
    assert weighed.tables["aliases"]["m"]["order"] == "weighted"
    assert [each.get("weight", 1) for each in weighed.tables["aliases"]["m"]["candidates"]] == [1, 9, 1e-9]
    by_requests = made(model("m", "groq/a", rpm=6, tpm=1), model("m", "mistral/b", rpm=1440))
    assert [each["weight"] for each in by_requests.tables["aliases"]["m"]["candidates"]] == [6, 1440]
    ordered = made(model("m", "groq/a", order=2), model("m", "mistral/b"), model("m", "xai/c", order=1))
    assert "order" not in ordered.tables["aliases"]["m"]
    assert candidates(ordered, "m") == ["xai/c", "groq/a", "mistral/b"]


def test_fallbacks_are_further_candidates():
    """After the model's own, with what follows those in turn; models in a circle end it."""
    found = made(
        model("a", "groq/a"),
        model("b", "mistral/b"),
        model("c", "xai/c"),
        router_settings={"fallbacks": [{"a": ["b"]}, {"b": ["c", "a"]}]},
        litellm_settings={"default_fallbacks": ["a"]},
    )
    assert candidates(found, "a") == ["groq/a", "mistral/b", "xai/c"]
    assert candidates(found, "b") == ["mistral/b", "xai/c", "groq/a"]
    assert candidates(found, "c") == ["xai/c", "groq/a", "mistral/b"]


def test_fallbacks_come_after_what_is_drawn():
    """Their weight is next to nothing beside the others'."""
    found = made(
        model("a", "groq/a"),
        model("a", "mistral/b"),
        model("c", "xai/c"),
        litellm_settings={"fallbacks": [{"a": ["c"]}], "context_window_fallbacks": [{"c": ["a"]}]},
    )
    alias = found.tables["aliases"]["a"]
    assert alias["order"] == "weighted"
    assert [each.get("weight", 1) for each in alias["candidates"]] == [1, 1, 1e-9]
    assert found.warnings == [
        "$.litellm_settings.context_window_fallbacks[0].c: is tried after any failure here, not only that one",
        "$.model_list[2]: has several deployments of a later order or fallback, which are tried in the listed order",
    ]


def test_another_name_of_a_model_is_an_alias_of_it():
    """It has the same order, also if it is hidden."""
    found = made(
        model("a", "groq/a"),
        model("a", "mistral/b"),
        router_settings={
            "model_group_alias": {"x": "a", "y": {"model": "a", "hidden": True}, "z": "no-such", "a": "a"}
        },
    )
    for name in "xy":
        assert found.tables["aliases"][name] == {"order": "random", "candidates": ["a"]}
        assert candidates(found, name) == ["groq/a", "mistral/b"]
    assert [each.partition(":")[0] for each in found.warnings] == [
        "$.router_settings.model_group_alias.z",
        "$.router_settings.model_group_alias.a",
    ]


def test_settings_that_we_have_are_taken_over():
    """Tries are retries and one, and as many as the longest list of candidates; the router's win."""
    two = [model("m", "groq/a"), model("m", "mistral/b")]
    found = made(
        *two,
        litellm_settings={"num_retries": 9, "request_timeout": 10},
        router_settings={"num_retries": 2, "timeout": 30, "allowed_fails": 3, "cooldown_time": 60},
        general_settings={"master_key": "os.environ/MASTER"},
    )
    assert found.tables["retry"] == {"max_tries": 3}
    assert found.tables["default_timeout"] == 30
    assert found.tables["circuit"] == {"failures": 4, "open_seconds": 60}
    assert found.tables["auth"] == {"required": True, "token": "${env:MASTER}"}
    assert made(*two, litellm_settings={"num_retries": 0}).tables["retry"] == {"max_tries": 2}
    assert made(*[model("m", f"groq/{n}") for n in range(6)]).tables["retry"] == {"max_tries": 6}
    assert made(*two, router_settings={"disable_cooldowns": True}).tables["circuit"] == {"failures": 0}


# -- what has no equivalent


def test_nothing_is_dropped_silently():
    """Each value that has no place here is named with its path."""
    found = made(
        model("a", "groq/a", temperature=0.2, stream_timeout=5, timeout="os.environ/T", rpm=3),
        {**model("b", "sagemaker/x"), "model_info": {"id": "1"}},
        model("c", "openai/x", api_base="http://user:planted@host/v1"),
        model("d", "groq/${env:HOME}"),
        model("e", "groq/x", api_key=3),
        {"model_name": "f"},
        model(7, "groq/x"),
        model("g", "openai/x", api_base="localhost:8000"),
        model("h", "llamafile/x"),
        "what",
        litellm_settings={
            "cache": True,
            "num_retries": "many",
            "fallbacks": [{"no-such": ["a"]}, {"a": ["no-such"]}, 3],
        },
        router_settings={"routing_strategy": "least-busy", "redis_host": "x", "timeout": -1},
        general_settings={"database_url": "planted"},
        environment_variables={"SLACK": "planted"},
        callback_settings={},
    )
    told = [each.partition(": ")[0] for each in found.warnings]
    assert told == [
        "$.callback_settings",
        "$.environment_variables.SLACK",
        "$.model_list[0].litellm_params.timeout",
        "$.model_list[0].litellm_params.temperature",
        "$.model_list[0].litellm_params.stream_timeout",
        "$.model_list[0].litellm_params.rpm",
        "$.model_list[1].model_info",
        "$.model_list[1].litellm_params.model",
        "$.model_list[3].litellm_params.model",
        "$.model_list[4].litellm_params.api_key",
        "$.model_list[5]",
        "$.model_list[6].model_name",
        "$.model_list[8].litellm_params.model",
        "$.model_list[9]",
        "$.model_list[2].litellm_params",
        "$.model_list[7].litellm_params",
        "$.router_settings.routing_strategy",
        "$.litellm_settings.fallbacks[0].no-such",
        "$.litellm_settings.fallbacks[1].a[0]",
        "$.litellm_settings.fallbacks[2]",
        "$.router_settings.timeout",
        "$.litellm_settings.num_retries",
        "$.router_settings.redis_host",
        "$.litellm_settings.cache",
        "$.general_settings.database_url",
    ]
    assert set(found.tables["aliases"]) == {"a", "e"}
    assert "SLACK" in found.variables
    assert "planted" not in str(found.tables) + str(found.warnings) + str(found.variables)


def test_a_literal_key_moves_to_a_variable():
    """The variable is the provider's usual one or the next free one; equal keys share one, and all are listed."""
    found = made(
        model("a", "openai/x", api_key="planted-1"),
        model("b", "openai/y", api_key="planted-2"),
        model("c", "openai/z", api_key="planted-1"),
        model("d", "openai/o", api_base="http://h:1/v1", api_key="planted-3"),
        model("e", "openai/p", api_base="http://h:2/v1", api_key="none"),
        general_settings={"master_key": "planted-4"},
    )
    assert found.variables == {
        "OPENAI_API_KEY": "the key at $.model_list[0].litellm_params.api_key, which is not copied",
        "OPENAI_API_KEY_2": "the key at $.model_list[1].litellm_params.api_key, which is not copied",
        "SERVER_API_KEY": "the key at $.model_list[3].litellm_params.api_key, which is not copied",
        "GATEWAY_TOKEN": "the key at $.general_settings.master_key, which is not copied",
    }
    assert found.tables["api_keys"] == {
        "openai-api-key": "${env:OPENAI_API_KEY}",
        "openai-api-key-2": "${env:OPENAI_API_KEY_2}",
    }
    assert "planted" not in files.dumps(found.tables)


# -- whatever is said

texts = st.text(max_size=8) | st.sampled_from(
    ["a", "b", "*", "a/*", "os.environ/X", "os.environ/9-", "${env:H}", "\x7f", "\ud800"]
)
servers = st.sampled_from(
    [
        "http://h:1/v1",
        "http://h:2",
        "https://H.example/v1?key=planted",
        "http://u:planted@h",
        "os.environ/B",
        "",
        "h",
        "http://[",
        "http://é",
    ]
)
prefixes = st.sampled_from(
    "openai azure bedrock vertex_ai gemini anthropic ollama hosted_vllm groq llamafile sagemaker together_ai".split()
)
anything = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(texts, max_size=2)
numbers = st.integers(-1, 5) | st.floats() | anything
keys = st.sampled_from(["planted-key", "os.environ/K", "os.environ/L", "none", ""]) | anything
entries = st.fixed_dictionaries(
    {
        "model_name": st.sampled_from("abc") | texts,
        "litellm_params": st.fixed_dictionaries(
            {"model": st.builds("{}/{}".format, prefixes, st.sampled_from(["m", "*"]) | texts) | texts},
            optional={
                "api_key": keys,
                "api_base": servers,
                "weight": numbers,
                "rpm": numbers,
                "order": numbers,
                "timeout": numbers,
                "aws_region_name": st.sampled_from(["eu-west-1", "x y", "os.environ/R"]),
                "extra_headers": st.dictionaries(texts, keys, max_size=2),
                "custom_llm_provider": prefixes | anything,
                "organization": texts,
                "litellm_credential_name": st.just("c"),
            },
        ),
    }
)
names = st.sampled_from("abc*") | texts
routes = st.lists(st.dictionaries(names, st.lists(names, max_size=3), max_size=2), max_size=3)
whole = st.fixed_dictionaries(
    {"model_list": st.lists(entries, max_size=6)},
    optional={
        "router_settings": st.fixed_dictionaries(
            {},
            optional={
                "fallbacks": routes,
                "default_fallbacks": st.lists(names, max_size=2) | anything,
                "model_group_alias": st.dictionaries(
                    names, names | st.fixed_dictionaries({"model": names}), max_size=3
                ),
                "routing_strategy": st.sampled_from(["simple-shuffle", "latency-based-routing", "least-busy"]),
                "num_retries": numbers,
                "timeout": numbers,
                "allowed_fails": numbers,
                "cooldown_time": numbers,
            },
        ),
        "litellm_settings": st.fixed_dictionaries(
            {}, optional={"fallbacks": routes | anything, "num_retries": numbers}
        ),
        "general_settings": st.fixed_dictionaries({}, optional={"master_key": keys}),
        "credential_list": st.just([{"credential_name": "c", "credential_values": {"api_key": "planted-key"}}]),
        "environment_variables": st.dictionaries(texts, texts, max_size=2) | anything,
    },
)


@given(whole)
def test_whatever_comes_out_works(said):
    """Any list of models becomes a file that loads and routes, without a key."""
    found = convert(said)
    resolved = working(found)
    assert set(resolved.aliases) == set(found.tables.get("aliases", {}))
    assert "planted" not in files.dumps(found.tables) + str(found.warnings) + str(found.variables)


@given(st.recursive(anything, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)))
def test_no_shape_is_an_error(said):
    """Unknown values are warned of anywhere."""
    working(convert(said))
    assert convert(said).warnings
    for section in ("model_list", "router_settings", "litellm_settings", "general_settings", "credential_list"):
        working(convert({"model_list": [], section: said}))
    working(
        convert(
            {"model_list": [model("a", "groq/x")], "router_settings": {"fallbacks": said, "model_group_alias": said}}
        )
    )


# -- the command

CONFIG = """
model_list:
  - model_name: smart
    litellm_params:
      model: openai/big
      api_base: {url}/v1
      api_key: os.environ/LOCAL_KEY
  - model_name: other
    litellm_params: {{model: groq/x, api_key: planted-key, temperature: 0.2}}
"""


@pytest.mark.integration
async def test_an_imported_configuration_serves(upstream: Upstream, tmp_path):
    """From config.yaml to an answer: the file, `gateway check`, and a request for the model's name."""
    (tmp_path / "config.yaml").write_text(CONFIG.format(url=upstream.url))
    ran = await run(tmp_path, "import", "litellm", "config.yaml", "--output", "made.toml")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "Warning: $.model_list[1].litellm_params.temperature: has no equivalent",
        "Set LOCAL_KEY: as before ($.model_list[0].litellm_params.api_key)",
        "Set GROQ_API_KEY: the key at $.model_list[1].litellm_params.api_key, which is not copied",
    ]
    environ = {"LOCAL_KEY": "local", "GROQ_API_KEY": "groq"}
    assert (await run(tmp_path, "check", "-c", "made.toml", environ=environ)).code == 0
    upstream.answer = lambda _asked: reply({"id": "c", "model": "m", "choices": []})
    async with Process(tmp_path, (tmp_path / "made.toml").read_text(), environ=environ) as gateway:
        body = b'{"model":"smart","messages":[]}'
        assert (await exchange(gateway.url, request("POST", "/v1/chat/completions", [], body))).status == 200
    assert upstream.asked[-1].json["model"] == "big"
    assert upstream.asked[-1].header("authorization") == "Bearer local"


async def test_the_file_goes_to_stdout_and_nothing_is_overwritten(tmp_path):
    """All else is on stderr; --json has it all."""
    (tmp_path / "config.yaml").write_text(CONFIG.format(url="http://127.0.0.1:9"))
    ran = await run(tmp_path, "import", "litellm", "config.yaml")
    assert ran.code == 0
    assert ran.out.startswith("# From config.yaml, by gateway import litellm\n[providers.127-0-0-1-9]\n")
    assert tomllib.loads(ran.out)["aliases"]["smart"]["candidates"] == [{"provider": "127-0-0-1-9", "model": "big"}]
    told = json.loads((await run(tmp_path, "import", "litellm", "config.yaml", "--json")).out)
    assert told["toml"] == ran.out
    assert set(told["variables"]) == {"LOCAL_KEY", "GROQ_API_KEY"}
    (tmp_path / "there.toml").write_text("mine")
    ran = await run(tmp_path, "import", "litellm", "config.yaml", "-o", "there.toml")
    assert (ran.code, ran.out) == (1, "")
    assert "there.toml exists already; remove it, or name another file with --output" in ran.err
    assert (tmp_path / "there.toml").read_text() == "mine"


async def test_an_empty_file_is_told(tmp_path):
    """The result is empty, and works."""
    (tmp_path / "config.yaml").write_text("")
    ran = await run(tmp_path, "import", "litellm", "config.yaml")
    assert ran.code == 0
    assert "Warning: $: is not a table" in ran.err


def test_yaml_of_every_kind_is_read():
    """As its documentation writes it: anchors, flow and block style, comments."""
    text = """
    model_list:
      - &one
        model_name: "m"   # a comment
        litellm_params: {model: groq/a}
      - <<: *one
        litellm_params:
          model: mistral/b
    """
    assert candidates(convert(yaml.safe_load(text)), "m") == ["groq/a", "mistral/b"]
