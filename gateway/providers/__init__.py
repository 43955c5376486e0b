"""Upstream providers: their URLs, keys, credentials and quirks, and the HTTP client that talks to them."""
