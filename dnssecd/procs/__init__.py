"""The processes that dnssecd starts from its own modules."""
