"""Requests as both clients build them."""

from __future__ import annotations

from dnssecd import keyservice_protocol as wp

_LOWER = bytes(octet + 32 if 65 <= octet <= 90 else octet for octet in range(256))
_REPEATABLE = (
    wp.HelloRequest,
    wp.StatusRequest,
    wp.KeysRequest,
    wp.SignRequest,
    wp.ProveRequest,
    wp.AuditRequest,
    wp.BindRequest,
)


def lower(zone: bytes) -> bytes:
    """A wire name in lower case; length octets are below 64 and so untouched."""
    return zone.translate(_LOWER)


def repeatable(request: wp.Request) -> bool:
    """Whether sending `request` a second time, not knowing the fate of the first, does no harm."""
    return isinstance(request, _REPEATABLE) or (
        isinstance(request, wp.GenerateRequest) and bool(request.idempotency)
    )


def generate_request(
    number: int,
    zone: bytes,
    role: wp.Role,
    algorithm: int,
    *,
    store: str,
    bits: int,
    idempotency: str,
    share: str,
    known: tuple[str, ...],
) -> wp.GenerateRequest:
    """Build a generate request."""
    return wp.GenerateRequest(
        number, lower(zone), role, algorithm, store, bits, idempotency, share=share, known=known
    )


def import_request(
    number: int, zone: bytes, role: wp.Role, algorithm: int, private: bytes, *, store: str, created: int
) -> wp.ImportRequest:
    """Build an import request."""
    return wp.ImportRequest(number, lower(zone), role, algorithm, private, store, created)


def adopt_request(
    number: int,
    zone: bytes,
    role: wp.Role,
    algorithm: int,
    *,
    store: str,
    cka_id: str,
    label: str,
    public_key: bytes = b"",
) -> wp.AdoptRequest:
    """Build an adopt request."""
    return wp.AdoptRequest(number, lower(zone), role, algorithm, store, cka_id, label, public_key=public_key)
