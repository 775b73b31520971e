"""What the daemon answers on its control socket, one module per noun."""
