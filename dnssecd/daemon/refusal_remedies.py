"""What to do when a request of a configured peer is refused, by reason and kind of request."""

_TSIG = {
    "BADKEY": "the peer signs with a key or algorithm that is not configured here: compare the key's name and "
    "algorithm in [tsig] with the peer's",
    "BADSIG": "the secrets of the key differ: copy the secret of [tsig] to the peer again, and reload both",
    "BADTIME": "the clocks differ by more than 300 seconds: check the time on both hosts (chronyc tracking)",
    "BADTRUNC": "the peer shortens its MACs: configure it to send whole ones (BIND: hmac-sha256, not hmac-sha256-128)",
    "FORMERR": "the peer's TSIG record is malformed: update the peer's software",
}

_ACCESS = {
    "axfr": "the peer is to sign with the key that [secondary] names for it; or list its address or key in the zone's "
    "allow_transfer",
    "notify": "list the sender in the zone's primaries; if its [primary] has a tsig, it must sign its NOTIFY with that "
    "key (BIND: also-notify { ADDRESS key KEY; })",
    "query": "the peer is to sign with the key that [secondary] names for it; or list its address or key in the zone's "
    "allow_query",
    "update": "sign the update with a key that the zone's allow_update grants these names and types",
}


def remedy(kind: str, reason: str) -> str:
    """Return what the operator is to do; kind and reason as of server.interfaces.Hooks.refused."""
    if reason in _TSIG:
        return _TSIG[reason]
    if reason in ("access", "not signed") or reason.startswith("no grant"):
        return _ACCESS.get({"ixfr": "axfr"}.get(kind, kind), _ACCESS["query"])
    if reason == "the zone is frozen":
        return "dnssecd zone thaw ZONE, when what it was frozen for is done"
    if reason == "no such zone":
        return "take the zone out of the peer's configuration, or add it to this one"
    if reason == "replayed":
        return "if no program of yours sends an update twice, someone records and repeats it: use TLS or another path"
    if reason == "too many transfers":
        return "all places for transfers are taken: let the secondary ask for fewer at a time; it tries again"
    return "compare what the peer asks for with the zone's configuration here"
