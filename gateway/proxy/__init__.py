"""One request: authorized, decided on, attempted upstream until it is answered, and relayed to the client."""
