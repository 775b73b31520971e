"""`make demo`: dnssecd on loopback with an example zone or your own zone, and commands to try."""
