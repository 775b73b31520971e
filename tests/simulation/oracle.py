"""All validators at once.  Imports nothing of the program: only wire-format octets of what servers serve.

A validator holds one copy of the DS set, one of the DNSKEY set with its signatures and one of each RRset with its
signatures, each fetched from any server at any time and kept for at most its TTL.  So every mix of contents
whose possible holding times overlap is held by somebody; every such mix has to validate, in every algorithm
(RFC 4035 section 2.2: as validators do that guard against algorithm downgrade).
"""

from dataclasses import dataclass, field

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype

DAY = 86_400
SEP = 0x0001
REVOKE = 0x0080


class Bogus(AssertionError):
    """Somebody's validation fails; the message says what he holds."""


@dataclass(frozen=True)
class Version:
    """A signed zone as a server serves it; keys are DNSKEY RDATA.  data: name -> (TTL, who signed it)."""

    dnskeys: frozenset[bytes]
    dnskey_signers: frozenset[bytes]
    dnskey_ttl: int
    negative_ttl: int
    data: tuple[tuple[str, int, frozenset[bytes]], ...]


@dataclass
class Holding:
    """One content of one RRset: who serves it now, with which TTL, and until when others may hold it."""

    serving: dict[str, int] = field(default_factory=dict)
    held_until: float = -1

    def held(self, now: float) -> bool:
        return bool(self.serving) or self.held_until >= now

    def stop(self, server: str, now: float) -> None:
        self.held_until = max(self.held_until, now + self.serving.pop(server))


Contents = dict[object, Holding]


class Validators:
    """The whole population.  Tell it who serves what from when on; it raises Bogus at the first bad mix."""

    def __init__(self, origin: str) -> None:
        self.origin = dns.name.from_text(origin)
        self.contents: dict[str, Contents] = {}
        self.now = 0.0
        self.mixes = 0
        self.foreign: set[bytes] = set()  # keys of other signers of the zone
        self._good: set[object] = set()
        self._ds_of: dict[bytes, frozenset[bytes]] = {}

    def serve(self, server: str, version: Version, now: float) -> None:
        """A server of the zone serves this version from now on."""
        keys = (version.dnskeys, version.dnskey_signers)
        ttl = version.dnskey_ttl if version.dnskeys else version.negative_ttl
        self._serve("dnskey", server, keys, ttl, now)
        for name, data_ttl, signers in version.data:
            self._serve(f"data {name}", server, signers, data_ttl, now)
        here = {f"data {name}" for name, _, _ in version.data}
        for name in self.contents.keys() - here:
            if name.startswith("data "):
                for holding in self.contents[name].values():
                    if server in holding.serving:
                        holding.stop(server, now)
        self._check()

    def leave(self, server: str, now: float) -> None:
        """A server is asked no more."""
        self.now = now
        for contents in self.contents.values():
            for holding in contents.values():
                if server in holding.serving:
                    holding.stop(server, now)

    def serve_ds(self, server: str, ds: frozenset[bytes], ttl: int, now: float) -> None:
        """A server of the parent serves this DS set from now on."""
        self._serve("ds", server, ds, ttl, now)
        self._check()

    def _serve(self, rrset: str, server: str, content: object, ttl: int, now: float) -> None:
        self.now = now
        contents = self.contents.setdefault(rrset, {})
        for other, holding in list(contents.items()):
            if server in holding.serving and (other != content or holding.serving[server] != ttl):
                holding.stop(server, now)
            if not holding.held(now) and other != content:
                del contents[other]
        contents.setdefault(content, Holding()).serving[server] = ttl

    def held(self, rrset: str) -> list[object]:
        """What somebody may hold of an RRset now."""
        return [
            content for content, holding in self.contents.get(rrset, {}).items() if holding.held(self.now)
        ]

    def _check(self) -> None:
        data = {
            (name, held) for name in self.contents if name.startswith("data ") for held in self.held(name)
        }
        for ds in self.held("ds"):
            for keys in self.held("dnskey"):
                for name, signers in data:
                    mix = (ds, keys, signers)
                    if mix not in self._good:
                        self._validate(ds, keys, signers, name)  # type: ignore[arg-type]
                        self._good.add(mix)
                        self.mixes += 1

    def _validate(
        self,
        ds_set: frozenset[bytes],
        keys: tuple[frozenset[bytes], frozenset[bytes]],
        signers: frozenset[bytes],
        name: str,
    ) -> None:
        if not ds_set:
            return  # insecure, which is not bogus
        dnskeys, dnskey_signers = keys
        usable = frozenset(key for key in dnskeys if not _flags(key) & REVOKE)
        for algorithm in {ds[2] for ds in ds_set}:
            anchored = [
                key for key in usable & dnskey_signers if self.ds_of(key) & ds_set and key[3] == algorithm
            ]
            if not anchored:
                self._fail(
                    f"no DS of algorithm {algorithm} leads to a key that signs the DNSKEY set", ds_set, keys
                )
        for algorithm in {key[3] for key in dnskeys}:
            if not any(key[3] == algorithm for key in usable & dnskey_signers):
                self._fail(f"DNSKEY set not signed in its algorithm {algorithm}", ds_set, keys)
            if not any(key[3] == algorithm for key in usable & signers):
                self._fail(
                    f"{name} not signed in algorithm {algorithm} by a key of the set", ds_set, keys, signers
                )

    def ds_of(self, key: bytes) -> frozenset[bytes]:
        """DS RDATA of a DNSKEY RDATA, made by dnspython."""
        if key not in self._ds_of:
            rdata = dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.DNSKEY, key, 0, len(key))
            made = (dns.dnssec.make_ds(self.origin, rdata, digest) for digest in ("SHA256", "SHA384"))
            self._ds_of[key] = frozenset(ds.to_wire() for ds in made)
        return self._ds_of[key]

    def _fail(self, why: str, ds_set: frozenset[bytes], keys: object, signers: object = frozenset()) -> None:
        dnskeys, dnskey_signers = keys  # type: ignore[misc]
        raise Bogus(
            f"at {self.now / DAY:.4f} d: {why}; DS {[int.from_bytes(ds[:2]) for ds in ds_set]}, "
            f"DNSKEY {_names(dnskeys)} signed by {_names(dnskey_signers)}, data signed by {_names(signers)}"
        )

    # Whether what the program believes is so

    def believe(self, dnskey: bytes, rec: str, state: str, now: float) -> None:
        """Compare a claim ("omnipresent": all hold it, "hidden": nobody does) with what is held."""
        if state not in ("omnipresent", "hidden"):
            return
        self.now = now
        wanted = state == "omnipresent"
        for name in self.contents:
            for content in self.held(name):
                if name != "ds" and self._made_elsewhere(name, content):
                    continue
                has = self._has(name, content, dnskey, rec)
                if has is not None and has is not wanted:
                    tag = _names([dnskey])
                    raise Bogus(
                        f"at {self.now / DAY:.4f} d: {rec} of {tag} is believed {state}, but {name} is {content!r:.300}"
                    )

    def _made_elsewhere(self, name: str, content: object) -> bool:
        """Whether another signer made it: the program's claims are about what it made itself."""
        signers = content[1] if name == "dnskey" else content  # type: ignore[index]
        return bool(self.foreign & signers)

    def _has(self, name: str, content: object, dnskey: bytes, rec: str) -> bool | None:
        if rec == "ds":
            return bool(self.ds_of(dnskey) & content) if name == "ds" else None  # type: ignore[operator]
        if rec == "zrrsig":
            return dnskey in content if name.startswith("data ") and name != "data cds" else None  # type: ignore[operator]
        if name != "dnskey":
            return None
        keys, signers = content  # type: ignore[misc]
        return dnskey in (keys if rec == "dnskey" else signers)


def _flags(key: bytes) -> int:
    return int.from_bytes(key[:2])


def _names(keys: object) -> list[str]:
    return sorted(f"{key[3]}/{_flags(key)}/{key[4:7].hex()}" for key in keys)  # type: ignore[attr-defined]


class AnchorKeeper:
    """A validator with trust anchors of its own that follows RFC 5011 (section 4's automaton, simplified)."""

    def __init__(self, name: str, anchors: frozenset[bytes]) -> None:
        self.name = name
        self.valid = set(anchors)
        self.pending: dict[bytes, float] = {}
        self.revoked: set[bytes] = set()

    def poll(self, version: Version, now: float) -> float:
        """Look at the DNSKEY set, which a trusted key has to sign; gives the time of the next look."""
        dnskeys, signers = version.dnskeys, version.dnskey_signers
        for key in dnskeys & signers:
            plain = (_flags(key) & ~REVOKE).to_bytes(2) + key[2:]
            if _flags(key) & REVOKE and plain in self.valid:
                self.valid.discard(plain)
                self.revoked.add(plain)
        if not self.valid & dnskeys & signers:
            raise Bogus(
                f"at {now / DAY:.4f} d: {self.name} (RFC 5011) trusts no key that signs the DNSKEY set"
            )
        new = (
            {key for key in dnskeys if _flags(key) & SEP and not _flags(key) & REVOKE}
            - self.valid
            - self.revoked
        )
        self.pending = {key: self.pending.get(key, now) for key in new}
        for key, since in list(self.pending.items()):
            if now >= since + max(30 * DAY, version.dnskey_ttl):
                self.valid.add(key)
                del self.pending[key]
        return now + max(3_600.0, min(15 * DAY, version.dnskey_ttl / 2))
