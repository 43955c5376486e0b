"""TODO gateway/proxy."""
