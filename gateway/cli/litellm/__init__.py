"""`gateway import litellm`: a `gateway.toml` from LiteLLM's config.yaml.

`files` reads and writes them; `convert` is the conversion, of `deployments` to providers by `servers` and to aliases
with `fallbacks`; `notes` collects warnings and environment variables.
"""
