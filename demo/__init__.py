"""`make demo`: dnssecd on loopback with an example zone or one's own, and something to try."""
