"""What a client can ask of the key service: each operation once, for both clients.

An operation is a generator: it yields requests, each with the kind of reply it wants, is sent the replies, and returns
its result. The clients number, send and wait (``request.id`` is 0 here). Zones are uncompressed wire names in any case;
they are sent in lower case.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from dnssecd import keyservice_protocol as wp
from dnssecd.core.dns.names import lower
from dnssecd.keyservice_client.errors import SignerBroken
from dnssecd.keyservice_client.proof import check_proofs, new_nonce

T = TypeVar("T")
R = TypeVar("R", bound=wp.Message)


class Question(Struct, frozen=True):
    """A request, and the kind of reply that answers it."""

    request: wp.Request
    kind: type[wp.Message]


Operation = Generator[Question, wp.Message, T]

_NEW = 0  # the client gives the number


def _ask(request: wp.Request, kind: type[R]) -> Operation[R]:
    reply = yield Question(request, kind)
    assert isinstance(reply, kind)
    return reply


def status() -> Operation[wp.StatusReply]:
    """Return state, counters and warnings of the service."""
    return (yield from _ask(wp.StatusRequest(_NEW), wp.StatusReply))


def keys(zone: bytes = b"") -> Operation[list[wp.KeyInfo]]:
    """Return every key bound to ``zone`` (all zones when empty), also those missing or out of reach."""
    found: list[wp.KeyInfo] = []
    more = True
    while more:
        after = found[-1].id if found else ""
        reply = yield from _ask(wp.KeysRequest(_NEW, lower(zone), after), wp.KeysReply)
        found += reply.keys
        more = reply.more and bool(reply.keys)
    return _by_age(found)


def keys_of_zones(zones: Sequence[bytes]) -> Operation[list[list[wp.KeyInfo]]]:
    """Return the keys bound to each of several zones, at most 256: in one trip, if they are few."""
    first, *others = map(lower, zones)
    reply = yield from _ask(wp.KeysRequest(_NEW, first, also=tuple(others)), wp.KeysReply)
    if len(reply.counts) == len(zones) and sum(reply.counts) == len(reply.keys):
        infos = iter(reply.keys)
        return [_by_age(islice(infos, count)) for count in reply.counts]
    found = []
    for zone in zones:
        found.append((yield from keys(zone)))
    return found


def keys_or_new(
    zone: bytes, make: tuple[wp.KeyOrder, ...], tags: tuple[int, int] = wp.TAGS
) -> Operation[tuple[list[wp.KeyInfo], dict[str, list[wp.Proof]]]]:
    """Return the keys of a zone. If it has none, these are made, and proven as `prove` does: proofs by key id.

    A key service of an earlier release makes none.
    """
    nonce = new_nonce()
    reply = yield from _ask(wp.KeysRequest(_NEW, lower(zone), "", make, tags, nonce), wp.KeysReply)
    if not reply.made:
        return ((yield from keys(zone)) if reply.more else _by_age(reply.keys)), {}
    if len(reply.made) != len(reply.keys):
        raise SignerBroken("the key service gave proofs for other keys than it made")
    proven = {
        info.id: check_proofs(proofs, nonce, info.dnskey)
        for info, proofs in zip(reply.keys, reply.made, strict=True)
    }
    return list(reply.keys), proven


def _by_age(infos: Iterable[wp.KeyInfo]) -> list[wp.KeyInfo]:
    return sorted(infos, key=lambda info: (info.created, info.id))


def generate(
    zone: bytes,
    role: wp.Role,
    algorithm: int,
    *,
    store: str = "",
    bits: int = 0,
    idempotency: str = "",
    share: str = "",
    known: tuple[str, ...] = (),
    tags: tuple[int, int] = wp.TAGS,
) -> Operation[wp.KeyInfo]:
    """Make a key pair; the same ``idempotency`` text returns the same key: no second one by accident.

    ``share``: take the newest key of those who share theirs under this name, but none of ``known``. ``tags``: the first
    and the last key tag that it may have, with and without the REVOKE bit.
    """
    request = wp.GenerateRequest(
        _NEW, lower(zone), role, algorithm, store, bits, idempotency, share=share, known=known, tags=tags
    )
    return (yield from _ask(request, wp.KeysReply)).keys[0]


def generate_proven(
    zone: bytes,
    role: wp.Role,
    algorithm: int,
    *,
    store: str = "",
    bits: int = 0,
    idempotency: str = "",
    share: str = "",
    tags: tuple[int, int] = wp.TAGS,
) -> Operation[tuple[wp.KeyInfo, list[wp.Proof]]]:
    """Make a key pair as `generate` does and have it proven as `prove` does, in one trip."""
    nonce = new_nonce()
    request = wp.GenerateRequest(
        _NEW,
        lower(zone),
        role,
        algorithm,
        store,
        bits,
        idempotency,
        share=share,
        tags=tags,
        nonce=nonce,
    )
    reply = yield from _ask(request, wp.KeysReply)
    made = reply.keys[0]
    if not reply.proofs:  # a key service of an earlier release does not know the nonce
        return made, (yield from prove(zone, made.id, made.dnskey))
    return made, check_proofs(reply.proofs, nonce, made.dnskey)


def import_key(
    zone: bytes, role: wp.Role, algorithm: int, private: bytes, *, store: str = "", created: int = 0
) -> Operation[wp.KeyInfo]:
    """Take a private key (BIND ``.private`` text, PEM or PKCS#8 DER) into a software store."""
    request = wp.ImportRequest(_NEW, lower(zone), role, algorithm, private, store, created)
    return (yield from _ask(request, wp.KeysReply)).keys[0]


def adopt(
    zone: bytes,
    role: wp.Role,
    algorithm: int,
    *,
    store: str = "",
    cka_id: str = "",
    label: str = "",
    public_key: bytes = b"",
    key_id: str = "",
) -> Operation[wp.KeyInfo]:
    """Bind a key that is in a token already, by CKA_ID (hex), label or public key (then no other).

    key_id: its id in the key service of another node that shares the token.
    """
    request = wp.AdoptRequest(
        _NEW, lower(zone), role, algorithm, store, cka_id, label, public_key=public_key, key_id=key_id
    )
    return (yield from _ask(request, wp.KeysReply)).keys[0]


def export_key(key_id: str, passphrase: bytes) -> Operation[bytes]:
    """Return a private key of a software store, sealed; for root and the service's own user."""
    return (yield from _ask(wp.ExportRequest(_NEW, key_id, passphrase), wp.ExportReply)).sealed


def restore_key(sealed: bytes, passphrase: bytes, store: str = "") -> Operation[wp.KeyInfo]:
    """Take an exported key back as it was: id, zones, role and all."""
    request = wp.RestoreRequest(_NEW, sealed, passphrase, store)
    return (yield from _ask(request, wp.KeysReply)).keys[0]


def sealing_key() -> Operation[str]:
    """Return the public sealing key of this node of a cluster."""
    return (yield from _ask(wp.SealingKeyRequest(_NEW), wp.DoneReply)).detail


def seal(zone: bytes, key_id: str, node: str) -> Operation[bytes]:
    """Return the letter with a private key for another node's key service."""
    return (yield from _ask(wp.SealRequest(_NEW, lower(zone), key_id, node), wp.SealReply)).letter


def open_letter(zone: bytes, letter: bytes, *, store: str = "") -> Operation[wp.KeyInfo]:
    """Take the key in another node's letter into a software store."""
    return (yield from _ask(wp.OpenRequest(_NEW, lower(zone), letter, store), wp.KeysReply)).keys[0]


def bind(zone: bytes, key_id: str) -> Operation[wp.KeyInfo]:
    """Let an existing key sign for ``zone`` too (`share_keys`)."""
    return (yield from _ask(wp.BindRequest(_NEW, lower(zone), key_id), wp.KeysReply)).keys[0]


def remove(zone: bytes, key_id: str) -> Operation[str]:
    """Unbind the key from ``zone``; with its last zone it goes into the trash. Return what was done."""
    return (yield from _ask(wp.RemoveRequest(_NEW, lower(zone), key_id), wp.DoneReply)).detail


def list_trash() -> Operation[list[wp.TrashedKey]]:
    """Return every key in the trash, the oldest first."""
    found: list[wp.TrashedKey] = []
    more = True
    while more:
        after = found[-1].key.id if found else ""
        reply = yield from _ask(wp.TrashRequest(_NEW, after), wp.TrashReply)
        found += reply.keys
        more = reply.more and bool(reply.keys)
    return sorted(found, key=lambda one: (one.removed_at, one.key.id))


def recover(key_id: str) -> Operation[wp.KeyInfo]:
    """Take a key out of the trash, as it was before its removal."""
    return (yield from _ask(wp.RecoverRequest(_NEW, key_id), wp.KeysReply)).keys[0]


def destroy(key_id: str) -> Operation[str]:
    """Destroy a key that is in the trash now, before its time. Return what was done."""
    return (yield from _ask(wp.DestroyRequest(_NEW, key_id), wp.DoneReply)).detail


def list_consents() -> Operation[tuple[wp.Consent, ...]]:
    """Return the requests that wait for the consent of a second person, or have it."""
    return (yield from _ask(wp.ConsentsRequest(_NEW), wp.ConsentsReply)).consents


def decide_consent(consent_id: str, *, give: bool) -> Operation[str]:
    """Give or refuse consent to a request. Return the request in words."""
    return (yield from _ask(wp.ConsentRequest(_NEW, consent_id, give), wp.DoneReply)).detail


def prove(zone: bytes, key_id: str, published_dnskey: bytes, nonce: bytes = b"") -> Operation[list[wp.Proof]]:
    """Have every token holding the key sign a nonce; `error` is empty where that verifies.

    ``published_dnskey`` is the DNSKEY RDATA it must verify with, in wire form. ``nonce``: b"" for a random one.
    """
    nonce = nonce or new_nonce()
    reply = yield from _ask(wp.ProveRequest(_NEW, lower(zone), key_id, nonce), wp.ProveReply)
    return check_proofs(reply.proofs, nonce, published_dnskey)


def sign_request(zone: bytes, key_id: str, preimages: list[bytes], allowed_s: float) -> wp.SignRequest:
    """Build the request for one batch of signatures, which the service may take ``allowed_s`` for."""
    return wp.SignRequest(_NEW, lower(zone), key_id, preimages, int(allowed_s * 1000))


def report_bad(zone: bytes, key_id: str, preimage: bytes, signature: bytes) -> Operation[wp.DoneReply]:
    """Report a signature of the service that does not verify; return whether the token that made it is evicted."""
    request = wp.ReportRequest(_NEW, lower(zone), key_id, preimage, signature)
    return (yield from _ask(request, wp.DoneReply))


def audit(limit: int = 100) -> Operation[wp.AuditReply]:
    """Check the audit log's hash chain and return its last entries."""
    return (yield from _ask(wp.AuditRequest(_NEW, limit), wp.AuditReply))


def try_store(store: str = "", algorithm: int = 13, *, timeout_ms: int = 0) -> Operation[str]:
    """Generate, sign, verify and destroy a throw-away key; return what was seen."""
    return (yield from _ask(wp.TestRequest(_NEW, store, algorithm, timeout_ms), wp.DoneReply)).detail


def bench_store(request: wp.BenchRequest) -> Operation[list[wp.BenchLine]]:
    """Measure a store; the id of ``request`` does not matter."""
    return list((yield from _ask(request, wp.BenchReply)).lines)
