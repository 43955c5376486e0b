"""TODO gateway/store."""
