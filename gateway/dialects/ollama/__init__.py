"""TODO gateway/dialects/ollama."""
