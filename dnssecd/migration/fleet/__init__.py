"""Configurations of other signers, read and written as one of dnssecd: ``migrate config``."""
