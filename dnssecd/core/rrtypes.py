"""RR type numbers the signer gives meaning to, and the sets it reasons with (RFC 4034, RFC 5155, RFC 7344)."""

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
ZONEMD = 63

#: Derived by the signer, never taken from unsigned input; found anywhere in the zone.
SIGNATURE_TYPES = frozenset({RRSIG, NSEC, NSEC3})

#: Derived by the signer at the apex; input of these types is stripped there.
APEX_DERIVED_TYPES = frozenset({DNSKEY, CDS, CDNSKEY, NSEC3PARAM, ZONEMD})

#: RRsets that a KSK signs (RFC 6781 §3.1, RFC 7344 §4.1); everything else is the ZSK's.
KSK_SIGNED_TYPES = frozenset({DNSKEY, CDS, CDNSKEY})

CLASS_IN = 1
