"""Per-zone databases and the catalogue of zones (SQLite, WAL, synchronous=FULL)."""
