"""`gateway import`: other tools' configurations become a `gateway.toml`. What it cannot say is told."""
