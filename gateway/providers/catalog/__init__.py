"""The built-in providers by name, as data.

Each has its source beside it: the provider's documentation, its own SDK if that is more precise, else a project that
uses it. If none of them documents a field the cautious reading is taken: a role `system`, the older `max_tokens`.
"""

from gateway.providers.catalog import hosts, makers
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
