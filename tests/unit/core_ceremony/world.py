"""Keys in memory, a request of a short plan, and its response: what the tests of ceremonies begin with."""

from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from dnssecd.core.ceremony.proof import proof_message
from dnssecd.core.ceremony.request import KnownKsk, Planned, Request, ZskProof
from dnssecd.core.ceremony.response import Response
from dnssecd.core.ceremony.signing import Stage, response_of, stages_of, tasks_of
from dnssecd.core.ceremony.slots import slots_of
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.keys.keyset import SigningKey, dnskey_rdata, key_tag
from dnssecd.replacing import replace

ZONE = text_to_wire("example.com.")
NOW = 1_796_000_000
DAY = 86_400
STORES = frozenset({"vault"})


@dataclass(frozen=True)
class SoftKey:
    """A P-256 key pair from a number: the same in every run."""

    number: int
    flags: int

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """The private key."""
        return ec.derive_private_key(self.number + 1_000, ec.SECP256R1())

    @property
    def public(self) -> bytes:
        """The public key field of the DNSKEY."""
        numbers = self.private.public_key().public_numbers()
        return numbers.x.to_bytes(32) + numbers.y.to_bytes(32)

    @property
    def rdata(self) -> bytes:
        """DNSKEY RDATA."""
        return dnskey_rdata(self.flags, 13, self.public)

    @property
    def tag(self) -> int:
        """The key tag."""
        return key_tag(self.rdata)

    def sign(self, message: bytes) -> bytes:
        """Sign as in an RRSIG (RFC 6605 §4)."""
        r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    @property
    def signing(self) -> SigningKey:
        """The key as signing knows it."""
        store = "vault" if self.flags & 1 else "online"
        return SigningKey(f"key{self.number}", 13, self.flags, self.tag, self.public, store)


K1, K2 = SoftKey(1, 257), SoftKey(2, 257)
A, B, C = SoftKey(11, 256), SoftKey(12, 256), SoftKey(13, 256)
KEYS = {key.signing: key for key in (K1, K2, A, B, C)}


def ordered(*keys: SoftKey) -> tuple[bytes, ...]:
    """Return the DNSKEY RDATA of keys in canonical order."""
    return tuple(sorted(key.rdata for key in keys))


def plan_of(start: int = NOW) -> tuple[Planned, ...]:
    """Return the plan of a rollover from A to B after 30 days."""
    return (
        Planned(start, ordered(A)),
        Planned(start + 30 * DAY, ordered(A, B)),
        Planned(start + 31 * DAY, ordered(A, B)[::1]),
        Planned(start + 32 * DAY, ordered(B)),
    )


def make_request(*, start: int = NOW, days: int = 90, signed_by: tuple[SoftKey, ...] = (A, B)) -> Request:
    """Return a request for 90 days with slots of 14 days, signed by its ZSKs."""
    plan = tuple(each for each in plan_of(start) if each.start != start + 31 * DAY)
    stop = start + days * DAY
    slots = slots_of(plan, start, stop, validity_s=14 * DAY, refresh_s=7 * DAY, inception_offset_s=-3600)
    request = Request(
        zone=ZONE, number=1, made=start, start=start, stop=stop, ttl=3600, zsks=ordered(A, B),
        slots=slots, plan=plan, ksks=(KnownKsk(K1.rdata, "active"),), cds_sets=((K1.rdata,),),
    )  # fmt: skip
    return with_proofs(request, signed_by)


def with_proofs(request: Request, keys: tuple[SoftKey, ...]) -> Request:
    """Return the request signed by these ZSKs."""
    proofs = tuple(
        ZskProof(key.tag, 13, key.sign(proof_message(request.zone, 13, key.tag, request.digest)))
        for key in keys
    )
    return replace(request, proofs=proofs)


def signed(
    request: Request,
    current: tuple[SoftKey, ...] = (K1,),
    coming: tuple[SoftKey, ...] = (),
    *,
    cds: bool = True,
) -> Response:
    """Return what a ceremony with these KSKs answers."""
    stages: tuple[Stage, ...] = stages_of(
        tuple(key.signing for key in current), tuple(key.signing for key in coming)
    )
    tasks = tasks_of(request, stages, cds=cds)
    return response_of(request, tasks, [KEYS[task.key].sign(task.preimage) for task in tasks], request.made)
