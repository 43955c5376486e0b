"""What the gateway costs, measured beside its peers: `python -m tests.bench`, from the root of the checkout."""
