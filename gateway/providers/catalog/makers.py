"""Providers of models of their own: data, each with its source."""

from gateway.providers.entry import CHAT, COHERE_CHAT, GENERATE_CONTENT, MESSAGES, RESPONSES, Entry
from gateway.providers.quirks import MODES, Quirks

_SAMPLING = frozenset(
    {"temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs"}
)
# OpenAI, "Reasoning models": those that reason by default refuse sampling parameters; by pydantic-ai's table of them
# (profiles/openai.py), checked there against the API. openai 3.57 (types/chat) for `stop`, and
# evalstate/fast-agent#279 for parallel calls.
_REASONING = r"o\d|gpt-5(-(?!chat)|$)|gpt-5\.[56]|gpt-5\.[1-4]-(pro|chat)|gpt-5\.1-codex"
OPENAI_QUIRKS = Quirks(
    refuses=frozenset({"top_k"}),
    refuses_by_model=(
        (_REASONING, _SAMPLING),
        (r"o[34]", frozenset({"stop"})),
        (r"o\d", frozenset({"parallel_tool_calls"})),
    ),
)

# openai 3.57 (_client.py); OpenAI, "API reference"
OPENAI = Entry(
    name="openai",
    genai_name="openai",
    base_url="https://api.openai.com",
    dialects={CHAT: "/v1", RESPONSES: "/v1"},
    base_url_variables=(("OPENAI_BASE_URL", "/v1"),),
    key_variables=("OPENAI_API_KEY",),
    key_forms=("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-", "sk-"),
    prefixes=("openai/",),
    names=("gpt-", "chatgpt-", "o1", "o3", "o4"),
    others=("gpt-oss",),
    stream_usage=True,
    quirks=OPENAI_QUIRKS,
)

# anthropic 2.13 (_client.py); Anthropic, "Messages"
ANTHROPIC = Entry(
    name="anthropic",
    genai_name="anthropic",
    base_url="https://api.anthropic.com",
    dialects={MESSAGES: "/v1"},
    base_url_variables=(("ANTHROPIC_BASE_URL", ""),),
    key_variables=("ANTHROPIC_API_KEY",),
    key_forms=("sk-ant-",),
    key_sent="x-api-key",
    prefixes=("anthropic/",),
    names=("claude",),
)

# mistralai 3.7 (client/models): all fields that are not in them are refused (mistralai/platform-docs-public#7);
# ids of tool calls (anomalyco/opencode#1680)
MISTRAL = Entry(
    name="mistral",
    genai_name="mistral_ai",
    base_url="https://api.mistral.ai",
    dialects={CHAT: "/v1", RESPONSES: "/v1"},
    key_variables=("MISTRAL_API_KEY",),
    prefixes=("mistral/",),
    quirks=Quirks(
        custom=False,
        refuses=frozenset({"stream_options", "user"}),
        takes=frozenset(
            {
                "guardrails",
                "min_tokens",
                "prediction",
                "prompt_cache_key",
                "prompt_mode",
                "repetition_penalty",
                "safe_prompt",
                "service_tier",
            }
        ),
        max_tokens="max_tokens",
        seed="random_seed",
        developer=False,
        names=frozenset({"tool"}),
        tool_ids="nine",
    ),
)

# google-genai 3.6 (_base_url.py, _api_client.py); Google, "OpenAI compatibility"
GEMINI = Entry(
    name="gemini",
    genai_name="gcp.gemini",
    base_url="https://generativelanguage.googleapis.com",
    dialects={GENERATE_CONTENT: "/v1beta", CHAT: "/v1beta/openai"},
    base_url_variables=(("GOOGLE_GEMINI_BASE_URL", ""),),
    key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    key_forms=("AIza", "AQ.", "ya29."),
    key_sent="x-goog-api-key",
    key_sent_to={CHAT: "bearer"},
    prefixes=("gemini/",),
    names=("gemini-",),
    stream_usage=True,
    quirks=Quirks(custom=False, max_tokens="max_tokens", developer=False),
)

# DeepSeek, "Create chat completion", "Anthropic API", "Responses API": no JSON schema (llm-exe/llm-exe#662), no role
# developer (earendil-works/pi#1048), strict tools at another path; reasoning models take no forced tool
# (pydantic-ai providers/deepseek.py)
DEEPSEEK = Entry(
    name="deepseek",
    genai_name="deepseek",
    base_url="https://api.deepseek.com",
    dialects={CHAT: "", RESPONSES: "", MESSAGES: "/anthropic/v1"},
    key_variables=("DEEPSEEK_API_KEY",),
    key_forms=("sk-",),
    key_sent_to={MESSAGES: "x-api-key"},
    prefixes=("deepseek/",),
    stream_usage=True,
    quirks=Quirks(
        custom=False,
        refuses_by_model=((r"deepseek-(reasoner|v4-)", frozenset({"tool_choice"})),),
        max_tokens="max_tokens",
        reasoning="reasoning_content",
        developer=False,
        strict=False,
        json_schema=False,
    ),
)

# xAI, "REST API reference"; what its models refuse: miaoxworld/NativeTavern#83, langchain-ai/langchain#38335,
# LiteLLM (llms/xai/chat: a name on others' messages, strict)
XAI = Entry(
    name="xai",
    genai_name="x_ai",
    base_url="https://api.x.ai",
    dialects={CHAT: "/v1", RESPONSES: "/v1"},
    key_variables=("XAI_API_KEY",),
    key_forms=("xai-",),
    prefixes=("xai/",),
    stream_usage=True,
    quirks=Quirks(
        custom=False,
        refuses=frozenset({"presence_penalty", "top_k"}),
        refuses_by_model=(
            (r"grok-(3-mini|4|code|build)(?!.*non-reasoning)", frozenset({"stop"})),
            (r"grok-(3-mini|4|code|build)", frozenset({"frequency_penalty"})),
        ),
        developer=False,
        names=frozenset({"user"}),
        strict=False,
    ),
)

# Cohere, "Chat API (v2)", "Using Cohere models via the OpenAI SDK": the lists of parameters;
# cohere-developer-experience#606
COHERE = Entry(
    name="cohere",
    genai_name="cohere",
    base_url="https://api.cohere.ai",
    dialects={CHAT: "/compatibility/v1", COHERE_CHAT: ""},
    key_variables=("CO_API_KEY", "COHERE_API_KEY"),
    prefixes=("cohere/",),
    stream_usage=True,
    quirks=Quirks(
        custom=False,
        refuses=frozenset(
            {
                "store",
                "metadata",
                "logit_bias",
                "top_logprobs",
                "n",
                "modalities",
                "prediction",
                "audio",
                "service_tier",
                "parallel_tool_calls",
                "top_k",
            }
        ),
        max_tokens="max_tokens",
    ),
)

# perplexityai 0.46 (types/shared_params/chat_message_input.py, async chat's fields); turns alternate
# (perplexityai/api-discussion#265)
PERPLEXITY = Entry(
    name="perplexity",
    genai_name="perplexity",
    base_url="https://api.perplexity.ai",
    dialects={CHAT: ""},
    base_url_variables=(("PERPLEXITY_BASE_URL", ""),),
    key_variables=("PERPLEXITY_API_KEY",),
    key_forms=("pplx-",),
    prefixes=("perplexity/",),
    quirks=Quirks(
        custom=False,
        refuses=frozenset({"seed", "logit_bias", "user", "metadata", "store", "stream_options"}),
        max_tokens="max_tokens",
        developer=False,
        system="first",
        alternates=True,
        names=frozenset(),
        tool_choice=MODES - {"tool"},
        json_object=False,
    ),
)
