"""Providers that host models of other makers, or serve them on this machine: data, each with its source."""

from gateway.providers.catalog.makers import OPENAI_QUIRKS
from gateway.providers.entry import CHAT, CONVERSE, GENERATE_CONTENT, MESSAGES, OLLAMA_CHAT, RESPONSES, Entry
from gateway.providers.quirks import MODES, Quirks

# Documented as OpenAI's API and no more: the cautious reading.
_PLAIN = Quirks(custom=False, max_tokens="max_tokens", developer=False)
# vLLM, llama.cpp and LM Studio fill the model's own chat template; Qwen's and others refuse a second system message,
# or one that is not the first (vllm-project/vllm#41114, ggml-org/llama.cpp#27367).
_TEMPLATED = Quirks(
    custom=False, max_tokens="max_tokens", developer=False, system="first", reasoning="reasoning_content"
)
_UNFORCED = Quirks(
    custom=False,
    max_tokens="max_tokens",
    developer=False,
    system="first",
    reasoning="reasoning_content",
    tool_choice=MODES - {"tool"},  # none can be forced by its name
)

# botocore 1.44 (endpoint variables); AWS, "Amazon Bedrock endpoints", "Converse"
AWS_BEDROCK = Entry(
    name="aws-bedrock",
    genai_name="aws.bedrock",
    base_url="https://bedrock-runtime.{AWS_REGION|AWS_DEFAULT_REGION}.amazonaws.com",
    dialects={CONVERSE: ""},
    base_url_variables=(("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", ""), ("AWS_ENDPOINT_URL", "")),
    key_variables=("AWS_BEARER_TOKEN_BEDROCK",),
    key_forms=("ABSK", "bedrock-api-key-"),
    key_sent="sigv4",
    located_by="AWS_REGION",
    prefixes=("aws-bedrock/", "bedrock/"),
)

_PROJECT = "/v1/projects/{GOOGLE_CLOUD_PROJECT}/locations/{GOOGLE_CLOUD_LOCATION:-global}"
# google-genai 3.6 (_api_client.py); Google Cloud, "Chat completions API"
VERTEX = Entry(
    name="vertex",
    genai_name="gcp.vertex_ai",
    base_url="https://{GOOGLE_CLOUD_LOCATION:-global}-aiplatform.googleapis.com",
    dialects={
        GENERATE_CONTENT: f"{_PROJECT}/publishers/google",
        CHAT: f"{_PROJECT}/endpoints/openapi",
    },
    base_url_variables=(("GOOGLE_VERTEX_BASE_URL", ""),),
    key_forms=("AIza", "AQ.", "ya29."),
    key_sent="google",
    located_by="GOOGLE_CLOUD_PROJECT",
    prefixes=("vertex/", "vertex_ai/"),
    stream_usage=True,
    quirks=_PLAIN,
)

# openai 3.57 (lib/azure.py); Microsoft, "Azure OpenAI in Azure AI Foundry Models v1 API": the model is a deployment
AZURE_OPENAI = Entry(
    name="azure-openai",
    genai_name="azure.ai.openai",
    base_url="{AZURE_OPENAI_ENDPOINT}",
    dialects={CHAT: "/openai/v1", RESPONSES: "/openai/v1"},
    key_variables=("AZURE_OPENAI_API_KEY",),
    key_sent="api-key",
    root="/openai/",
    located_by="AZURE_OPENAI_ENDPOINT",
    prefixes=("azure-openai/", "azure/"),
    stream_usage=True,
    quirks=OPENAI_QUIRKS,
)

# Groq, "OpenAI compatibility": 400 for these fields and for a message's `name`; groq 1.7 (types/chat). Reasoning is
# accepted in some models' turns only (vercel/ai#8057).
GROQ = Entry(
    name="groq",
    genai_name="groq",
    base_url="https://api.groq.com",
    dialects={CHAT: "/openai/v1", RESPONSES: "/openai/v1"},
    base_url_variables=(("GROQ_BASE_URL", ""),),
    key_variables=("GROQ_API_KEY",),
    key_forms=("gsk_",),
    prefixes=("groq/",),
    stream_usage=True,
    quirks=Quirks(
        custom=False,
        refuses=frozenset({"logprobs", "logit_bias", "top_logprobs", "n", "top_k", "metadata"}),
        takes=frozenset(
            {
                "citation_options",
                "compound_custom",
                "disable_tool_validation",
                "documents",
                "exclude_domains",
                "include_domains",
                "include_reasoning",
                "reasoning_format",
                "search_settings",
                "service_tier",
            }
        ),
        names=frozenset(),
    ),
)

# together 3.1 (_client.py, types/chat); include_usage by Vercel's AI SDK (packages/togetherai), strict by pi's
# table of compatible providers (packages/ai, openai-completions)
TOGETHER = Entry(
    name="together",
    genai_name="together",
    base_url="https://api.together.ai",
    dialects={CHAT: "/v1"},
    base_url_variables=(("TOGETHER_BASE_URL", ""),),
    key_variables=("TOGETHER_API_KEY",),
    key_forms=("tgp_v1_",),
    prefixes=("together/",),
    stream_usage=True,
    quirks=Quirks(custom=False, max_tokens="max_tokens", developer=False, reasoning="reasoning", strict=False),
)

# fireworks-ai 1.2 (_client.py, types/chat, resources/messages.py); include_usage by Vercel's AI SDK
FIREWORKS = Entry(
    name="fireworks",
    genai_name="fireworks",
    base_url="https://api.fireworks.ai/inference",
    dialects={CHAT: "/v1", MESSAGES: "/v1"},
    base_url_variables=(("FIREWORKS_BASE_URL", ""),),
    key_variables=("FIREWORKS_API_KEY",),
    key_forms=("fw_",),
    prefixes=("fireworks/",),
    stream_usage=True,
    quirks=Quirks(custom=False, max_tokens="max_tokens", developer=False, reasoning="reasoning_content"),
)

# DeepInfra, "OpenAI-compatible API", "Function calling"; include_usage by Roo Code (providers/deepinfra.ts)
DEEPINFRA = Entry(
    name="deepinfra",
    genai_name="deepinfra",
    base_url="https://api.deepinfra.com",
    dialects={CHAT: "/v1/openai"},
    key_variables=("DEEPINFRA_API_KEY", "DEEPINFRA_API_TOKEN", "DEEPINFRA_TOKEN"),
    prefixes=("deepinfra/",),
    stream_usage=True,
    quirks=Quirks(custom=False, max_tokens="max_tokens", developer=False, tool_choice=frozenset({"auto", "none"})),
)

# Anyscale, "Query a model": shared access ended in August 2024; the URL remains for private endpoints
ANYSCALE = Entry(
    name="anyscale",
    genai_name="anyscale",
    base_url="https://api.endpoints.anyscale.com",
    dialects={CHAT: "/v1"},
    base_url_variables=(("ANYSCALE_BASE_URL", "/v1"),),
    key_variables=("ANYSCALE_API_KEY",),
    key_forms=("esecret_",),
    prefixes=("anyscale/",),
    quirks=Quirks(custom=False, refuses=frozenset({"stream_options"}), max_tokens="max_tokens", developer=False),
)

# openrouter 1.3 (sdkconfiguration.py, components/chatrequest.py); OpenRouter, "Prompt caching"; the role and max_tokens
# by pydantic-ai and pi
OPENROUTER = Entry(
    name="openrouter",
    genai_name="openrouter",
    base_url="https://openrouter.ai/api",
    dialects={CHAT: "/v1", RESPONSES: "/v1", MESSAGES: "/v1"},
    key_variables=("OPENROUTER_API_KEY",),
    key_forms=("sk-or-",),
    prefixes=("openrouter/",),
    stream_usage=True,
    quirks=Quirks(custom=False, max_tokens="max_tokens", developer=False, reasoning="reasoning", marks=True),
)

# Cerebras, "OpenAI compatibility": 400 for these fields (as pydantic-ai cites it, providers/cerebras.py);
# cerebras-cloud-sdk 1.91 (types/chat)
CEREBRAS = Entry(
    name="cerebras",
    genai_name="cerebras",
    base_url="https://api.cerebras.ai",
    dialects={CHAT: "/v1"},
    base_url_variables=(("CEREBRAS_BASE_URL", ""),),
    key_variables=("CEREBRAS_API_KEY",),
    key_forms=("csk-",),
    prefixes=("cerebras/",),
    stream_usage=True,
    quirks=Quirks(
        custom=False,
        refuses=frozenset(
            {
                "frequency_penalty",
                "logit_bias",
                "presence_penalty",
                "parallel_tool_calls",
                "service_tier",
                "store",
                "top_k",
            }
        ),
        developer=False,
        reasoning="reasoning",
    ),
)

# NVIDIA, "NIM API reference"; max_tokens, the role and strict by pi's table; a stream with include_usage hangs
# (HKUDS/DeepTutor#420)
NVIDIA = Entry(
    name="nvidia",
    genai_name="nvidia",
    base_url="https://integrate.api.nvidia.com",
    dialects={CHAT: "/v1"},
    key_variables=("NVIDIA_API_KEY", "NVIDIA_NIM_API_KEY"),
    key_forms=("nvapi-",),
    prefixes=("nvidia/",),
    quirks=Quirks(
        custom=False, refuses=frozenset({"stream_options"}), max_tokens="max_tokens", developer=False, strict=False
    ),
)

# huggingface-hub 2.4 (inference/_generated/types/chat_completion.py); Vercel's AI SDK (packages/huggingface)
HUGGINGFACE = Entry(
    name="huggingface",
    genai_name="huggingface",
    base_url="https://router.huggingface.co",
    dialects={CHAT: "/v1", RESPONSES: "/v1"},
    key_variables=("HF_TOKEN", "HUGGINGFACE_API_KEY"),
    key_forms=("hf_",),
    prefixes=("huggingface/",),
    stream_usage=True,
    quirks=_PLAIN,
)

# ollama 0.6 (_client.py); Ollama, "OpenAI compatibility", "Anthropic compatibility"; ollama/ollama openai/openai.go
OLLAMA = Entry(
    name="ollama",
    genai_name="ollama",
    base_url="http://127.0.0.1:11434",
    dialects={OLLAMA_CHAT: "", CHAT: "/v1", RESPONSES: "/v1", MESSAGES: "/v1"},
    base_url_variables=(("OLLAMA_HOST", ""),),
    key_variables=("OLLAMA_API_KEY",),
    prefixes=("ollama/",),
    stream_usage=True,
    quirks=Quirks(
        custom=False,
        max_tokens="max_tokens",
        developer=False,
        refuses=frozenset({"n", "parallel_tool_calls", "user", "metadata", "logit_bias", "store", "top_k"}),
        reasoning="reasoning",
        tool_choice=frozenset({"auto"}),
        strict=False,
    ),
)

# vLLM, "OpenAI-compatible server"
VLLM = Entry(
    name="vllm",
    genai_name="vllm",
    base_url="http://127.0.0.1:8000",
    dialects={CHAT: "/v1", RESPONSES: "/v1", MESSAGES: "/v1"},
    base_url_variables=(("HOSTED_VLLM_API_BASE", "/v1"),),
    key_variables=("VLLM_API_KEY", "HOSTED_VLLM_API_KEY"),
    prefixes=("vllm/",),
    stream_usage=True,
    quirks=_TEMPLATED,
)

# ggml-org/llama.cpp, tools/server/README.md
LLAMA_CPP = Entry(
    name="llama-cpp",
    genai_name="llama-cpp",
    base_url="http://127.0.0.1:8080",
    dialects={CHAT: "/v1", RESPONSES: "/v1", MESSAGES: "/v1"},
    key_variables=("LLAMA_API_KEY",),
    prefixes=("llama-cpp/",),
    stream_usage=True,
    quirks=_UNFORCED,
)

# LM Studio, "OpenAI compatible endpoints", "Anthropic compatible endpoints"
LM_STUDIO = Entry(
    name="lm-studio",
    genai_name="lm-studio",
    base_url="http://127.0.0.1:1234",
    dialects={CHAT: "/v1", RESPONSES: "/v1", MESSAGES: "/v1"},
    base_url_variables=(("LM_STUDIO_API_BASE", "/v1"),),
    key_variables=("LM_API_TOKEN", "LM_STUDIO_API_KEY"),
    key_forms=("sk-lm-",),
    prefixes=("lm-studio/",),
    stream_usage=True,
    quirks=_UNFORCED,
)
