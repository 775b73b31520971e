"""The control socket: server, peer credentials and client."""
