"""Transfers in are received by a process of their own."""
