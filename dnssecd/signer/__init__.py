"""The key service: its own process, and the only code that ever touches a private key."""
