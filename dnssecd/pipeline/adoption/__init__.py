"""Adoption: dnssecd takes over a zone that another signer serves."""
