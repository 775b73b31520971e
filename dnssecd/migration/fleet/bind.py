"""BIND 9: ``named.conf`` with zones that ``dnssec-policy`` signs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dnssecd.migration.fleet.bind_text import Statement, read_statements
from dnssecd.migration.fleet.model import (
    BadConfig,
    Fleet,
    Key,
    Read,
    Rules,
    Server,
    Zone,
    address,
    label,
    network,
    zone_name,
)
from dnssecd.migration.fleet.times import duration

_ALGORITHMS = {
    "ecdsa256": "ecdsap256sha256",
    "ecdsap256sha256": "ecdsap256sha256",
    "13": "ecdsap256sha256",
    "ecdsa384": "ecdsap384sha384",
    "ecdsap384sha384": "ecdsap384sha384",
    "14": "ecdsap384sha384",
    "ed25519": "ed25519",
    "15": "ed25519",
    "ed448": "ed448",
    "16": "ed448",
    "rsasha256": "rsasha256",
    "8": "rsasha256",
    "rsasha512": "rsasha512",
    "10": "rsasha512",
}
#: BIND's name of a time in dnssec-policy → ours.
_TIMES = {
    "dnskey-ttl": "dnskey_ttl",
    "signatures-validity": "signature_validity",
    "signatures-refresh": "signature_refresh",
    "signatures-jitter": "signature_jitter",
    "zone-propagation-delay": "propagation_delay",
    "parent-propagation-delay": "parent_propagation_delay",
    "parent-ds-ttl": "parent_ds_ttl",
}
_IGNORED = frozenset(
    [
        "keys",
        "nsec3param",
        "publish-safety",
        "retire-safety",
        "purge-keys",
        "max-zone-ttl",
        "signatures-validity-dnskey",
        "inline-signing",
        "offline-ksk",
        "cdnskey",
        "cds-digest-types",
    ]
)
_ANY = ["0.0.0.0/0", "::/0"]
_ZONE_KNOWN = frozenset(
    [
        "type",
        "file",
        "dnssec-policy",
        "inline-signing",
        "key-directory",
        "allow-transfer",
        "also-notify",
        "notify",
        "allow-update",
        "update-policy",
        "masters",
        "primaries",
        "ixfr-from-differences",
        "masterfile-format",
        "serial-update-method",
        "zone-statistics",
        "allow-query",
        "notify-delay",
        "journal",
        "parental-agents",
        "checkds",
    ]
)


class _Bind:
    """Reads the statements of one configuration into a fleet."""

    def __init__(self, statements: Sequence[Statement], base: Path) -> None:
        self.fleet = Fleet(keystores={"local": {"type": "software"}})
        self.all = statements
        self.options = next((one for one in statements if one.name == "options"), Statement("", ()))
        self.directory = base / self.options.value("directory", ".")
        self.acls = {one.words[1]: one for one in statements if one.name == "acl" and len(one.words) > 1}
        self.lists = {
            one.words[1]: one
            for one in statements
            if one.name in ("primaries", "masters", "parental-agents", "remote-servers")
            and len(one.words) > 1
        }

    def run(self) -> Fleet:
        for one in self.all:
            if one.name == "key":
                self._key(one)
            elif one.name == "dnssec-policy":
                self.fleet.policies[label(one.words[1])] = self._policy(one)
            elif one.name == "view":
                self.fleet.note(
                    one.where,
                    f"view {' '.join(one.words[1:2])}: its zones are left out: dnssecd has no views",
                )
        for one in self.all:
            if one.name == "zone":
                self._zone(one)
        return self.fleet

    def _key(self, one: Statement) -> None:
        if len(one.words) < 2:
            raise BadConfig(f"{one.where}: a key without a name")
        algorithm = one.value("algorithm", "hmac-sha256").lower().removesuffix(".")
        self.fleet.keys[zone_name(one.words[1], one.where)] = Key(algorithm, one.value("secret"))

    def _policy(self, one: Statement) -> Rules:
        rules = Rules()
        for key in next(one.inner("keys"), Statement(one.where, (), ())).block or ():
            self._role(rules, key)
        if not rules.roles:
            rules.roles["csk"] = {"algorithm": "ecdsap256sha256", "lifetime": "unlimited"}
        for bind, ours in _TIMES.items():
            if value := one.value(bind):
                rules.settings[ours] = duration(value, one.where)
        param = next(one.inner("nsec3param"), None)
        rules.settings["denial"] = "nsec" if param is None else "nsec3"
        if param is not None:
            self._nsec3(rules, param)
        for other in one.block or ():
            if other.name not in _IGNORED and other.name not in _TIMES:
                self.fleet.note(
                    other.where, f"dnssec-policy: {' '.join(other.words)[:60]} has no counterpart"
                )
        return rules

    def _role(self, rules: Rules, key: Statement) -> None:
        words = [word.lower() for word in key.words]
        if words[0] not in ("ksk", "zsk", "csk") or "algorithm" not in words:
            raise BadConfig(f"{key.where}: not a key of a policy: {' '.join(key.words)[:60]!r}")
        name = words[words.index("algorithm") + 1] if words[-1] != "algorithm" else ""
        if name not in _ALGORITHMS:
            raise BadConfig(
                f"{key.where}: algorithm {name[:40]!r} cannot be used: roll to another one at BIND first"
            )
        table: dict[str, object] = {"algorithm": _ALGORITHMS[name], "lifetime": "unlimited"}
        if "lifetime" in words[:-1]:
            lifetime = key.words[words.index("lifetime") + 1]
            if lifetime.lower() != "unlimited":
                table["lifetime"] = duration(lifetime, key.where)
        if words[-1].isdigit() and words[-2] != "algorithm" and _ALGORITHMS[name].startswith("rsa"):
            table["bits"] = int(words[-1])
        if words[0] in rules.roles:
            self.fleet.note(key.where, f"a second {words[0]} in the policy is left out")
        else:
            rules.roles[words[0]] = table

    def _nsec3(self, rules: Rules, param: Statement) -> None:
        words = [word.lower() for word in param.words]
        values = dict(zip(words[1::2], words[2::2], strict=False))
        if values.get("optout") in ("yes", "true", "1"):
            rules.settings["nsec3_opt_out"] = True
        if values.get("iterations", "0") != "0" or values.get("salt-length", "0") != "0":
            self.fleet.note(
                param.where, "NSEC3 has iterations or a salt: set both to 0 at BIND before the migration"
            )

    def _zone(self, one: Statement) -> None:
        name = one.words[1] if len(one.words) > 1 else ""
        kind = one.value("type").lower()
        policy = one.value("dnssec-policy") or self.options.value("dnssec-policy")
        if policy in ("", "none", "insecure") or kind not in ("primary", "master", "secondary", "slave"):
            self.fleet.note(
                one.where, f"{name} ({kind or 'no type'}) is not signed by a dnssec-policy; it is left out"
            )
            return
        zone = Zone(self._policy_name(policy, one.where))
        zone.file = str(self.directory / one.value("file")) if one.value("file") else ""
        self._access(zone, one, name)
        if kind in ("secondary", "slave"):
            for word in ("primaries", "masters"):
                for found in one.inner(word):
                    zone.primaries += self._servers(found, self.fleet.primaries)
        for other in one.block or ():
            if other.name not in _ZONE_KNOWN:
                self.fleet.note(other.where, f"zone {name}: {' '.join(other.words)[:60]} has no counterpart")
        self.fleet.add_zone(name, zone, one.where)

    def _policy_name(self, name: str, where: str) -> str:
        wanted = label(name)
        if wanted not in self.fleet.policies:
            if name not in ("default",):
                raise BadConfig(f"{where}: there is no dnssec-policy {name!r}")
            csk: dict[str, object] = {"algorithm": "ecdsap256sha256", "lifetime": "unlimited"}
            self.fleet.policies[wanted] = Rules({"csk": csk}, {"denial": "nsec", "dnskey_ttl": "1h"})
        return wanted

    def _access(self, zone: Zone, one: Statement, name: str) -> None:
        for place in (one, self.options):
            if found := next(place.inner("allow-transfer"), None):
                zone.clients = list(dict.fromkeys(self._clients(found, 0)))
                break
        for place in (one, self.options):
            if found := next(place.inner("also-notify"), None):
                zone.secondaries = self._servers(found, self.fleet.secondaries)
                break
        if (one.value("notify") or self.options.value("notify", "yes")) == "yes":
            self.fleet.note(
                one.where, f"{name}: BIND notifies the servers in its NS RRset: add them as [secondary.*]"
            )
        for found in one.inner("allow-update"):
            zone.updaters += [who for who in self._clients(found, 0) if who in self.fleet.keys]
        for found in one.inner("update-policy"):
            self.fleet.note(found.where, f"{name}: update-policy: write its rules as allow_update")
            zone.file = "" if zone.updaters else zone.file

    def _clients(self, one: Statement, depth: int) -> Iterator[str]:
        """Yield TSIG names and networks of an address match list."""
        if depth > 10:
            raise BadConfig(f"{one.where}: access lists refer to one another")
        for entry in one.block or ():
            words = entry.words
            if not words:
                yield from self._clients(entry, depth + 1)
            elif words[0].startswith("!"):
                self.fleet.note(entry.where, f"{' '.join(words)}: dnssecd has no denying rules")
            elif words[0] == "key" and len(words) > 1:
                yield self._key_name(words[1], entry.where)
            elif words[0] in self.acls:
                yield from self._clients(self.acls[words[0]], depth + 1)
            elif words[0] == "any":
                yield from _ANY
            elif words[0] in ("localhost", "localnets"):
                yield from ("127.0.0.0/8", "::1/128")
            elif words[0] != "none":
                yield network(words[0], entry.where)

    def _key_name(self, text: str, where: str) -> str:
        name = zone_name(text, where)
        if name not in self.fleet.keys:
            raise BadConfig(f"{where}: there is no key {name}")
        return name

    def _servers(self, one: Statement, known: dict[str, Server]) -> list[str]:
        port = one.words[one.words.index("port") + 1] if "port" in one.words[:-1] else "53"
        found = []
        for entry in one.block or ():
            words = entry.words
            if words[0] in self.lists:
                found += self._servers(self.lists[words[0]], known)
                continue
            own = words[words.index("port") + 1] if "port" in words[:-1] else port
            tsig = self._key_name(words[words.index("key") + 1], entry.where) if "key" in words[:-1] else ""
            found.append(
                self.fleet.server_name(known, words[0], Server(address(words[0], own, entry.where), tsig))
            )
        return found


def read_config(path: Path, read: Read) -> Fleet:
    """Return the fleet of a configuration. Raise BadConfig."""
    return _Bind(read_statements(path, read), path.parent).run()
