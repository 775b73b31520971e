"""Names, RRsets, messages and RDATA in wire form; TSIG."""
