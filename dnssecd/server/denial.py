"""Proofs of non-existence for answers: which NSEC or NSEC3 RRsets show that a name or type is not there.

Each function yields the owner keys of the denial RRsets to add, for RFC 4035 §3.1.3 and RFC 5155 §7.2. An
unsigned version has no proofs. The number of look-ups does not depend on the labels of the query name: the
closest encloser is found from the neighbours of the name in the zone.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from dnssecd.core.dns.names import APEX, ancestors, key_to_wire, parent_key, subtree_end, wildcard_key
from dnssecd.core.dns.rrset import unpack
from dnssecd.core.dns.rrtypes import NSEC, NSEC3PARAM
from dnssecd.core.signing.nsec3hash import hash_to_owner, nsec3_hash
from dnssecd.core.zone.zoneview import ServedVersion

#: Hash algorithm and flags of an NSEC3PARAM RR that a server uses. It ignores others (RFC 5155 §4.1.2), which a zone
#: that another signer signed can have: nothing verified a chain with their parameters.
_USABLE = b"\1\0"


def exists(version: ServedVersion, owner: bytes) -> bool:
    """Tell whether the name owns data or is an empty non-terminal (RFC 8020)."""
    return version.first_owner(owner, subtree_end(owner)) is not None


def closest_encloser(version: ServedVersion, owner: bytes) -> bytes:
    """Return the longest existing ancestor of a name that does not exist (RFC 4592 §3.3.1).

    It is an ancestor of the next name in the zone or of the one before: all names below it are around ``owner``.
    """
    found = (version.first_owner(owner), version.last_owner_before(owner))
    neighbours = [name for name in found if name is not None]
    return next(name for name in ancestors(owner) if any(near.startswith(name) for near in neighbours))


def next_closer(owner: bytes, encloser: bytes) -> bytes:
    """Return the name one label below ``encloser`` on the way to ``owner`` (RFC 5155 §1.3)."""
    return owner[: owner.index(b"\x00", len(encloser)) + 1]


class Proofs(Struct, frozen=True):
    """The proofs of one version; ``encloser`` is the closest encloser of a name that does not exist."""

    version: ServedVersion

    def no_type(self, owner: bytes) -> Iterator[bytes]:
        """Show that an existing name (an empty non-terminal, an insecure delegation too) lacks a type."""
        return iter(())

    def no_name(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Show that a name does not exist and no wildcard covers it."""
        return iter(())

    def expanded(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Show that the name a wildcard was expanded to does not exist itself."""
        return iter(())

    def no_wildcard_type(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Show that a name does not exist and the wildcard covering it lacks the type."""
        return iter(())


class NsecProofs(Proofs, frozen=True):
    """RFC 4035 §3.1.3.1–4."""

    def no_type(self, owner: bytes) -> Iterator[bytes]:
        """Yield the NSEC RR at the name, or the one covering it (an empty non-terminal)."""
        yield owner if self.version.denial(owner) is not None else self._covering(owner)

    def no_name(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Yield the NSEC RRs covering the name and the wildcard."""
        yield self._covering(owner)
        yield self._covering(wildcard_key(encloser))

    def expanded(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Yield the NSEC RR covering the name."""
        yield self._covering(owner)

    def no_wildcard_type(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Yield the NSEC RR covering the name, then the one at the wildcard."""
        yield self._covering(owner)
        yield from self.no_type(wildcard_key(encloser))

    def _covering(self, owner: bytes) -> bytes:
        found = self.version.denial_before(owner)
        return APEX if found is None else found.owner


class Nsec3Proofs(Proofs, frozen=True):
    """RFC 5155 §7.2; ``salt`` and ``iterations`` are the chain's."""

    iterations: int
    salt: bytes

    def no_type(self, owner: bytes) -> Iterator[bytes]:
        """Yield the NSEC3 RR that matches the name; with opt-out, the closest-encloser proof."""
        matching = self._matching(owner)
        if matching is not None:
            yield matching
        elif owner:
            # Opt-out left the name out: the proof shows that there is no signed name (RFC 5155 §7.2.4).
            yield from self._encloser(owner, parent_key(owner))[1]

    def no_name(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Yield the closest-encloser proof and the NSEC3 RR covering the wildcard."""
        encloser, proof = self._encloser(owner, encloser)
        yield from proof
        yield self._covering(wildcard_key(encloser))

    def expanded(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Yield the NSEC3 RR covering the next closer name."""
        yield self._covering(next_closer(owner, encloser))

    def no_wildcard_type(self, owner: bytes, encloser: bytes) -> Iterator[bytes]:
        """Yield the closest-encloser proof and the NSEC3 RR of the wildcard."""
        encloser, proof = self._encloser(owner, encloser)
        yield from proof
        wildcard = wildcard_key(encloser)
        matching = self._matching(wildcard)
        yield self._covering(wildcard) if matching is None else matching

    def _encloser(self, owner: bytes, encloser: bytes) -> tuple[bytes, list[bytes]]:
        """Return the closest provable encloser, at most ``encloser``, and the owners of its proof (RFC 5155 §7.2.1)."""
        for name in (encloser, *ancestors(encloser)):
            matching = self._matching(name)
            if matching is not None:
                return name, [matching, self._covering(next_closer(owner, name))]
        return APEX, []

    def _hashed(self, owner: bytes) -> bytes:
        return hash_to_owner(nsec3_hash(key_to_wire(owner, self.version.origin), self.iterations, self.salt))

    def _matching(self, owner: bytes) -> bytes | None:
        hashed = self._hashed(owner)
        return None if self.version.denial(hashed) is None else hashed

    def _covering(self, owner: bytes) -> bytes:
        found = self.version.denial_before(self._hashed(owner)) or self.version.denial_last()
        return APEX if found is None else found.owner


def proofs_of(version: ServedVersion) -> Proofs:
    """Return the proofs of a version, by what its apex says about its chain."""
    parameters = version.rrset(APEX, NSEC3PARAM)
    for rdata in () if parameters is None else unpack(parameters.rdata):
        if rdata[:2] == _USABLE:
            return Nsec3Proofs(version, int.from_bytes(rdata[2:4], "big"), rdata[5:])
    first = version.denial(APEX)
    return NsecProofs(version) if first is not None and first.rtype == NSEC else Proofs(version)
