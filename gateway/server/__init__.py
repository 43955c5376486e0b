"""The server: a supervisor, workers that answer clients, and the recorder with the admin pages."""
