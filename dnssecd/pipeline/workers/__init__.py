"""Processes for bulk work: zone workers and signature checkers."""
