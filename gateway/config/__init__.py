"""Configuration: the tables of `gateway.toml`, the layers they are merged from, and their validation."""
