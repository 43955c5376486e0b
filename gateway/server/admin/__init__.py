"""Admin pages under `/-/`: a worker authorizes a request and forwards it to the recorder, which answers it."""
