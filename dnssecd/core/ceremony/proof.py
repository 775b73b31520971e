"""The octets by which a ZSK proves that it stands behind a request.

They are an RRSIG preimage of type covered 0, as the key service makes it to prove a key: no validator takes a signature
over them for one over data. The request's hash is the nonce.
"""

import struct

from dnssecd.core.dns.names import wire_label_count

PROOF_LABEL = b"dnssecd proof"


def proof_message(zone: bytes, algorithm: int, tag: int, digest: bytes) -> bytes:
    """Return what a ZSK signs to prove that it stands behind the request with this hash."""
    rdata = PROOF_LABEL + digest
    fixed = struct.pack(">HBBIIIH", 0, algorithm, wire_label_count(zone), 0, 0, 0, tag)
    return fixed + zone + zone + struct.pack(">HHIH", 0, 1, 0, len(rdata)) + rdata
