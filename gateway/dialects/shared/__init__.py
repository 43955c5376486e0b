"""TODO gateway/dialects/shared."""
