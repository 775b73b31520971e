"""dnssecd: a hidden-primary DNSSEC signing daemon."""

__version__ = "0.1.0"
