"""TODO gateway/dialects/wire."""
