"""Signing one zone file without a daemon."""
