"""This node in a cluster: its lease, the logs of its zones, and their owners. Loaded with ``[cluster]`` only."""
