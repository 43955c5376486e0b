"""Everything of ours under `/-/`: the recorder's pages, and how a worker hands requests on to them."""
