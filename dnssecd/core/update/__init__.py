"""Dynamic update (RFC 2136): what a message asks for, and what may come of it."""
