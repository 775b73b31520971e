"""A chain of trust on loopback in which roll-overs take seconds: parent, daemon, secondaries, and a validator.

The parent is a signed zone on BIND whose DS RRset the test changes by dynamic update, when it likes; Unbound trusts
the parent's key alone, keeps what it gets for its TTL, and is asked ten times a second.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.rdatatype

from tests.peers.dnssecd import DaemonPorts, Dnssecd, daemon_config, secondaries_of
from tests.peers.knotd import Knotd
from tests.peers.named import Named
from tests.peers.nameserver import Nameserver, PrimaryZone, Zone, ask
from tests.peers.nsd import Nsd
from tests.peers.process import LOOPBACK, PeerError, Servers, wait_until
from tests.peers.tools import dig, nsupdate
from tests.peers.tsig import TsigKey
from tests.peers.unbound import Unbound

PARENT = "test."
CHILD = "roll.test."
ASK_EVERY_S = 0.1
STEP_S = 60.0
DS_TTL_S = 8  # longer than the policy says: what is observed has to count
ALGORITHMS = {"ecdsap256sha256": 13, "ed25519": 15, "rsasha256": 8}

CHILD_ZONE = f"""$ORIGIN {CHILD}
$TTL 2
@ SOA ns1 hostmaster 1 3600 600 604800 2
@ NS ns1
ns1 A {LOOPBACK}
www 6 A 192.0.2.1
*.wild 6 TXT "w"
a.b.c AAAA 2001:db8::1
"""

#: Everything as short as it can be; the daemon's own margin for clocks that are off too.
FAST: dict[str, Any] = {
    "dnskey_ttl": "4s",
    "signature_validity": "16s",
    "signature_refresh": "8s",
    "signature_jitter": "2s",
    "signature_inception": "-1h",
    "propagation_delay": "1s",
    "parent_propagation_delay": "1s",
    "parent_ds_ttl": "2s",
    "zsk": {"algorithm": "ecdsap256sha256", "lifetime": "unlimited"},
}


class SignedParent(Named):
    """BIND with the parent zone, which it signs itself; DS come and go by dynamic update."""

    name = "parent"

    def configuration(self) -> str:
        policy = """dnssec-policy "short" {
    keys { csk lifetime unlimited algorithm ecdsap256sha256; };
    dnskey-ttl 2; max-zone-ttl 1h; parent-ds-ttl 2; zone-propagation-delay 1; publish-safety 1;
};
"""
        return policy + super().configuration()

    def _zone(self, zone: Zone) -> str:
        return (
            super()
            ._zone(zone)
            .replace(
                "notify-delay 0;", f'notify-delay 0; dnssec-policy "short"; key-directory "{self.directory}";'
            )
        )


class Cache(Unbound):
    """Keeps answers for their TTL and validates nothing; finds zones at given ports."""

    name = "cache"

    def __init__(self, directory: Path, stubs: Mapping[str, Iterable[int]]) -> None:
        super().__init__(directory, CHILD, 0, [])
        self.stubs = stubs

    def configuration(self) -> str:
        text = super().configuration()
        head = text[: text.index("stub-zone:")]
        head = head.replace("    cache-max-ttl: 0\n", "").replace("    cache-max-negative-ttl: 0\n", "")
        head = head.replace('"validator iterator"', '"iterator"')
        stubs = ""
        for zone, ports in self.stubs.items():
            stubs += f'stub-zone:\n    name: "{zone}"\n'
            stubs += "".join(f"    stub-addr: {LOOPBACK}@{port}\n" for port in ports)
        return head + stubs + "remote-control:\n    control-enable: no\n"


class Validator(Unbound):
    """Keeps nothing, and believes what a cache gives it only if it leads to the anchors.

    So whatever mix of DS, DNSKEY and data is held somewhere within its TTL is judged. Unbound by default asks past
    a cache where validation fails, which hides what others would not get over: not here.
    """

    def __init__(self, directory: Path, cache: int, anchors: list[str]) -> None:
        super().__init__(directory, CHILD, cache, anchors)

    def configuration(self) -> str:
        text = super().configuration()
        head = text[: text.index("stub-zone:")].replace(
            "    val-log-level: 2\n", "    val-log-level: 2\n    val-max-restart: 0\n    key-cache-size: 0\n"
        )
        forward = f'forward-zone:\n    name: "."\n    forward-addr: {LOOPBACK}@{self.authority}\n'
        return head + forward + "remote-control:\n    control-enable: no\n"


class Follower(Validator):
    """Trusts what a file says, and follows its KSKs from one to the next (RFC 5011), all in seconds."""

    HOLD_DOWN_S = 5

    def __init__(self, directory: Path, cache: int, anchors: list[str]) -> None:
        super().__init__(directory, cache, [])
        self.state = directory / "anchors"
        self.state.write_text("\n".join(anchors) + "\n")

    def configuration(self) -> str:
        return (
            super()
            .configuration()
            .replace(
                "server:\n",
                f"""server:
    auto-trust-anchor-file: "{self.state}"
    permit-small-holddown: yes
    add-holddown: {self.HOLD_DOWN_S}
    del-holddown: {self.HOLD_DOWN_S}
""",
                1,
            )
        )


class Hasty(Dnssecd):
    """The daemon with the hold-down times of RFC 5011 in seconds; they cannot be configured."""

    def command(self) -> list[str]:
        hasty = "import dnssecd.core.keys.timing as t; t.ADD_HOLD_DOWN_S = t.REMOVE_HOLD_DOWN_S = 15; t.HOUR_S = 4"
        run = "import runpy; runpy.run_module('dnssecd', run_name='__main__', alter_sys=True)"
        return [sys.executable, "-c", f"{hasty}; {run}", "run", "--config", str(self.config_path)]


@dataclass
class Witness:
    """Asks the validator all the time and keeps count of what it says."""

    resolver: Unbound
    opt_out: bool = False
    insecure: bool = False  # answers need not be authenticated
    verdicts: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    questions: tuple[tuple[str, str], ...] = (
        (f"www.{CHILD}", "A"),
        (f"nothing.{CHILD}", "A"),
        (CHILD, "DNSKEY"),
        (f"x.wild.{CHILD}", "TXT"),
        (CHILD, "SOA"),
        (CHILD, "DS"),
    )

    def start(self) -> Witness:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        number = 0
        while not self._stop.wait(ASK_EVERY_S):
            name, rrtype = self.questions[number % len(self.questions)]
            number += 1
            rcode, authentic = self.resolver.verdict(name, rrtype)
            self.verdicts[rrtype, rcode, authentic] += 1
            if self.opt_out and (rcode == "NXDOMAIN" or ".wild." in name):
                authentic = True  # proofs that rest on an opt-out span prove nothing (RFC 5155 section 9.2)
            if rcode not in ("NOERROR", "NXDOMAIN") or not (authentic or self.insecure):
                self.bad.append(f"{time.strftime('%H:%M:%S')} {name} {rrtype}: {rcode}, AD {authentic}")

    def stop(self) -> None:
        """Stop asking; AssertionError when anything but an authenticated answer was ever given."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join(30)
        assert sum(self.verdicts.values()) > 20, self.verdicts
        assert not self.bad, f"{len(self.bad)} of {sum(self.verdicts.values())}: {self.bad[:10]}"


def is_moving(states: str) -> bool:
    """Whether some record of some key in what `states` gave is being introduced or withdrawn."""
    return "rumoured" in states or "unretentive" in states


@dataclass
class RolloverWorld:
    """The servers; `key` is for transfers and for updates of the parent; `first`: the tags of the first keys."""

    home: Path
    key: TsigKey
    parent: Named
    secondaries: Mapping[str, Nameserver]
    daemon: Dnssecd
    servers: Servers
    first: frozenset[int] = field(default=frozenset(), init=False)
    ttl_ds: int = field(default=DS_TTL_S, kw_only=True)

    def key_list(self) -> list[dict[str, Any]]:
        """The zone's keys as `key list` has them."""
        found = self.daemon.cli_json("key", "list", CHILD)["keys"]
        assert isinstance(found, list)
        return found

    def present(self) -> list[dict[str, Any]]:
        """The keys some record of which may be held."""
        records = ("dnskey", "zrrsig", "krrsig", "ds")
        return [key for key in self.key_list() if {key[rec] for rec in records} - {"hidden", None}]

    def states(self) -> str:
        """All states in one line, to see changes by."""
        words = ("role", "tag", "goal", "dnskey", "zrrsig", "krrsig", "ds")
        return "; ".join(" ".join(str(key[word]) for word in words) for key in self.key_list())

    def in_use(self, role: str) -> dict[str, Any]:
        """The key of a role that is to stay."""
        return next(key for key in self.key_list() if key["role"] == role and key["goal"] == "present")

    def wait(self, probe: Callable[[], Any], what: str, timeout: float = STEP_S) -> Any:
        """wait_until, with what the daemon says of the zone when it does not happen."""
        try:
            return wait_until(probe, what, timeout, every=0.25)
        except PeerError as error:
            text = (
                self.daemon.cli("explain", CHILD, "--rules").text
                + self.daemon.cli("zone", "history", CHILD).text
            )
            raise PeerError(f"{error}\n{text}\n{self.daemon.log_tail()}") from None

    def cds(self) -> list[str]:
        """The CDS RRset at the first secondary, in presentation form."""
        answer = ask(next(iter(self.secondaries.values())).port, CHILD, "CDS")
        if answer is None or not answer.answer or answer.answer[0].rdtype != dns.rdatatype.CDS:
            return []
        return sorted(record.to_text() for record in answer.answer[0])

    def dnskey_flags(self) -> list[int]:
        """The flags of the DNSKEY RRset at the first secondary, sorted."""
        answer = ask(next(iter(self.secondaries.values())).port, CHILD, "DNSKEY")
        return (
            sorted(record.flags for record in answer.answer[0])
            if answer is not None and answer.answer
            else []
        )

    def asked_of_parent(self) -> list[str] | None:
        """The DS RRset that the CDS at the first secondary ask for; None when there are none."""
        cds = self.cds()
        if not cds:
            return None
        return [] if cds == ["0 0 0 00"] else cds  # RFC 8078 section 4

    def handed_over(self) -> list[str] | None:
        """The DS RRset that `ds show` asks for, as an operator types it in; None when nothing is asked."""
        handover = self.daemon.cli_json("ds", "show", CHILD)["handover"]
        if handover["task"] == "nothing":
            return None
        fields = ("key_tag", "algorithm", "digest_type", "digest")
        return sorted(" ".join(str(ds[name]).lower() for name in fields) for ds in handover["ds"])

    def ds(self) -> list[str]:
        """The DS RRset at the parent, in presentation form."""
        answer = ask(self.parent.port, CHILD, "DS")
        if answer is None or not answer.answer:
            return []
        return sorted(record.to_text() for record in answer.answer[0])

    def set_ds(self, records: Iterable[str]) -> None:
        """Have the parent publish just these DS."""
        lines = [
            f"update delete {CHILD} DS",
            *(f"update add {CHILD} {self.ttl_ds} DS {record}" for record in records),
        ]
        done = nsupdate(self.parent.port, "\n".join(lines), self.key, self.home)
        assert done.ok, done

    def wait_cds_new(self) -> list[str]:
        """Wait until the secondaries have CDS that differ from the DS at the parent; return them."""
        found = self.wait(lambda: (cds := self.cds()) and cds != self.ds() and cds, "CDS asks for other DS")
        assert isinstance(found, list)
        return found

    def is_settled(self) -> bool:
        """Whether no record of any key is under way and nothing is awaited."""
        return not is_moving(self.states()) and not self.daemon.zone_status(CHILD)["blockers"]

    def wait_settled(self, timeout: float = STEP_S) -> None:
        """Wait until it is settled."""
        self.wait(self.is_settled, "the zone's keys settled", timeout)

    def secure(self) -> None:
        """Have the parent take the first DS, and wait until the zone is secure and all is settled."""
        self.first = frozenset(key["tag"] for key in self.key_list())

        def followed() -> bool:
            cds = self.cds()
            if cds and cds != self.ds():
                self.set_ds(cds)
            return bool(cds) and self.is_settled()

        self.wait(followed, "the zone is secure")

    def witness(self) -> Witness:
        """A validator that trusts the parent's key alone, asked from now on."""
        answer = ask(self.parent.port, PARENT, "DNSKEY")
        assert answer is not None
        anchors = [f"{PARENT} DNSKEY {record.to_text()}" for record in answer.answer[0]]
        stubs = {PARENT: [self.parent.port], CHILD: [each.port for each in self.secondaries.values()]}
        cache = self.servers.start(Cache(self.home / "cache", stubs))
        resolver = self.servers.start(Validator(self.home / "validator", cache.port, anchors))
        wait_until(lambda: resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", True), "the chain of trust")
        return Witness(resolver).start()

    def follower(self) -> Witness:
        """A validator that trusts the zone's KSK of now, and follows it by RFC 5011, asked from now on."""
        answer = ask(next(iter(self.secondaries.values())).port, CHILD, "DNSKEY")
        assert answer is not None
        anchors = [f"{CHILD} DNSKEY {key.to_text()}" for key in answer.answer[0] if key.flags == 257]
        stubs = {PARENT: [self.parent.port], CHILD: [each.port for each in self.secondaries.values()]}
        cache = self.servers.start(Cache(self.home / "cache", stubs))
        resolver = self.servers.start(Follower(self.home / "follower", cache.port, anchors))
        wait_until(lambda: resolver.verdict(f"www.{CHILD}", "A") == ("NOERROR", True), "the chain of trust")
        no_ds = tuple(question for question in Witness.questions if question[1] != "DS")
        return Witness(resolver, questions=no_ds).start()

    def configure(self, **policy: Any) -> None:
        """Change the policy in the configuration file; None takes a setting out."""
        settings = self.daemon.config["policy"]["default"]
        settings.update(policy)
        for name in [name for name, value in policy.items() if value is None]:
            del settings[name]
        self.daemon.write_config()

    def reload(self) -> None:
        """Have the daemon take the configuration up."""
        done = self.daemon.cli("config", "reload")
        assert done.ok, done


def start_rollover_world(
    servers: Servers,
    home: Path,
    key: TsigKey,
    *,
    kinds: tuple[type[Nameserver], ...] = (Knotd, Nsd),
    zone: str = CHILD_ZONE,
    island: bool = False,
    keystores: Mapping[str, Any] | None = None,
    begin: Callable[[Dnssecd], object] = lambda daemon: None,
    **policy: Any,
) -> RolloverWorld:
    """Start everything; returns when the zone is published and the parent has no DS yet.

    island: it will never have one, and validators follow the KSK by RFC 5011. keystores: more key stores.
    begin: what the daemon needs before it publishes the zone.
    """
    parent_file = home / "parent.zone"
    parent_file.write_text(
        f"$ORIGIN {PARENT}\n$TTL 2\n@ SOA ns me 1 3600 600 604800 2\n@ NS ns\nns A {LOOPBACK}\n"
        f"roll NS ns1.roll\nns1.roll A {LOOPBACK}\n"
    )
    parent = servers.start(
        SignedParent(home / "parent", [PrimaryZone(PARENT, parent_file, key, updates=True)])
    )
    wait_until(lambda: "RRSIG" in dig(parent.port, PARENT, "SOA", "+dnssec").out, "the parent is signed")
    ports = DaemonPorts.free()
    (home / "input.zone").write_text(zone)
    secondaries = secondaries_of(home, [CHILD], ports.dns, key, kinds)
    for second in secondaries.values():
        servers.start(second)
    addresses = {name: second.port for name, second in secondaries.items()}
    settings = {name: value for name, value in {**FAST, **policy}.items() if value is not None}
    config = daemon_config(home, ports, key, {CHILD: home / "input.zone"}, addresses, settings)
    config["keystore"]["other"] = {"type": "software", "directory": home / "other-keys"}
    config["keystore"] |= keystores or {}
    config["server"]["clock_tolerance"] = "1s"
    if not island:
        config["zone"][CHILD]["parent"] = {"servers": [parent.address]}
    daemon = servers.start((Hasty if island else Dnssecd)(home / "dnssecd", config, key))
    begin(daemon)
    daemon.wait_serial_other_than(CHILD, None)
    return RolloverWorld(home, key, parent, secondaries, daemon, servers)
