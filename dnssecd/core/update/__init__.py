"""Dynamic update (RFC 2136): the request, the rules for it, and its result."""
