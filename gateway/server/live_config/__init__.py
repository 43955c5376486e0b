"""TODO gateway/server/live_config."""
