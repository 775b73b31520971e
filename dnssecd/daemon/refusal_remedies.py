"""Remedies for refused requests of configured peers, by reason and kind of request."""

from dnssecd.server.reasons import Refusal

_TSIG = {
    Refusal.BADKEY: "the peer signs with a key or algorithm that is not configured here: compare name and "
    "algorithm of the key in [tsig] with the peer's",
    Refusal.BADSIG: "the secrets of the key differ: copy the secret of [tsig] to the peer again, and reload both",
    Refusal.BADTIME: "the clocks differ by more than 300 seconds: check the time on both hosts (chronyc tracking)",
    Refusal.BADTRUNC: "the peer shortens its MACs: configure it to send full ones (BIND: hmac-sha256, not "
    "hmac-sha256-128)",
    Refusal.FORMERR: "the peer's TSIG record is malformed: update the peer's software",
}

_ACCESS = {
    "axfr": "the peer must sign with the key that [secondary] names for it; or list its address or key in "
    "the zone's "
    "allow_transfer",
    "notify": "list the sender in the zone's primaries; if its [primary] has a tsig, it must sign its NOTIFY with that "
    "key (BIND: also-notify { ADDRESS key KEY; })",
    "query": "the peer must sign with the key that [secondary] names for it; or list its address or key in "
    "the zone's "
    "allow_query",
    "update": "sign the update with a key that the zone's allow_update grants these names and types",
}


_OTHERS = {
    Refusal.FROZEN: "dnssecd zone thaw ZONE, when the reason for the freeze is over",
    Refusal.NO_SUCH_ZONE: "remove the zone from the peer's configuration, or add it to this one",
    Refusal.NOT_OVER_TLS: "configure the secondary to transfer over TLS (its [secondary] has a tls table here); "
    "without that table it may transfer over TCP",
    Refusal.CERTIFICATE: "compare the secondary's client certificate with ca, name and pins in tls of its "
    "[secondary]",
    Refusal.REPLAYED: "if none of your programs sends an update twice, an attacker records and repeats it: "
    "use TLS or another path",
    Refusal.TOO_MANY_TRANSFERS: "all places for transfers are taken: reduce the number of parallel "
    "transfers of the secondary; it tries again",
    Refusal.LOG_TOO_LONG: "none within five minutes: the secondary tries again; later, find the secondary that "
    "transfers for minutes (docs/operations.md, transfers-ended)",
}


def remedy(kind: str, reason: Refusal) -> str:
    """Return the remedy for the operator; kind as in server.interfaces.Hooks.refused."""
    if reason in (Refusal.ACCESS, Refusal.NOT_SIGNED, Refusal.NO_GRANT):
        return _ACCESS.get({"ixfr": "axfr"}.get(kind, kind), _ACCESS["query"])
    found = _TSIG.get(reason) or _OTHERS.get(reason)
    return found or "compare the peer's request with the zone's configuration here"
