"""A request to a ceremony: the planner's forecast says which ZSKs there will be; those that lack are made."""

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from dnssecd.core.ceremony.known import cds_sets, known_ksks
from dnssecd.core.ceremony.request import Request, ZskProof
from dnssecd.core.ceremony.slots import slots_of, within, zsk_timeline, zsks_to_come
from dnssecd.core.keys.evidence import Evidence
from dnssecd.core.keys.keyset import Key, Keyset, initial_keyset, key_tag, new_key
from dnssecd.core.keys.keystate import Goal, Role
from dnssecd.core.keys.signed_ahead import SignedAhead
from dnssecd.core.keys.simulate import Simulation, simulate
from dnssecd.core.keys.types import KeySpec, RolloverPolicy
from dnssecd.daemon.rollover import forecast
from dnssecd.daemon.zones.zone import FrontZone
from dnssecd.keyservice_client.client import AsyncSignerClient
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.pipeline.version.ahead import CeremonyState
from dnssecd.pipeline.version.committed import Committed
from dnssecd.pipeline.version.first_keys import idempotency_of
from dnssecd.replacing import replace

DS_DELAY_S = 86_400
#: More ZSKs than this in one period are a mistake in the period or in the lifetime.
NEW_ZSKS_MAX = 64


class CannotAsk(Exception):
    """No request can be made; the text says why, ``remedy`` what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        """Take both."""
        super().__init__(what)
        self.remedy = remedy


class Wanted(Struct, frozen=True):
    """What is asked for: zone, period (epoch s), what is published (None: nothing), ceremonies so far."""

    zone: FrontZone
    start: int
    stop: int
    known: Committed | None
    ceremony: CeremonyState
    policy: RolloverPolicy
    evidence: Evidence
    now: int


class Made(Struct, frozen=True):
    """A request; ``first_zsk``: id of the ZSK that a new zone begins with ("": it has keys)."""

    request: Request
    first_zsk: str


async def make_request(wanted: Wanted, signer: AsyncSignerClient) -> Made:
    """Return the request, signed by all its ZSKs. Raise CannotAsk, SignerError."""
    zone = wanted.zone
    spec = _zsk_spec(wanted)
    held = list(await signer.keys(zone.origin))
    first_zsk = ""
    if wanted.known is None:
        first = await _first_zsk(wanted, signer, held)
        keyset, first_zsk = _first_keyset(zone.origin, first, wanted.now), first.key_id
        held = list(await signer.keys(zone.origin))
    else:
        keyset = wanted.known.keyset
        _check_other_signers(keyset, zone)
    ahead = await asyncio.to_thread(_forecast, wanted, keyset)
    names = zsks_to_come(ahead.spans, {key.ref for key in keyset.keys})
    spares = await _spares(wanted, spec, keyset, held, len(names), signer)
    refs = {key.ref: key.rdata for key in keyset.keys if key.role is Role.ZSK}
    refs |= {name: info.dnskey for name, info in zip(names, spares, strict=False)}
    request = _request(wanted, keyset, ahead, refs)
    ids = {info.dnskey: info.id for info in (*held, *spares)}
    proofs = [await _proof(zone.origin, rdata, ids, request.digest, signer) for rdata in request.zsks]
    return Made(replace(request, proofs=tuple(proofs)), first_zsk)


def _zsk_spec(wanted: Wanted) -> KeySpec:
    spec = next((spec for spec in wanted.policy.specs if spec.role is Role.ZSK), None)
    offline = any(each.keystore in wanted.zone.spec.offline for each in wanted.policy.specs)
    if spec is None or not offline:
        raise CannotAsk(
            f"the KSK of {wanted.zone.name} is not off-line",
            'in the policy: ksk = { keystore = "…" } with a key store of type "offline"',
        )
    return spec


def _check_other_signers(keyset: Keyset, zone: FrontZone) -> None:
    theirs = [key for key in keyset.keys if key.foreign and (key.dnskey.visible or key.goal is Goal.PRESENT)]
    if theirs:
        tags = ", ".join(f"{key.tag} of signer {key.signer}" for key in theirs)
        raise CannotAsk(
            f"{zone.name} has keys of other signers ({tags}), and a ceremony signs no DNSKEY RRset with such keys",
            f"dnssecd key remove-foreign {zone.name}, or name a key store of the key service in the policy: "
            'ksk = { keystore = "…" }',
        )


async def _first_zsk(wanted: Wanted, signer: AsyncSignerClient, held: Iterable[KeyInfo]) -> Key:
    """Return the ZSK that a new zone begins with: the one that its first version takes."""
    spec = wanted.zone.spec
    wish = next(wish for wish in spec.keys if wish.role == "zsk")
    place = (wish.keystore, "zsk", wish.algorithm)
    fitting = [info for info in held if (info.store, info.role, info.algorithm) == place]
    again = [info for info in fitting if info.id == wanted.ceremony.first_zsk]
    info = min(again or fitting, key=lambda info: (info.created, info.id), default=None)
    if info is None:
        _check_may_make(wanted, 1)
        info = await signer.generate(
            wanted.zone.origin,
            "zsk",
            wish.algorithm,
            store=wish.keystore,
            bits=wish.bits,
            idempotency=idempotency_of(wish),
            tags=wanted.zone.spec.tag_range,
        )
    return new_key(info.id, Role.ZSK, info.algorithm, info.public_key, info.store, wanted.now, info.bits)


def _first_keyset(origin: bytes, zsk: Key, now: int) -> Keyset:
    """Return a key set to forecast with: the KSK is still to be made at the ceremony."""
    stand_in = new_key("ceremony", Role.KSK, zsk.algorithm, bytes(len(zsk.public_key)), "ceremony", now)
    return initial_keyset(origin, (stand_in, zsk), now)


def _forecast(wanted: Wanted, keyset: Keyset) -> Simulation:
    """Return what the planner would do if people approved at once and the KSK were here."""
    policy = replace(wanted.policy, manual=frozenset(), given=False)
    assume = forecast.assumptions(wanted.zone, wanted.evidence, policy, DS_DELAY_S)
    assume = replace(assume, ahead=None, spares=())  # what is asked for must not depend on what was signed
    return simulate(replace(keyset, held=()), policy, assume, wanted.now, wanted.stop)


async def _spares(
    wanted: Wanted,
    spec: KeySpec,
    keyset: Keyset,
    held: list[KeyInfo],
    number: int,
    signer: AsyncSignerClient,
) -> list[KeyInfo]:
    """Return this many ZSKs to come, in the order in which the planner will take them; those that lack are made."""
    if number > NEW_ZSKS_MAX:
        raise CannotAsk(
            f"{number} ZSKs would be needed until then; at most {NEW_ZSKS_MAX}", "ask for a shorter period"
        )
    used = {key.public_key for key in keyset.keys}
    spares = [info for info in held if _is_spare(info, spec, used)]
    if len(spares) < number:
        _check_may_make(wanted, number - len(spares))
    while len(spares) < number:
        spares.append(
            await signer.generate(
                wanted.zone.origin,
                "zsk",
                spec.algorithm,
                store=spec.keystore,
                bits=spec.bits,
                tags=wanted.zone.spec.tag_range,
            )
        )
    supply = wanted.evidence.ahead
    return sorted(spares, key=lambda info: (not _is_signed(info, supply), info.created, info.id))[:number]


def _is_spare(info: KeyInfo, spec: KeySpec, used: set[bytes]) -> bool:
    fits = (info.role, info.algorithm, info.store) == ("zsk", spec.algorithm, spec.keystore)
    return fits and spec.bits in (0, info.bits) and info.public_key not in used and info.state != "missing"


def _is_signed(info: KeyInfo, supply: SignedAhead | None) -> bool:
    return supply is not None and supply.has(info.dnskey)


def _check_may_make(wanted: Wanted, number: int) -> None:
    if wanted.policy.given:
        raise CannotAsk(
            f'{number} more ZSKs are needed, and the policy has no key made (keys = "given")',
            "add them: dnssecd key import, dnssecd key generate",
        )


def _request(wanted: Wanted, keyset: Keyset, ahead: Simulation, refs: dict[str, bytes]) -> Request:
    zone = wanted.zone
    published = [key.rdata for key in keyset.keys if key.role is Role.ZSK and key.dnskey.visible]
    timeline = zsk_timeline(ahead.spans, refs, published, wanted.now)
    if not timeline:
        raise CannotAsk(
            f"{zone.name} has no ZSK, and none is expected until then: dnssecd simulate {zone.name} says what waits",
            "end what the rollover waits for, or ask for a longer period",
        )
    slots = slots_of(
        timeline,
        wanted.start,
        wanted.stop,
        validity_s=zone.spec.validity_s,
        refresh_s=_refresh_s(zone),
        inception_offset_s=zone.spec.inception_offset_s,
    )
    ksks = tuple(known_ksks(keyset, zone.spec.offline)) if wanted.known is not None else ()
    shown = {rdata for slot in slots for zsks in slot.sets for rdata in zsks}
    return Request(
        zone=zone.origin,
        number=wanted.ceremony.requests + 1,
        made=wanted.now,
        start=wanted.start,
        stop=wanted.stop,
        ttl=zone.spec.dnskey_ttl,
        zsks=tuple(rdata for rdata in dict.fromkeys(refs.values()) if rdata in shown),
        slots=slots,
        plan=within(timeline, wanted.start, wanted.stop),
        ksks=ksks,
        cds=zone.spec.cds,
        cds_sets=cds_sets(keyset, ahead.spans, wanted.now, {ksk.rdata for ksk in ksks})
        if zone.spec.cds
        else (),
        previous=wanted.ceremony.response,
    )


def _refresh_s(zone: FrontZone) -> int:
    """Return how long before its end an RRSIG over the DNSKEY RRset is replaced: at most half of its validity."""
    if zone.refresh_s:
        return zone.refresh_s
    return min(zone.spec.refresh_s or zone.spec.validity_s // 2, zone.spec.validity_s // 2)


async def _proof(
    origin: bytes, rdata: bytes, ids: dict[bytes, str], digest: bytes, signer: AsyncSignerClient
) -> ZskProof:
    """Have a ZSK sign the request's hash. Raise CannotAsk, SignerError."""
    proofs = await signer.prove(origin, ids[rdata], rdata, digest) if rdata in ids else []
    good = next((proof for proof in proofs if not proof.error), None)
    if good is None:
        why = "; ".join(proof.error for proof in proofs) or "the key service does not have it"
        raise CannotAsk(f"a ZSK of the request did not sign it: {why}", "see dnssecd keystore test")
    return ZskProof(key_tag(rdata), rdata[3], good.signature)
