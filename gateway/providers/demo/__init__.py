"""The demo provider: an upstream inside the gateway, which works offline and without a key."""
