"""A good signed zone is damaged in many ways: each must be named with its own code, and at the right name."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnssecd.core.dns.names import key_to_text
from dnssecd.core.dns.rrset import RRset, Rrsigs, pack, unpack
from dnssecd.core.verify import (
    CODES,
    DenialExpectation,
    Expectation,
    MemoryZoneView,
    verify_change,
    verify_zone,
)
from dnssecd.replacing import replace
from tests.unit.core_verify import naive
from tests.unit.core_verify.naive import KSK, NOW, ORIGIN, ZSK, Key, Naive, key, name

FOREIGN = Key(9, 256)
#: The key tag is a sum, so two 16-bit words of a key can change places.
SAME_TAG = ZSK.rdata[:4] + ZSK.rdata[6:8] + ZSK.rdata[4:6] + ZSK.rdata[8:]
CDS, CDNSKEY, ZONEMD, RRSIG, MX = 59, 60, 63, 46, 15
BITMAP_A = naive.bitmap({1, RRSIG})


@dataclass
class Zone:
    """The parts of a signed zone, to be damaged."""

    signer: Naive
    content: dict[tuple[bytes, int], RRset]
    denial: dict[bytes, RRset]
    rrsigs: dict[tuple[bytes, int], Rrsigs]

    @classmethod
    def of(cls, signer: Naive, view: MemoryZoneView) -> Zone:
        """Take a view apart."""
        return cls(
            signer,
            {s[:2]: s for s in view.scan()},
            {d.owner: d for d in view.denial_scan()},
            {s[:2]: s for s in view.rrsig_scan()},
        )

    def view(self) -> MemoryZoneView:
        return MemoryZoneView(ORIGIN, self.content.values(), self.denial.values(), self.rrsigs.values())

    def get(self, owner: bytes, rtype: int) -> RRset:
        """A content or denial set."""
        return self.denial[owner] if rtype in (47, 50) else self.content[owner, rtype]

    def sign(self, text: str | bytes, rtype: int, *keys: Key, **other: int) -> None:
        """Sign a set again (by default as it should be); ``other`` overrides RRSIG fields."""
        owner = key(text) if isinstance(text, str) else text
        times = (other.pop("inception", NOW - 3600), other.pop("expiration", NOW + 86400))
        by = keys or ((KSK,) if rtype == 48 else (ZSK,))
        self.rrsigs[owner, rtype] = naive.make_rrsigs(self.get(owner, rtype), by, *times, **other)

    def put(self, text: str | bytes, rtype: int, *rdatas: bytes, ttl: int = 600, signed: bool = True) -> None:
        """Put a content or denial set, signed as it should be."""
        owner = key(text) if isinstance(text, str) else text
        rrset = RRset(owner, rtype, ttl, pack(rdatas))
        if rtype in (47, 50):
            self.denial[owner] = rrset
        else:
            self.content[owner, rtype] = rrset
        if signed:
            self.sign(owner, rtype)

    def orphan(self, text: str, rtype: int) -> None:
        """Leave an RRSIG over a set that does not exist."""
        self.put(text, rtype, b"\1z")
        del self.content[key(text), rtype]

    def edit_sig(self, text: str | bytes, rtype: int, change: Callable[[bytes], bytes]) -> None:
        """Change the RDATA of the RRSIGs over a set."""
        owner = key(text) if isinstance(text, str) else text
        sigs = self.rrsigs[owner, rtype]
        self.rrsigs[owner, rtype] = sigs._replace(rdata=pack([change(one) for one in unpack(sigs.rdata)]))

    def edit_denial(self, owner: bytes, change: Callable[[bytes], bytes]) -> None:
        """Change the RDATA of an NSEC or NSEC3 RR and sign it again."""
        rrset = self.denial[owner]
        self.denial[owner] = rrset._replace(rdata=pack([change(one) for one in unpack(rrset.rdata)]))
        self.sign(owner, rrset.rtype)

    def place(self, text: str) -> bytes:
        """Owner of the denial RR of a name."""
        wire = naive.key_to_wire(key(text), ORIGIN)
        return naive.base32hex(self.signer._hash(wire)) if self.signer.nsec3 else key(text)

    def drop_denial(self, text: str, *, relink: bool = False) -> None:
        """Remove the denial RR of a name; relink: let the one before it point past it."""
        place = self.place(text)
        gone = self.denial.pop(place)
        del self.rrsigs[place, gone.rtype]
        if relink:
            before = max((o for o in self.denial if o < place), default=max(self.denial))
            if gone.rtype == 47:
                after = unpack(gone.rdata)[0]
                end = after.index(b"\0") + 1  # no name of the zone here holds a zero octet
                self.edit_denial(before, lambda r: after[:end] + r[r.index(b"\0") + 1 :])
            else:
                at = 6 + len(self.signer.salt)
                following = unpack(gone.rdata)[0][at : at + 20]
                self.edit_denial(before, lambda r: r[:at] + following + r[at + 20 :])


Damage = Callable[[Zone], object]


def flip(at: int) -> Callable[[bytes], bytes]:
    """Return a change that flips one bit of an octet (counted from the end when negative)."""

    def change(rdata: bytes) -> bytes:
        out = bytearray(rdata)
        out[at] ^= 1
        return bytes(out)

    return change


def tail(rdata: bytes, field: bytes) -> bytes:
    """NSEC RDATA with other type bit maps."""
    return rdata[: rdata.index(b"\0") + 1] + field


ANY: dict[str, tuple[str, str, Damage]] = {
    "bit flipped in a signature": ("rrsig-bad", "mail", lambda z: z.edit_sig("mail", 1, flip(-1))),
    "bit flipped in the first octet": ("rrsig-bad", "mail", lambda z: z.edit_sig("mail", 1, flip(-64))),
    "signature cut short": ("rrsig-bad", "mail", lambda z: z.edit_sig("mail", 1, lambda r: r[:-1])),
    "signature with an octet more": ("rrsig-bad", "mail", lambda z: z.edit_sig("mail", 1, lambda r: r + b"x")),
    "signature empty": ("rrsig-bad", "mail", lambda z: z.edit_sig("mail", 1, lambda r: r[:-64])),
    "RRSIG cut in its fields": ("rrsig-malformed", "mail", lambda z: z.edit_sig("mail", 1, lambda r: r[:12])),
    "RDATA changed": ("rrsig-bad", "mail", lambda z: z.put("mail", 1, b"\1\2\3\4", signed=False)),
    "RR added to a signed set": (
        "rrsig-bad", "mail", lambda z: z.put("mail", 1, b"\xc0\0\2\2", b"\xc0\0\2\3", b"\1\2\3\4", signed=False)),
    "RR removed from a signed set": (
        "rrsig-bad", "mail", lambda z: z.put("mail", 1, b"\xc0\0\2\2", signed=False)),
    "TTL raised": ("rrsig-original-ttl", "mail", lambda z: z.put("mail", 1, b"\xc0\0\2\2", ttl=601, signed=False)),
    "RRSIG with another TTL": (
        "rrsig-ttl", "mail",
        lambda z: z.rrsigs.update({(key("mail"), 1): z.rrsigs[key("mail"), 1]._replace(ttl=60)})),
    "RRSIG missing": ("rrset-unsigned", "mail", lambda z: z.rrsigs.pop((key("mail"), 1))),
    "RRSIG over DS missing": ("rrset-unsigned", "secure", lambda z: z.rrsigs.pop((key("secure"), 43))),
    "RRSIG over SOA missing": ("rrset-unsigned", "@", lambda z: z.rrsigs.pop((b"", 6))),
    "RRSIG over DNSKEY missing": ("rrset-unsigned", "@", lambda z: z.rrsigs.pop((b"", 48))),
    "expired": ("rrsig-expired", "mail", lambda z: z.sign("mail", 1, expiration=NOW - 1)),
    "not valid yet": ("rrsig-not-yet-valid", "mail", lambda z: z.sign("mail", 1, inception=NOW + 1)),
    "expires before inception": (
        "rrsig-period", "mail", lambda z: z.sign("mail", 1, inception=NOW + 9, expiration=NOW + 5)),
    "labels one too few": ("rrsig-labels", "mail", lambda z: z.sign("mail", 1, labels=1)),
    "labels one too many": ("rrsig-labels", "mail", lambda z: z.sign("mail", 1, labels=3)),
    "labels count the asterisk": ("rrsig-labels", "*.wild", lambda z: z.sign("*.wild", 16, labels=3)),
    "foreign signer name": ("rrsig-signer", "mail", lambda z: z.rrsigs.update({
        (key("mail"), 1): Rrsigs(key("mail"), 1, 600, pack([naive.sign_one(
            z.get(key("mail"), 1), ZSK, NOW - 9, NOW + 9, signer=name("other."))]))})),
    "signer is the name itself": ("rrsig-signer", "mail", lambda z: z.rrsigs.update({
        (key("mail"), 1): Rrsigs(key("mail"), 1, 600, pack([naive.sign_one(
            z.get(key("mail"), 1), ZSK, NOW - 9, NOW + 9, signer=name("mail.example."))]))})),
    "key not published": ("rrsig-unknown-key", "mail", lambda z: z.sign("mail", 1, FOREIGN)),
    "key not published beside a good one": ("rrsig-unknown-key", "mail", lambda z: z.sign("mail", 1, ZSK, FOREIGN)),
    "foreign key under the tag of ours": ("rrsig-bad", "mail", lambda z: z.sign("mail", 1, FOREIGN, tag=ZSK.tag)),
    "algorithm number changed": ("algorithm-missing", "mail", lambda z: z.sign("mail", 1, algorithm=16)),
    "original TTL changed": ("rrsig-original-ttl", "mail", lambda z: z.sign("mail", 1, original_ttl=601)),
    "filed under another type": ("rrsig-malformed", "mail", lambda z: z.sign("mail", 1, covered=28)),
    "delegation NS signed": ("delegation-signed", "secure", lambda z: z.sign("secure", 2)),
    "glue signed": ("occluded-signed", "ns.secure", lambda z: z.sign("ns.secure", 1)),
    "data below a DNAME signed": ("occluded-signed", "x.dn", lambda z: z.put("x.dn", 16, b"\1z")),
    "address at a delegation signed": ("occluded-signed", "secure", lambda z: z.put("secure", 1, b"\1\2\3\4")),
    "RRSIG over nothing": ("rrsig-dangling", "mail", lambda z: z.orphan("mail", 16)),
    "RRSIG at no name": ("rrsig-dangling", "no", lambda z: z.orphan("no", 16)),
    "RRSIG over RRSIG": ("rrsig-over-rrsig", "mail", lambda z: z.orphan("mail", 46)),
    "DNSKEY signed by the ZSK only": ("ksk-missing", "@", lambda z: z.sign("@", 48, ZSK)),
    "DNSKEY missing": ("dnskey-missing", "@", lambda z: z.content.pop((b"", 48))),
    "ZSK removed from DNSKEY": ("rrsig-unknown-key", "mail", lambda z: z.put("@", 48, KSK.rdata, ttl=3600)),
    "second algorithm in DNSKEY only": ("algorithm-missing", "mail", lambda z: z.put(
        "@", 48, KSK.rdata, ZSK.rdata, b"\1\0\3\x0d" + bytes(64), ttl=3600)),
    "key of an unknown algorithm": ("algorithm-unsupported", "@", lambda z: z.put(
        "@", 48, KSK.rdata, ZSK.rdata, b"\1\0\3\xc8" + bytes(64), ttl=3600)),
    "key that is no point on the curve": ("dnskey-malformed", "@", lambda z: z.put(
        "@", 48, KSK.rdata, ZSK.rdata, b"\1\0\3\x0d" + bytes(64), ttl=3600)),
    "key with another protocol": ("dnskey-malformed", "@", lambda z: z.put(
        "@", 48, KSK.rdata, ZSK.rdata, b"\1\0\2\x0f" + bytes(32), ttl=3600)),
    "ZSK revoked": ("rrsig-key-unusable", "mail", lambda z: (
        z.put("@", 48, KSK.rdata, b"\1\x80" + ZSK.rdata[2:], ttl=3600),
        z.sign("mail", 1, tag=ZSK.tag + 0x80))),
    "ZSK without the zone flag": ("rrsig-key-unusable", "mail", lambda z: (
        z.put("@", 48, KSK.rdata, b"\0\0" + ZSK.rdata[2:], ttl=3600), z.sign("mail", 1, tag=ZSK.tag - 0x100))),
    "CDS signed by the ZSK only": (
        "cds-signer", "@", lambda z: z.put("@", CDS, struct.pack(">HBB", KSK.tag, 15, 2) + bytes(32))),
    "RRSIG repeated": (
        "rrset-order", "mail",
        lambda z: z.rrsigs.update({(key("mail"), 1): z.rrsigs[key("mail"), 1]._replace(
            rdata=2 * z.rrsigs[key("mail"), 1].rdata)})),
    "CDS of no key": ("cds-mismatch", "@", lambda z: z.put("@", CDS, b"\0\1\x0f\2" + bytes(32))),
    "CDS delete beside another": (
        "cds-delete-mixed", "@", lambda z: z.put("@", CDS, bytes(5), b"\0\1\x0f\2" + bytes(32))),
    "CDNSKEY of no key": ("cdnskey-mismatch", "@", lambda z: z.put("@", CDNSKEY, FOREIGN.rdata)),
    "DS where nothing is delegated": ("ds-without-ns", "mail", lambda z: z.put("mail", 43, b"\0\1\x0d\2" + bytes(32))),
    "CNAME and other data": ("cname-and-other-data", "www", lambda z: z.put("www", 16, b"\1z")),
    "CNAME and other data where it is not served": (
        "cname-and-other-data", "ns.secure", lambda z: z.put("ns.secure", 5, name("a."), signed=False)),
    "two CNAMEs": ("cname-multiple", "www", lambda z: z.put("www", 5, name("a."), name("b."))),
    "two SOA RRs": ("rrset-multiple", "@", lambda z: z.put("@", 6, naive.soa(1), naive.soa(2), ttl=3600)),
    "SOA below the apex": ("dnskey-not-apex", "mail", lambda z: z.put("mail", 6, naive.soa(1))),
    "SOA missing": ("apex-missing", "@", lambda z: z.content.pop((b"", 6))),
    "apex NS missing": ("apex-missing", "@", lambda z: z.content.pop((b"", 2))),
    "SOA cut short": ("soa-malformed", "@", lambda z: z.put("@", 6, naive.soa(1)[:-1], ttl=3600)),
    "set out of order": ("rrset-order", "mail", lambda z: z.content.update({(key("mail"), 1): RRset(
        key("mail"), 1, 600, b"\0\4\xc0\0\2\3\0\4\xc0\0\2\2")})),
    "set whose signed form is too large": ("rrset-too-large", "mail", lambda z: z.put(
        "mail", 16, *(b"\xfa" + bytes([n]) * 250 for n in range(240)))),
    "address of five octets": ("rdata-malformed", "mail", lambda z: z.put("mail", 1, bytes(5))),
    "glue address of five octets": (
        "rdata-malformed", "ns.secure", lambda z: z.put("ns.secure", 1, bytes(5), signed=False)),
    "delegation to a name cut short": (
        "rdata-malformed", "secure", lambda z: z.put("secure", 2, b"\7exam", signed=False)),
    "set with lengths that lie": ("rdata-malformed", "mail", lambda z: z.content.update({
        (key("mail"), 1): RRset(key("mail"), 1, 600, b"\0\5\xc0\0\2\3")})),
    "SOA minimum changed, denial not": ("denial-ttl", "mail", lambda z: z.put("@", 6, naive.soa(1, 300), ttl=3600)),
    "ZONEMD of another serial": (
        "zonemd-serial", "@", lambda z: z.put("@", ZONEMD, struct.pack(">IBB", 9, 1, 1) + bytes(48))),
    "ZONEMD wrong": ("zonemd-mismatch", "@", lambda z: z.put("@", ZONEMD, struct.pack(">IBB", 1, 1, 1) + bytes(48))),
}  # fmt: skip

NSEC_ONLY: dict[str, tuple[str, str, Damage]] = {
    "NSEC dropped": ("nsec-missing", "mail", lambda z: z.drop_denial("mail")),
    "NSEC dropped and chain closed over it": ("nsec-missing", "mail", lambda z: z.drop_denial("mail", relink=True)),
    "NSEC of a delegation dropped": ("nsec-missing", "insecure", lambda z: z.drop_denial("insecure", relink=True)),
    "next is the name itself": ("nsec-next", "mail", lambda z: z.edit_denial(
        key("mail"), lambda r: name("mail.example.") + r[r.index(b"\0") + 1 :])),
    "last does not lead to the apex": ("nsec-next", "www", lambda z: z.edit_denial(
        key("www"), lambda r: name("mail.example.") + r[r.index(b"\0") + 1 :])),
    "type bit missing": ("bitmap-wrong", "mail", lambda z: z.edit_denial(
        key("mail"), lambda r: tail(r, naive.bitmap({46, 47})))),
    "type bit too much": ("bitmap-wrong", "mail", lambda z: z.edit_denial(
        key("mail"), lambda r: tail(r, naive.bitmap({1, 16, 46, 47})))),
    "NSEC bit missing": ("bitmap-wrong", "mail", lambda z: z.edit_denial(
        key("mail"), lambda r: tail(r, naive.bitmap({1, 46})))),
    "glue type in the bit maps of a delegation": ("bitmap-wrong", "secure", lambda z: z.edit_denial(
        key("secure"), lambda r: tail(r, naive.bitmap({1, 2, 43, 46, 47})))),
    "bit maps with a zero octet at the end": ("bitmap-wrong", "mail", lambda z: z.edit_denial(
        key("mail"), lambda r: tail(r, b"\0\7\x40\0\0\0\0\3\0"))),
    "bit maps of a wildcard wrong": ("bitmap-wrong", "*.wild", lambda z: z.edit_denial(
        key("*.wild"), lambda r: tail(r, naive.bitmap({1, 46, 47})))),
    "NSEC at an empty non-terminal": ("nsec-extra", "ent", lambda z: z.put(
        "ent", 47, name("a.b.ent.example.") + naive.bitmap({46, 47}), ttl=900)),
    "NSEC at glue": ("occluded-nsec", "ns.secure", lambda z: z.put(
        "ns.secure", 47, name("x.y.insent.example.") + naive.bitmap({1, 46, 47}), ttl=900)),
    "NSEC with another TTL": ("denial-ttl", "mail", lambda z: z.put(
        "mail", 47, *unpack(z.denial[key("mail")].rdata), ttl=3600)),
    "NSEC unsigned": ("rrset-unsigned", "mail", lambda z: z.rrsigs.pop((key("mail"), 47))),
    "two NSEC RRs": ("rrset-multiple", "mail", lambda z: z.put(
        "mail", 47, *unpack(z.denial[key("mail")].rdata), name("zz.example.") + naive.bitmap({1, 46, 47}), ttl=900)),
    "NSEC cut short": ("rdata-malformed", "mail", lambda z: z.edit_denial(key("mail"), lambda r: r[:4])),
    "NSEC3 beside NSEC": ("denial-mixed", "@", lambda z: z.put(
        naive.base32hex(bytes(20)), 50, b"\1\0\0\0\0\x14" + bytes(20) + BITMAP_A, ttl=900)),
    "NSEC3PARAM without chain": ("nsec3param-extra", "@", lambda z: z.put("@", 51, b"\1\0\0\0\0", ttl=0)),
}  # fmt: skip

NSEC3_ONLY: dict[str, tuple[str, str, Damage]] = {
    "NSEC3 dropped": ("nsec3-missing", "mail", lambda z: z.drop_denial("mail")),
    "NSEC3 dropped and chain closed over it": ("nsec3-missing", "mail", lambda z: z.drop_denial("mail", relink=True)),
    "NSEC3 of an empty non-terminal dropped": ("nsec3-missing", "b.ent", lambda z: z.drop_denial("b.ent", relink=True)),
    "NSEC3 of a secure delegation dropped": (
        "nsec3-missing", "secure", lambda z: z.drop_denial("secure", relink=True)),
    "next hash wrong": ("nsec3-next", "mail", lambda z: z.edit_denial(z.place("mail"), flip(25 + len(z.signer.salt)))),
    "type bit too much": ("bitmap-wrong", "mail", lambda z: z.edit_denial(
        z.place("mail"), lambda r: r[: 26 + len(z.signer.salt)] + naive.bitmap({1, 16, 46}))),
    "bits at an empty non-terminal": ("bitmap-wrong", "b.ent", lambda z: z.edit_denial(
        z.place("b.ent"), lambda r: r + naive.bitmap({46}))),
    "NSEC3 for no name": ("nsec3-extra", "@", lambda z: z.put(
        naive.base32hex(b"\7" * 20), 50, b"\1\0\0\0\0\x14" + bytes(20) + BITMAP_A, ttl=900)),
    "iterations wrong in one": ("nsec3-parameters", "mail", lambda z: z.edit_denial(z.place("mail"), flip(3))),
    "hash algorithm wrong in one": ("nsec3-parameters", "mail", lambda z: z.edit_denial(z.place("mail"), flip(0))),
    "unknown flag": ("nsec3-flags", "mail", lambda z: z.edit_denial(
        z.place("mail"), lambda r: r[:1] + bytes((r[1] | 2,)) + r[2:])),
    "opt-out flag not as planned": ("nsec3-flags", "mail", lambda z: z.edit_denial(z.place("mail"), flip(1))),
    "NSEC3PARAM missing": ("nsec3param-missing", "@", lambda z: z.content.pop((b"", 51))),
    "NSEC3PARAM of another chain": ("nsec3param-missing", "@", lambda z: z.put("@", 51, b"\1\0\0\7\0", ttl=0)),
    "NSEC3PARAM with a flag": ("nsec3param-ignored", "@", lambda z: z.put("@", 51, b"\1\1\0\0\0", ttl=0)),
    "NSEC beside NSEC3": ("denial-mixed", "mail", lambda z: z.put(
        "mail", 47, name("www.example.") + naive.bitmap({1, 46, 47}), ttl=900)),
    "NSEC3 owner is no hash": ("nsec3-owner", "@", lambda z: z.put(
        "nohash", 50, b"\1\0\0\0\0\x14" + bytes(20) + BITMAP_A, ttl=900)),
    "NSEC3 cut short": ("rdata-malformed", "mail", lambda z: z.edit_denial(z.place("mail"), lambda r: r[:12])),
    "NSEC3 unsigned": ("rrset-unsigned", "mail", lambda z: z.rrsigs.pop((z.place("mail"), 50))),
    "NSEC3 with another TTL": ("denial-ttl", "mail", lambda z: z.put(
        z.place("mail"), 50, *unpack(z.denial[z.place("mail")].rdata), ttl=3600)),
}  # fmt: skip

NSEC3_EVERY_NAME: dict[str, tuple[str, str, Damage]] = {
    "insecure delegation left out without opt-out": (
        "nsec3-missing", "insecure", lambda z: z.drop_denial("insecure", relink=True)),
    "empty non-terminal of a delegation left out without opt-out": (
        "nsec3-missing", "y.insent", lambda z: z.drop_denial("y.insent", relink=True)),
}  # fmt: skip

SIGNERS = {
    "nsec": Naive(),
    "nsec3": Naive(nsec3=True),
    "nsec3-salt": Naive(nsec3=True, salt=b"\xab\1", iterations=1),
    "opt-out": Naive(nsec3=True, opt_out=True),
}


def planned(signer: Naive) -> Expectation:
    """What a version of the signer is judged by."""
    denial = DenialExpectation("nsec")
    if signer.nsec3:
        denial = DenialExpectation("nsec3", signer.iterations, signer.salt, signer.opt_out)
    return Expectation(ORIGIN, NOW, denial=denial, previous_serial=0)


def damages() -> list[object]:
    """Every damage in every kind of zone it applies to."""
    out = []
    for kind in SIGNERS:
        applicable = ANY | (NSEC_ONLY if kind == "nsec" else NSEC3_ONLY)
        if kind.startswith("nsec3"):
            applicable = applicable | NSEC3_EVERY_NAME
        out += [pytest.param(kind, *applicable[what], id=f"{kind}: {what}") for what in applicable]
    return out


def fresh(kind: str) -> Zone:
    """A good zone to damage."""
    return Zone.of(SIGNERS[kind], good(kind))


@cache
def good(kind: str) -> MemoryZoneView:
    """The good zone itself; signed once."""
    return SIGNERS[kind].sign(naive.example_content())


@pytest.mark.parametrize("kind", SIGNERS)
def test_the_zone_is_good_before(kind: str) -> None:
    assert verify_zone(fresh(kind).view(), planned(SIGNERS[kind])) == []


@pytest.mark.parametrize(("kind", "code", "where", "damage"), damages())
def test_damage_is_named(kind: str, code: str, where: str, damage: Damage) -> None:
    zone = fresh(kind)
    damage(zone)
    found = verify_zone(zone.view(), planned(SIGNERS[kind]))
    owners = {violation.owner for violation in found if violation.code == code}
    places = {key_to_text(key(where), ORIGIN)}
    if SIGNERS[kind].nsec3:
        places.add(key_to_text(zone.place(where), ORIGIN))
    assert owners, found
    assert where == "@" or owners & places, found


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"previous_serial": 1}, "serial-not-forward"),
        ({"previous_serial": 2**31 + 5}, None),
        ({"previous_serial": 2**31 + 1}, "serial-not-forward"),
        ({"serial": 7}, "serial-unexpected"),
        ({"min_validity": 31 * 86400}, "rrsig-validity-short"),
        ({"max_ttl": 3599}, "ttl-too-large"),
        ({"dnskeys": pack([KSK.rdata])}, "dnskey-unexpected"),
        ({"dnskeys": pack([KSK.rdata, ZSK.rdata])}, None),
        ({"dnskeys": pack([KSK.rdata, ZSK.rdata]), "unpublished_keys": (SAME_TAG,)}, "key-tag-collision"),
        ({"unpublished_keys": (SAME_TAG,)}, None),
        ({"dnskeys": b""}, "unsigned-zone-signed"),
        ({"algorithms": frozenset({13, 15})}, "algorithm-missing"),
        ({"zonemd": True}, "zonemd-missing"),
        ({"ds": (b"\0\1\x0f\2" + bytes(32),)}, "ds-mismatch"),
        ({"denial": DenialExpectation("nsec3")}, "nsec3param-missing"),
        ({"now": NOW + 31 * 86400}, "rrsig-expired"),
        ({"now": NOW - 86400}, "rrsig-not-yet-valid"),
        ({"now": NOW + 2**32}, None),
    ],
)
def test_a_good_zone_that_is_not_what_was_asked(change: dict[str, object], code: str | None) -> None:
    expectation = replace(planned(SIGNERS["nsec"]), **change)  # type: ignore[arg-type]
    codes = {found.code for found in verify_zone(fresh("nsec").view(), expectation)}
    assert codes == set() if code is None else code in codes


def test_no_dnssec_is_what_an_unsigned_zone_has() -> None:
    zone = fresh("nsec")
    plain = MemoryZoneView(ORIGIN, [s for s in zone.content.values() if s.rtype != 48], [], [])
    assert verify_zone(plain, replace(planned(SIGNERS["nsec"]), dnskeys=b"")) == []
    assert {v.code for v in verify_zone(plain, planned(SIGNERS["nsec"]))} == {"dnskey-missing"}


def test_signatures_of_a_key_not_yet_published_are_checked() -> None:
    zone = fresh("nsec")
    zone.sign("mail", 1, ZSK, FOREIGN)
    expectation = replace(planned(SIGNERS["nsec"]), unpublished_keys=(FOREIGN.rdata,))
    assert verify_zone(zone.view(), expectation) == []
    zone.edit_sig("mail", 1, flip(-1))
    assert {found.code for found in verify_zone(zone.view(), expectation)} == {"rrsig-bad"}


def test_iterations_beyond_all_measure_are_not_computed() -> None:
    zone = fresh("nsec3")
    zone.put("@", 51, b"\1\0\xff\xff\0", ttl=0)
    assert {found.code for found in verify_zone(zone.view(), Expectation(ORIGIN, NOW))} == {
        "nsec3-parameters"
    }


def test_the_list_of_violations_is_bounded() -> None:
    zone = fresh("nsec")
    zone.rrsigs.clear()
    found = verify_zone(zone.view(), planned(SIGNERS["nsec"]), limit=5)
    assert len(found) == 6
    assert found[-1].code == "limit-reached"


def test_all_codes_are_documented_and_used_somewhere() -> None:
    named = {
        code for table in (ANY, NSEC_ONLY, NSEC3_ONLY, NSEC3_EVERY_NAME) for code, _, _ in table.values()
    }
    assert len(ANY) + len(NSEC_ONLY) + len(NSEC3_ONLY) + len(NSEC3_EVERY_NAME) >= 40
    assert named <= set(CODES)


octets = st.binary(max_size=80)
names_ = st.sampled_from(["@", "mail", "secure", "ns.secure", "new", "a.b.ent", "dn", "x.dn"])


@st.composite
def noise(draw: st.DrawFn) -> tuple[str, int, bytes, bool]:
    """A set of arbitrary RDATA, packed well or as it comes."""
    rtype = draw(
        st.sampled_from([1, 2, 5, 6, 15, 24, 30, 33, 35, 38, 39, 43, 46, 47, 48, 50, 51, 59, 60, 63, 999])
    )
    return draw(names_), rtype, draw(octets), draw(st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SIGNERS)), st.lists(noise(), min_size=1, max_size=4))
def test_arbitrary_rdata_is_a_violation_never_an_exception(
    kind: str, sets: list[tuple[str, int, bytes, bool]]
) -> None:
    zone = fresh(kind)
    for text, rtype, data, packed in sets:
        raw = pack([data]) if packed else data
        if rtype == RRSIG:
            covered = int.from_bytes(raw[2:4], "big")
            zone.rrsigs[key(text), covered] = Rrsigs(key(text), covered, 600, raw)
        elif rtype in (47, 50):
            zone.denial[key(text)] = RRset(key(text), rtype, 900, raw)
        else:
            zone.content[key(text), rtype] = RRset(key(text), rtype, 600, raw)
    places = [(key(text), rtype) for text, rtype, _, _ in sets]
    touched = [*places, *(place for place in zone.rrsigs if good(kind).rrsigs(*place) is None)]
    for expectation in (Expectation(ORIGIN, NOW), planned(SIGNERS[kind])):
        found = verify_zone(zone.view(), expectation)
        assert all(violation.code in CODES for violation in found)
        after_change = verify_change(good(kind), zone.view(), places, expectation, touched)
        assert bool(found) == bool(after_change)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SIGNERS)), st.integers(0), st.integers(0, 7))
def test_any_bit_flipped_in_any_derived_record_is_found(kind: str, which: int, bit: int) -> None:
    """Any bit of any RRSIG, NSEC or NSEC3 RDATA: every one is checked."""
    zone = fresh(kind)
    records: list[RRset | Rrsigs] = [*zone.denial.values(), *zone.rrsigs.values()]
    record = records[which % len(records)]
    at = 2 + (which // len(records)) % (len(record.rdata) - 2)
    rdata = bytearray(record.rdata)
    rdata[at] ^= 1 << bit
    if isinstance(record, Rrsigs):
        if bytes(rdata).lower() == record.rdata.lower() and at < 20 + len(ORIGIN):
            return  # the signer name in another case is the same name (RFC 4034 §6.2)
        zone.rrsigs[record[:2]] = record._replace(rdata=bytes(rdata))
    else:
        zone.denial[record.owner] = record._replace(rdata=bytes(rdata))
    assert verify_zone(zone.view(), planned(SIGNERS[kind]))
