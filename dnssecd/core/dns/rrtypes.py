"""The RR type numbers that the signer treats specially, and sets of them (RFC 4034, RFC 5155, RFC 7344)."""

A = 1
NS = 2
CNAME = 5
SOA = 6
PTR = 12
MX = 15
TXT = 16
AAAA = 28
SRV = 33
DNAME = 39
DS = 43
RRSIG = 46
NSEC = 47
DNSKEY = 48
NSEC3 = 50
NSEC3PARAM = 51
CDS = 59
CDNSKEY = 60
CSYNC = 62
ZONEMD = 63
RESINFO = 261

#: Derived by the signer, never taken from unsigned input; found anywhere in the zone.
SIGNATURE_TYPES = frozenset({RRSIG, NSEC, NSEC3})

#: Derived by the signer at the apex; input of these types is stripped there.
APEX_DERIVED_TYPES = frozenset({DNSKEY, CDS, CDNSKEY, NSEC3PARAM, ZONEMD})

#: RRsets that a KSK signs (RFC 6781 §3.1, RFC 7344 §4.1); everything else is the ZSK's.
KSK_SIGNED_TYPES = frozenset({DNSKEY, CDS, CDNSKEY})

#: An RRset of these types is one RR; if there is a second one, a BIND secondary aborts every transfer of the
#: zone (RFC 2181 §10.1, RFC 6672 §2.4, RFC 9606).
SINGLETON_TYPES = frozenset({SOA, CNAME, DNAME, RESINFO})

CLASS_IN = 1

_MNEMONICS = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 13: "HINFO", 14: "MINFO", 15: "MX", 16: "TXT",
    17: "RP", 18: "AFSDB", 24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC", 30: "NXT", 33: "SRV", 35: "NAPTR",
    37: "CERT", 39: "DNAME", 42: "APL", 43: "DS", 44: "SSHFP", 45: "IPSECKEY", 46: "RRSIG", 47: "NSEC",
    48: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP", 59: "CDS",
    60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF",
    108: "EUI48", 109: "EUI64", 256: "URI", 257: "CAA", 261: "RESINFO",
}  # fmt: skip


def type_text(rtype: int) -> str:
    """Return the mnemonic of an RR type, or TYPE123 (RFC 3597 §5)."""
    return _MNEMONICS.get(rtype) or f"TYPE{rtype}"
