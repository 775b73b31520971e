"""The status page: what ``dnssecd status`` knows, for browsers, as JSON, and as a calendar."""
