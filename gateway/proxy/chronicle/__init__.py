"""TODO gateway/proxy/chronicle."""
