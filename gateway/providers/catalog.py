"""The table of all providers that are known, by name.

Each has its source beside it: the provider's documentation, its own SDK where that says more, else a project that has
met it. What none of them says is taken as the cautious reading: a role `system`, the older `max_tokens`.
"""

from gateway.providers import catalog_hosts as hosts
from gateway.providers import catalog_makers as makers
from gateway.providers.entry import Entry

CATALOG: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        makers.OPENAI,
        makers.ANTHROPIC,
        hosts.AWS_BEDROCK,
        hosts.GROQ,
        hosts.OLLAMA,
        makers.MISTRAL,
        hosts.TOGETHER,
        hosts.FIREWORKS,
        hosts.DEEPINFRA,
        hosts.ANYSCALE,
        makers.GEMINI,
        hosts.VERTEX,
        hosts.AZURE_OPENAI,
        hosts.OPENROUTER,
        makers.DEEPSEEK,
        makers.XAI,
        makers.COHERE,
        makers.PERPLEXITY,
        hosts.CEREBRAS,
        hosts.NVIDIA,
        hosts.HUGGINGFACE,
        hosts.VLLM,
        hosts.LLAMA_CPP,
        hosts.LM_STUDIO,
    )
}
