"""The commands that the daemon answers on its control socket, one module for each noun."""
