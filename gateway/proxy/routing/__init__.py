"""TODO gateway/proxy/routing."""
