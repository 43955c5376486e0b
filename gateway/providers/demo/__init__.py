"""TODO gateway/providers/demo."""
