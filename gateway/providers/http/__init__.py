"""TODO gateway/providers/http."""
