"""TODO gateway/dialects/openai_responses."""
