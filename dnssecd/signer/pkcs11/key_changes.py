"""Changes of keys in tokens: made, adopted, destroyed.

Keys are made in the first token; how they get into the others is up to the tokens' own tools (cloning, backup).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from dnssecd.keyservice_protocol import AdoptRequest, Role
from dnssecd.signer import algorithms
from dnssecd.signer.errors import (
    BadRequest,
    Exists,
    MissingKey,
    ServiceError,
    Unsupported,
    no_tag_left,
    tag_taken,
)
from dnssecd.signer.key_file import Description
from dnssecd.signer.keystore import Account
from dnssecd.signer.now import Now
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11 import quirks
from dnssecd.signer.pkcs11.destruction import destroy_in, destroy_new
from dnssecd.signer.pkcs11.key_fields import field_bits
from dnssecd.signer.pkcs11.link import WorkerLost
from dnssecd.signer.pkcs11.pool import TokenPool
from dnssecd.signer.pkcs11.proofs import prove_all
from dnssecd.signer.pkcs11.session import Session, StaleSession, nonce_preimage
from dnssecd.signer.preimage import name_text
from dnssecd.signer.registry import Registry
from dnssecd.signer.warnings import WarningBook

TRIES = 16
LABEL_OCTETS_MAX = 200
CHANGE_DEADLINE_S = 120.0


class KeyChanges:
    """See the module. `registry` remembers the keys."""

    def __init__(
        self,
        store: str,
        pools: Sequence[TokenPool],
        registry: Registry,
        warnings: WarningBook,
        now: Now,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._pools = pools
        self._registry = registry
        self._warnings = warnings
        self._now = now
        self._monotonic = monotonic

    def _deadline(self) -> float:
        return self._monotonic() + CHANGE_DEADLINE_S

    async def generate(
        self,
        zone: bytes,
        role: Role,
        algorithm: int,
        bits: int,
        idempotency: str,
        taken: frozenset[int],
        account: Account,
    ) -> Description:
        """Make a key in the first token, prove it there, and remember it."""
        deadline, first = self._deadline(), self._pools[0]
        created = int(self._now())
        tries = algorithms.tries(TRIES, taken)
        for _ in range(tries):
            key_id = secrets.token_hex(16)
            planned = Description(
                id=key_id,
                zones=(zone,),
                role=role,
                algorithm=algorithm,
                bits=bits,
                flags=algorithms.flags_of(role),
                dnskey=b"",
                created=created,
                cka_id=quirks.cka_id(key_id, first.quirks),
                label=f"dnssecd {name_text(zone)} {role} {algorithm} {created}"[:LABEL_OCTETS_MAX],
                idempotency=idempotency,
            )
            account(planned)
            key = await first.command(partial(make_in, first, planned), deadline)
            if taken.isdisjoint(algorithms.tags(key.dnskey)):
                account(key)
                self._registry.put(key)
                await first.command(partial(first.find, key), deadline)
                return key
            await first.command(partial(destroy_new, first, key), deadline)
        raise no_tag_left(tries)

    async def adopt(self, wanted: AdoptRequest, taken: frozenset[int], account: Account) -> Description:
        """Bind a key that is in a token already; it stays as it is there."""
        candidate = await self._candidate(wanted)
        claimed = not candidate.public_key
        if claimed:
            candidate = msgspec.structs.replace(
                candidate,
                public_key=wanted.public_key,
                bits=field_bits(wanted.public_key, wanted.algorithm),
            )
        flags = algorithms.flags_of(wanted.role)
        dnskey = flags.to_bytes(2) + b"\x03" + bytes([wanted.algorithm]) + candidate.public_key
        _must_be_public_key(dnskey)
        key = Description(
            id=wanted.key_id or hashlib.sha256(candidate.public_key).hexdigest()[:32],
            zones=(wanted.zone,),
            role=wanted.role,
            algorithm=wanted.algorithm,
            bits=candidate.bits,
            flags=flags,
            dnskey=dnskey,
            created=int(self._now()),
            cka_id=candidate.cka_id,
            label=candidate.label,
        )
        self._check_new(key, taken)
        for pool in self._pools:
            pool.sightings.note_seen(key.id)  # an older session that does not see it is not believed
        if claimed:
            await self._check_claim(key)
        proofs = await prove_all(self._pools, key, nonce_preimage(key), self._deadline())
        if all(proof.error for proof in proofs):
            raise ServiceError("; ".join(proof.error for proof in proofs))
        account(key)
        self._registry.put(key)
        if candidate.extractable:
            detail = f"key {key.id} can be exported from its token (CKA_EXTRACTABLE): copies of it may exist"
            self._warnings.add("key extractable", key.id, detail, firing=False)
        return key

    def _check_new(self, key: Description, taken: frozenset[int]) -> None:
        for known in self._registry.all():
            if known.id == key.id or known.dnskey[4:] == key.dnskey[4:]:
                zones = ", ".join(map(name_text, known.zones))
                raise Exists(f"that key is bound to {zones} already; only share_keys lets zones share keys")
        if not taken.isdisjoint(algorithms.tags(key.dnskey)):
            raise tag_taken()

    async def _candidate(self, request: AdoptRequest) -> m.Candidate:
        """Return the one key that is meant; without public key where its token does not say it and the request does."""
        cka_id, label, public_key = request.cka_id, request.label, request.public_key
        try:
            bytes.fromhex(cka_id)
        except ValueError:
            raise BadRequest("CKA_ID must be given in hex") from None
        if not cka_id and not label and not public_key:
            raise BadRequest("name the key by CKA_ID, label or public key")
        wanted = f"CKA_ID {cka_id}" if cka_id else f"label {label!r}"
        if public_key:
            wanted = "the public key asked for"
        call = m.SearchCall(cka_id, label, request.algorithm, public_key)
        found = await self._search(call, fresh=False) or await self._search(call, fresh=True)
        if not found:
            raise MissingKey(
                f"no key of algorithm {request.algorithm} with {wanted} is in a token of {self._store}"
            )
        if len(found) > 1:
            raise BadRequest(f"{len(found)} different keys with {wanted}; {_how_to_tell(found)}")
        (candidate,) = found
        if not candidate.signs:
            raise BadRequest(f"the key with {wanted} has no CKA_SIGN: its token does not sign with it")
        if not candidate.public_key and not public_key:
            raise BadRequest(
                f"the private key with {wanted} is there, but its token does not say its public key:"
                " put the public key or a certificate next to it, under the same CKA_ID"
            )
        return candidate

    async def _check_claim(self, key: Description) -> None:
        """BadRequest unless the key in some token signs for the public key that was given."""
        pools = [pool for pool in self._pools if pool.health.hopeful]
        faults = [
            await pool.command(lambda session: session.try_claim(key), self._deadline()) for pool in pools
        ]
        if all(faults):
            raise BadRequest("; ".join(faults) or "no token is open")

    async def _search(self, call: m.SearchCall, *, fresh: bool) -> list[m.Candidate]:
        """Return the keys in all tokens that fit, each once. Keys of an unknown public key differ by their CKA_ID.

        A key that was made a moment ago may be seen in a fresh session only.
        """
        found: dict[tuple[bytes, str], m.Candidate] = {}
        for pool in self._pools:
            if pool.health.hopeful:
                asked = msgspec.structs.replace(call, by_attributes=quirks.SEARCH_BY_ID not in pool.quirks)
                for one in await pool.command(partial(_search_in, asked), self._deadline(), fresh=fresh):
                    found[one.public_key, "" if one.public_key else one.cka_id] = one
        return list(found.values())

    async def destroy(self, key: Description) -> str:
        """Destroy the key pair in every token and forget it; return what was done, in words.

        Unavailable, and nothing is forgotten, unless all tokens but evicted ones are there.
        """
        outcomes = []
        for pool in self._pools:
            pool.leaving.add(key.id)
            try:
                outcomes.append(await destroy_in(pool, key, self._deadline(), self._monotonic))
            finally:
                pool.leaving.discard(key.id)
        self._registry.drop(key.id)
        for pool in self._pools:
            pool.forget(key.id)
        if not (unseen := [text for text in outcomes if text]):
            return "destroyed"
        detail = f"key {key.id} is no longer used; {'; '.join(unseen)}"
        self._warnings.add("key not destroyed", key.id, detail, firing=False)
        return detail


async def make_in(pool: TokenPool, planned: Description, session: Session) -> Description:
    """Make the key that is described in a token; return it with its public key and the token's CKA_ID."""
    if quirks.MAKES_NO_KEYS in pool.quirks or planned.algorithm not in session.makes:
        name = algorithms.algorithm_of(planned.algorithm).name
        raise Unsupported(
            f"token {pool.name} makes no {name} keys for dnssecd: make them with the vendor's tool and bind them"
            " with: dnssecd key import"
        )
    recipe = pool.recipes.get(planned.algorithm, quirks.first_recipe(pool.quirks))
    try:
        made = await session.generate(
            planned.id, planned.cka_id, planned.label, planned.algorithm, planned.bits, recipe
        )
    except WorkerLost as error:
        if pool.may_make_again(error):
            raise StaleSession from None
        raise
    pool.note_made(planned, made)
    dnskey = planned.flags.to_bytes(2) + b"\x03" + bytes([planned.algorithm]) + made.public_key
    return msgspec.structs.replace(planned, dnskey=dnskey, cka_id=made.cka_id)


def _must_be_public_key(dnskey: bytes) -> None:
    """BadRequest for what no signature can be verified with."""
    try:
        algorithms.public_from_dnskey(dnskey)
    except (ValueError, IndexError) as error:
        raise BadRequest(f"the public key is none of algorithm {dnskey[3]}: {error}") from None


async def _search_in(call: m.SearchCall, session: Session) -> list[m.Candidate]:
    return await session.search(call)


def _how_to_tell(found: list[m.Candidate]) -> str:
    if len({one.cka_id for one in found}) == len(found):
        return "name one by its CKA_ID"
    return "they share their CKA_ID: give each a CKA_ID of its own with the vendor's tool"
