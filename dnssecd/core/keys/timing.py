"""The intervals of RFC 7583, one equation a function.  All in seconds.

`dprp` is what was observed, at least the policy's value: from the commit of a zone version until every
secondary was seen to serve it.  Dsgn, the time to replace signatures, is not estimated: the store reports when
the last one is gone.
"""

DAY_S = 86_400
HOUR_S = 3_600
ADD_HOLD_DOWN_S = 30 * DAY_S  # RFC 5011 section 2.4.1
REMOVE_HOLD_DOWN_S = 30 * DAY_S  # RFC 5011 section 2.4.2


def observed_dprp(published: int, seen: int, dprp: int) -> int:
    """Dprp as it was: commit to sight at the last secondary, at least the policy's `dprp`."""
    return max(seen - published, dprp)


def ipub(dprp: int, ttl_key: int) -> int:
    """ZSK, and KSK in the child: Ipub = Dprp + TTLkey (RFC 7583 sections 3.2.1 and 3.3.1)."""
    return dprp + ttl_key


def ipub_first(dprp: int, ttl_key: int, ing: int) -> int:
    """First key: what is cached is that there is no DNSKEY; Dprp + max(TTLkey, Ing) (RFC 7583 section 3.3.5)."""
    return dprp + max(ttl_key, ing)


def iret_zsk(dsgn: int, dprp: int, ttl_sig: int) -> int:
    """ZSK: Iret = Dsgn + Dprp + TTLsig (RFC 7583 section 3.2.1)."""
    return dsgn + dprp + ttl_sig


def iret_ksk(dprp_parent: int, ttl_ds: int) -> int:
    """KSK: Iret = DprpP + TTLds (RFC 7583 section 3.3.1)."""
    return dprp_parent + ttl_ds


def query_interval(ttl_key: int) -> int:
    """How often a validator looks for new trust anchors at least (RFC 5011 section 2.3).

    max(1 h, min(15 d, TTL / 2)); the RRSIG's part can only shorten it.
    """
    return max(HOUR_S, min(15 * DAY_S, ttl_key // 2))


def itrp(ttl_key: int) -> int:
    """RFC 5011: a new trust anchor is trusted after hold-down and two looks (RFC 7583 section 3.3.4.1)."""
    return max(ADD_HOLD_DOWN_S, ttl_key) + 2 * query_interval(ttl_key)


def irev(dprp: int, ttl_key: int) -> int:
    """RFC 5011: how long a revoked key stays (RFC 7583 section 3.3.4.2), at least the remove hold-down."""
    return dprp + max(REMOVE_HOLD_DOWN_S, ttl_key + query_interval(ttl_key))
