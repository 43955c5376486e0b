"""TODO gateway/providers/auth."""
