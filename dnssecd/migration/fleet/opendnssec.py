"""OpenDNSSEC 2: ``conf.xml`` with ``kasp.xml``, ``zonelist.xml`` and the ``addns.xml`` of zones with DNS adapters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
from dnssecd.migration.fleet.xml import Element, parse

_ALGORITHMS = {"8": "rsasha256", "10": "rsasha512", "13": "ecdsap256sha256", "14": "ecdsap384sha384"} | {
    "15": "ed25519",
    "16": "ed448",
}
_SERIALS = {"counter": "increment", "unixtime": "unixtime", "datecounter": "date"}
_TIMES = {
    "Keys/TTL": "dnskey_ttl",
    "Signatures/Refresh": "signature_refresh",
    "Signatures/Validity/Default": "signature_validity",
    "Signatures/Jitter": "signature_jitter",
    "Zone/PropagationDelay": "propagation_delay",
    "Parent/PropagationDelay": "parent_propagation_delay",
    "Parent/DS/TTL": "parent_ds_ttl",
}
_CONF = Path("conf.xml")


def read_config(path: Path, read: Read) -> Fleet:
    """Return the fleet of a ``conf.xml`` or of the directory that has it. Raise BadConfig."""
    conf_path = path if path.suffix == ".xml" else path / _CONF
    conf = parse(read(conf_path), conf_path)
    fleet = Fleet()
    for repository in conf.all("RepositoryList/Repository"):
        _add_keystore(fleet, repository)
    if not fleet.keystores:
        raise BadConfig(f"{conf_path}: it has no repository")
    policies = conf_path.parent / conf.value("Common/PolicyFile", "kasp.xml")
    for policy in parse(read(policies), policies).all("Policy"):
        fleet.policies[label(policy.attributes.get("name", ""))] = _policy(fleet, policy)
    zones = conf_path.parent / conf.value("Common/ZoneListFile", "zonelist.xml")
    for zone in parse(read(zones), zones).all("Zone"):
        _add_zone(fleet, zone, conf_path.parent, read)
    return fleet


def _add_keystore(fleet: Fleet, repository: Element) -> None:
    name = label(repository.attributes.get("name", "hsm"))
    pin = f"/etc/dnssecd/secrets/{name}.pin"
    fleet.keystores[name] = {
        "type": "pkcs11",
        "module": repository.value("Module"),
        "token_label": repository.value("TokenLabel"),
        "pin_file": pin,
    }
    fleet.note(
        repository.where,
        f"the PIN of {name} is not copied: write it to {pin}, mode 0400",
    )


def _policy(fleet: Fleet, policy: Element) -> Rules:
    rules = Rules()
    for role in ("KSK", "ZSK", "CSK"):
        for number, key in enumerate(policy.all(f"Keys/{role}")):
            if number:
                fleet.note(key.where, f"a second {role} in the policy is left out")
                continue
            rules.roles[role.lower()] = _role(fleet, key)
    for path, ours in _TIMES.items():
        found = policy.first(path)
        if found is not None:
            rules.settings[ours] = duration(found.text, found.where)
    offset = policy.first("Signatures/InceptionOffset")
    if offset is not None:
        rules.settings["signature_inception"] = f"-{duration(offset.text, offset.where)}"
    nsec3 = policy.first("Denial/NSEC3")
    rules.settings["denial"] = "nsec" if nsec3 is None else "nsec3"
    if nsec3 is not None:
        if nsec3.first("OptOut") is not None:
            rules.settings["nsec3_opt_out"] = True
        salt = nsec3.first("Hash/Salt")
        if nsec3.value("Hash/Iterations", "0") != "0" or (
            salt is not None and salt.attributes.get("length") != "0"
        ):
            fleet.note(
                nsec3.where, "NSEC3 has iterations or a salt: set both to 0 in kasp.xml before the migration"
            )
    if policy.first("Keys/ShareKeys") is not None:
        rules.settings["share_keys"] = True
    serial = policy.value("Zone/SOA/Serial")
    if serial in _SERIALS:
        rules.settings["serial"] = _SERIALS[serial]
    elif serial:
        fleet.note(policy.where, f"serial {serial}: dnssecd takes the input's serial where it is higher")
    return rules


def _role(fleet: Fleet, key: Element) -> dict[str, object]:
    found = key.first("Algorithm")
    number = "" if found is None else found.text
    if number not in _ALGORITHMS:
        raise BadConfig(
            f"{key.where}: algorithm {number!r} cannot be used: roll to another one at OpenDNSSEC first"
        )
    lifetime = key.value("Lifetime", "P1Y")
    table: dict[str, object] = {
        "algorithm": _ALGORITHMS[number],
        "lifetime": duration(lifetime, key.where),
    }
    if found is not None and _ALGORITHMS[number].startswith("rsa"):
        table["bits"] = int(found.attributes.get("length", "2048") or 0)
    if (store := label(key.value("Repository"))) in fleet.keystores:
        table["keystore"] = store
    for name in ("ManualRollover", "Standby"):
        if (one := key.first(name)) is not None and one.text != "0":
            fleet.note(one.where, f"{name}: see manual, standby_ksk and standby_zsk")
    return table


def _add_zone(fleet: Fleet, element: Element, base: Path, read: Read) -> None:
    name, policy = element.attributes.get("name", ""), label(element.value("Policy"))
    if policy not in fleet.policies:
        raise BadConfig(f"{element.where}: there is no policy {element.value('Policy')!r}")
    zone = Zone(policy)
    entry = element.first("Adapters/Input/Adapter")
    if entry is not None and entry.attributes.get("type", "File") == "File":
        zone.file = str(base / entry.text)
    elif entry is not None:
        _inbound(fleet, zone, base / entry.text, read)
    leave = element.first("Adapters/Output/Adapter")
    if leave is not None and leave.attributes.get("type", "File") == "DNS":
        _outbound(fleet, zone, base / leave.text, read)
    elif leave is not None:
        fleet.note(
            leave.where, f"{name} is written to {leave.text}: name the servers that load it as [secondary.*]"
        )
    fleet.add_zone(name, zone, element.where)


def _keys(fleet: Fleet, adapter: Element) -> None:
    for one in adapter.all("DNS/TSIG"):
        algorithm = one.value("Algorithm", "hmac-sha256").lower()
        fleet.keys[zone_name(one.value("Name"), one.where)] = Key(algorithm, one.value("Secret"))


def _inbound(fleet: Fleet, zone: Zone, path: Path, read: Read) -> None:
    adapter = parse(read(path), path)
    _keys(fleet, adapter)
    for remote in adapter.all("DNS/Inbound/RequestTransfer/Remote"):
        zone.primaries += _servers(fleet, remote, fleet.primaries)


def _outbound(fleet: Fleet, zone: Zone, path: Path, read: Read) -> None:
    adapter = parse(read(path), path)
    _keys(fleet, adapter)
    for remote in adapter.all("DNS/Outbound/Notify/Remote"):
        zone.secondaries += _servers(fleet, remote, fleet.secondaries)
    for peer in adapter.all("DNS/Outbound/ProvideTransfer/Peer"):
        key = peer.value("Key")
        one = zone_name(key, peer.where) if key else network(peer.value("Prefix"), peer.where)
        if one not in zone.clients:
            zone.clients.append(one)


def _servers(fleet: Fleet, remote: Element, known: dict[str, Server]) -> Iterator[str]:
    key = remote.value("Key")
    tsig = zone_name(key, remote.where) if key else ""
    if tsig and tsig not in fleet.keys:
        raise BadConfig(f"{remote.where}: there is no TSIG {tsig}")
    host = remote.value("Address")
    yield fleet.server_name(
        known, host, Server(address(host, remote.value("Port", "53"), remote.where), tsig)
    )
