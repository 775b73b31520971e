"""dnssecd: a hidden-primary DNSSEC signing daemon."""

__version__ = "0.2.0"
