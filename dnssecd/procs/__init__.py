"""The processes that dnssecd starts from its own modules, and the frames on their pipes."""
