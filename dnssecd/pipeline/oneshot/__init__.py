"""Sign one zone file without a daemon."""
