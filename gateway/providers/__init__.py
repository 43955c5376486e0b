"""Where bytes go: the table of providers, and the demo provider inside the gateway."""
