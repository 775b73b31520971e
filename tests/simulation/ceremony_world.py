"""The world of a zone with an off-line KSK: ceremonies that are held in time, late or not at all, and wrong responses.

Requests, checks, signatures and imports are the real ones, with real keys; what the daemon does around them is played.
"""

from random import Random

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from dnssecd.core.ceremony.accept import Published, ResponseRefused, Signer, accept_response
from dnssecd.core.ceremony.checks import Limits, Previous, check_request, is_refused
from dnssecd.core.ceremony.known import cds_sets, known_ksks
from dnssecd.core.ceremony.proof import proof_message
from dnssecd.core.ceremony.report import ds_digest
from dnssecd.core.ceremony.request import Request, ZskProof, read_request, write_request
from dnssecd.core.ceremony.response import Response, read_response, write_response
from dnssecd.core.ceremony.signing import response_of, stages_of, tasks_of
from dnssecd.core.ceremony.slots import slots_of, within, zsk_timeline, zsks_to_come
from dnssecd.core.dns.names import text_to_wire
from dnssecd.core.dns.rrtypes import DNSKEY
from dnssecd.core.keys import requests as commands
from dnssecd.core.keys.evidence import Evidence, SpareKey
from dnssecd.core.keys.keyset import Key, SigningKey, add_key, initial_keyset, key_tag, new_key, signing_view
from dnssecd.core.keys.keystate import Role, State
from dnssecd.core.keys.planner import TABLES, Tables
from dnssecd.core.keys.signed_ahead import SignedAhead, dnskey_until, offered
from dnssecd.core.keys.simulate import Assumptions, simulate
from dnssecd.core.keys.types import GenerateKey, KeySpec
from dnssecd.replacing import replace

from .oracle import Bogus
from .scenario import DAY, Act, Scenario, make
from .world import APEX, World

STORES = frozenset({"vault"})
CASE = 0x20  # the bit between upper and lower case
VALIDITY, REFRESH = 14 * DAY, 7 * DAY
EVERY, PERIOD = 45 * DAY, 75 * DAY
CEREMONIES = 8
ACTS = ("roll zsk", "secondary out", "parent out", "restart", "lose evidence", "roll zsk")


def make_ceremonies(seed: int) -> tuple[Scenario, frozenset[str]]:
    """Return the scenario of a seed, and what is special in it: "missed", "late", "wrong", or nothing.

    "moves": the zone begins with a KSK that the signer holds ("csk": with a CSK).
    """
    rng = Random(f"ceremonies {seed}")
    base = make(seed)
    policy = replace(
        base.policy,
        specs=(
            KeySpec(Role.KSK, 13, "vault"),
            KeySpec(Role.ZSK, 13, "online", rng.choice((None, int(rng.uniform(20, 60) * DAY)))),
        ),
        signed=True, parent=True, standby_ksk=False, standby_zsk=False, rfc5011=False, require_backup=False,
        manual=frozenset(),
        dnskey_ttl=min(base.policy.dnskey_ttl, DAY),
    )  # fmt: skip
    quiet = CEREMONIES * EVERY
    acts = [Act(rng.uniform(0, quiet), rng.choice(ACTS), rng.random()) for _ in range(rng.choice((0, 3, 8)))]
    specs = tuple(replace(spec, lifetime=None) for spec in policy.specs)
    acts.append(Act(quiet, "policy", replace(policy, specs=specs)))
    troubles = frozenset(kind for kind in ("missed", "late", "wrong", "moves") if rng.random() < 0.4)
    registry = base.registry if base.registry != "never" else "cds"
    scenario = replace(
        base, policy=policy, acts=tuple(sorted(acts, key=lambda act: act.at)), quiet_at=quiet, registry=registry,
        ttl_ds=max(base.ttl_ds, 60), parents_known=True, generate_delay=0.0,
    )  # fmt: skip
    return scenario, troubles


class CeremonyWorld(World):
    """As World, with an off-line KSK. ``expired``: no RRSIG over the DNSKEY RRset is valid."""

    def __init__(self, seed: int, tables: Tables = TABLES) -> None:
        scenario, self.troubles = make_ceremonies(seed)
        super().__init__(scenario, seed, tables)
        self.private: dict[bytes, ec.EllipticCurvePrivateKey] = {}
        self.spares: list[SpareKey] = []
        self.current: tuple[SigningKey, ...] = (self.make_ksk(),)
        self.coming: tuple[SigningKey, ...] = ()
        self.previous: Previous | None = None
        self.last_response = ""
        self.requests = 0
        self.supply = SignedAhead(STORES)
        self.expired = self.excused = False
        self.keyset = initial_keyset(APEX, self.first_keys(seed), self.clock)
        self.hold()
        self.excused = "missed" in self.troubles or "late" in self.troubles
        self.plan_ceremonies()
        for _ in range(self.rng.choice((0, 1, 2))):
            self.at(self.rng.uniform(DAY, scenario.quiet_at), self.compromise_zsk)

    # Keys

    def first_keys(self, seed: int) -> tuple[Key, ...]:
        """The keys that the zone begins with; a KSK that moves may be a CSK before."""
        moves = "moves" in self.troubles
        public = self.make_pair(257) if moves else self.current[0].public_key
        if moves and Random(f"csk {seed}").random() < 0.4:
            self.troubles |= {"csk"}
            return (new_key("csk", Role.CSK, 13, public, "online", self.clock),)
        zsk = self.make_zsk()
        first = new_key(zsk.key_id, Role.ZSK, 13, zsk.public_key, "online", self.clock)
        return new_key("ksk", Role.KSK, 13, public, "online" if moves else "vault", self.clock), first

    def make_pair(self, flags: int) -> bytes:
        """Make a key pair whose tag is free; return the public key field."""
        while True:
            private = ec.derive_private_key(self.rng.getrandbits(250) + 1, ec.SECP256R1())
            numbers = private.public_key().public_numbers()
            public = numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
            rdata = flags.to_bytes(2) + bytes((3, 13)) + public
            if all(abs(key_tag(rdata) - key_tag(other)) not in (0, 128) for other in self.private):
                self.private[rdata] = private
                return public

    def make_ksk(self) -> SigningKey:
        public = self.make_pair(257)
        rdata = (257).to_bytes(2) + bytes((3, 13)) + public
        return SigningKey(f"ksk {len(self.private)}", 13, 257, key_tag(rdata), public, "vault")

    def make_zsk(self) -> SpareKey:
        number = len(self.private)
        return SpareKey(f"zsk {number:03}", Role.ZSK, 13, 0, "online", self.make_pair(256), self.clock)

    def sign(self, rdata: bytes, message: bytes) -> bytes:
        r, s = decode_dss_signature(self.private[rdata].sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    def generated(self, request: GenerateKey) -> None:
        """A ZSK that no request foresaw: it waits for the next ceremony."""
        self.generating.pop(request.request_id, None)
        if request.role.value in self.keyset_wants():
            spare = self.make_zsk()
            self.keyset = commands.generated(self.keyset, request, spare.key_id, spare.public_key, self.clock)
        self.after(1, self.daemon)

    def compromise_zsk(self) -> None:
        """Report the ZSK in use as compromised: the next one was signed for in advance."""
        zsks = [key for key in self.keyset.keys if key.role is Role.ZSK and key.zrrsig.visible]
        if zsks and not self.expired:
            self.log(f"compromised {zsks[0].tag}")
            self.keyset = commands.compromised(self.keyset, zsks[0].ref)
            self.daemon()

    # Ceremonies

    def plan_ceremonies(self) -> None:
        for number in range(1, 4 * CEREMONIES):
            when = number * EVERY + self.rng.uniform(0, 5 * DAY)
            if "missed" in self.troubles and number < CEREMONIES and self.rng.random() < 0.25:
                self.log(f"ceremony {number} is missed")
                continue
            self.at(when, self.ceremony)

    def ceremony(self) -> None:
        """A ceremony that may begin or end a rollover of the KSK; its response is imported at once, or late."""
        if self.coming and not self.is_shown(self.current[0]):
            self.current, self.coming = self.coming, ()
        elif not self.coming and self.now < self.scenario.quiet_at - EVERY and self.rng.random() < 0.4:
            self.coming = (self.make_ksk(),)
            self.log("the KSK rolls over")
        self.hold()

    def is_shown(self, key: SigningKey) -> bool:
        found = [own for own in self.keyset.keys if own.public_key == key.public_key]
        return any(own.dnskey.state is not State.HIDDEN for own in found)

    def hold(self) -> None:
        request = self.make_request()
        findings = check_request(request, Limits(), self.previous, self.clock)
        assert not is_refused(findings), [finding.text for finding in findings]
        response = self.signed(request, self.current, self.coming)
        zsks = frozenset(request.zsks)
        end = request.slots[-1].expiration
        self.previous = Previous(
            request.zone, request.number, request.digest.hex(), response.digest.hex(), zsks, end
        )
        late = "late" in self.troubles and self.supply.sets and self.rng.random() < 0.5
        if late:
            self.after(self.rng.uniform(0, 35 * DAY), lambda: self.take_in(response))
        else:
            self.take_in(response)

    def signed(
        self, request: Request, current: tuple[SigningKey, ...], coming: tuple[SigningKey, ...]
    ) -> Response:
        tasks = tasks_of(request, stages_of(current, coming), cds=True)
        rdatas = {key: (257).to_bytes(2) + bytes((3, 13)) + key.public_key for key in (*current, *coming)}
        signatures = [self.sign(rdatas[task.key], task.preimage) for task in tasks]
        response = response_of(request, tasks, signatures, self.clock)
        return read_response(write_response(response))

    def make_request(self) -> Request:
        """As ``dnssecd ksr export`` does it."""
        assume = Assumptions(
            secondary_lag=60, resign=int(self.scenario.resign), ttl_dnskey=self.policy.dnskey_ttl,
            ttl_zone=self.ttl_zone, ttl_negative=self.scenario.ttl_negative, ttl_ds=self.ttl_ds,
        )  # fmt: skip
        stop = self.clock + PERIOD
        ahead = simulate(self.keyset, self.policy, assume, self.clock, stop)
        names = zsks_to_come(ahead.spans, {key.ref for key in self.keyset.keys})
        free = self.free_spares()
        while len(free) < len(names):
            self.spares.append(self.make_zsk())
            free = self.free_spares()
        refs = {key.ref: key.rdata for key in self.keyset.keys if key.role is Role.ZSK}
        refs |= {ref: rdata_of(spare) for ref, spare in zip(names, free, strict=False)}
        shown = [key.rdata for key in self.keyset.keys if key.role is Role.ZSK and key.dnskey.visible]
        plan = zsk_timeline(ahead.spans, refs, shown, self.clock)
        slots = slots_of(
            plan, self.clock, stop, validity_s=VALIDITY, refresh_s=REFRESH, inception_offset_s=-3600
        )
        self.requests += 1
        ksks = tuple(known_ksks(self.keyset, STORES))
        wanted = {rdata for slot in slots for zsks in slot.sets for rdata in zsks}
        request = Request(
            zone=APEX, number=self.requests, made=self.clock, start=self.clock, stop=stop,
            ttl=self.policy.dnskey_ttl, zsks=tuple(sorted(wanted)), slots=slots,
            plan=within(plan, self.clock, stop), previous=self.last_response, ksks=ksks,
            cds_sets=cds_sets(self.keyset, ahead.spans, self.clock, {ksk.rdata for ksk in ksks}),
        )  # fmt: skip
        proofs = tuple(
            ZskProof(key_tag(z), 13, self.sign(z, proof_message(APEX, 13, key_tag(z), request.digest)))
            for z in request.zsks
        )
        return read_request(write_request(replace(request, proofs=proofs)))

    def free_spares(self) -> list[SpareKey]:
        used = {key.public_key for key in self.keyset.keys}
        free = [spare for spare in self.spares if spare.public_key not in used]
        return sorted(
            free, key=lambda spare: (not self.supply.has(rdata_of(spare)), spare.created, spare.key_id)
        )

    def take_in(self, response: Response) -> None:
        """As ``dnssecd skr import`` does it; what is wrong must be refused before."""
        if "wrong" in self.troubles:
            try:
                accept_response(self.wrong_response(response), self.signer(), self.clock)
            except ResponseRefused as error:
                self.log(f"wrong response refused: {error}")
            else:
                raise Bogus("a wrong response was accepted")
        try:
            accepted = accept_response(response, self.signer(), self.clock)
        except ResponseRefused as error:
            if not self.excused:
                raise Bogus(f"a response was refused: {error}") from None
            self.log(f"refused: {error}")
            self.after(DAY, self.hold)
            return
        self.supply, self.last_response = accepted.ahead, response.digest.hex()
        for rdata in accepted.ksks:
            if all(key.rdata != rdata for key in self.keyset.keys):
                name = f"ksk of {self.clock}"
                self.keyset = add_key(
                    self.keyset, new_key(name, Role.KSK, 13, rdata[4:], "vault", self.clock)
                )
        self.log("response imported")
        if self.zone.versions:
            self.daemon()

    def signer(self) -> Signer:
        view = signing_view(self.keyset, cds=False)
        zsks = {rdata_of(spare) for spare in self.spares}
        zsks |= {key.rdata for key in self.keyset.keys if key.role is Role.ZSK}
        ksks = {key.rdata for key in self.keyset.keys if key.role is Role.KSK}
        offline = self.supply.absent(view.dnskey_keys)
        published = Published(view.dnskey_rdatas, view.dnskey_keys) if offline else Published()
        first = (257).to_bytes(2) + bytes((3, 13)) + self.current[0].public_key
        accepted = frozenset() if self.supply.sets else frozenset({ds_digest(APEX, first)})
        return Signer(APEX, frozenset(zsks), frozenset(ksks), self.supply, published, accepted)

    def wrong_response(self, response: Response) -> Response:
        """Return a response of another zone, with a flipped bit, with a foreign ZSK, or by another KSK."""
        number = self.rng.randrange(len(response.sets))
        chosen = response.sets[number]
        match self.rng.randrange(4):
            case 0:
                return replace(response, zone=text_to_wire("other.example."))
            case 1:
                rrsig = bytearray(chosen.rrsigs[0])
                octet, bit = self.rng.randrange(len(rrsig)), 1 << self.rng.randrange(8)
                # The case of the signer's name is not signed (RFC 4034 §6.2): another bit there.
                rrsig[octet] ^= bit << 1 if bit == CASE and 18 <= octet < 18 + len(APEX) else bit
                flipped = replace(chosen, rrsigs=(bytes(rrsig), *chosen.rrsigs[1:]))
                return replace(
                    response, sets=(*response.sets[:number], flipped, *response.sets[number + 1 :])
                )
            case 2:
                stranger = (256).to_bytes(2) + bytes((3, 13)) + self.make_pair(256)
                rdatas = tuple(sorted((*response.sets[0].rdatas, stranger)))
                return replace(response, sets=(*response.sets, replace(response.sets[0], rdatas=rdatas)))
            case _:
                return self.signed(self.make_request(), (self.make_ksk(),), ())

    # The daemon

    def evidence(self) -> Evidence:
        return replace(super().evidence(), ahead=self.supply, spares=tuple(self.free_spares()))

    def daemon(self) -> None:
        """Plan nothing while no DNSKEY RRset can be published: every version would be refused."""
        if self.has_expired():
            if not self.excused:
                raise Bogus(f"at {self.now / DAY:.2f} d: the signatures ended, and no ceremony was missed")
            self.log("expired")
            return
        super().daemon()

    def has_expired(self) -> bool:
        until = dnskey_until(self.keyset, self.supply, self.clock)
        self.expired = until is not None and until <= self.clock
        return self.expired

    def resign_due(self) -> None:
        if self.has_expired():
            self.after(DAY, self.resign_due)
            return
        super().resign_due()

    def commit(self) -> None:
        """Publish only what was signed: the verification would refuse all else."""
        view = signing_view(self.keyset)
        keys = self.supply.absent(view.dnskey_keys)
        if keys and self.supply.best(DNSKEY, view.dnskey_rdatas, keys, self.clock) is None:
            raise Bogus(f"at {self.now / DAY:.2f} d: a DNSKEY RRset is published that was not signed")
        if not self.excused and offered(view, self.supply, self.clock) != view:
            raise Bogus(f"at {self.now / DAY:.2f} d: CDS and CDNSKEY were not signed")
        super().commit()


def rdata_of(spare: SpareKey) -> bytes:
    """Return the DNSKEY RDATA of a spare ZSK."""
    return (256).to_bytes(2) + bytes((3, 13)) + spare.public_key
