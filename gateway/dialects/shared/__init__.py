"""Rules that several dialects share, each with one owner. Pure."""
