"""TODO gateway/dialects/anthropic."""
