"""TODO gateway/dialects/openai_chat."""
