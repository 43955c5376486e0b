"""Live configuration: loaded by the supervisor, published to its children, reloaded and overridden while they run."""
