"""``[cluster]``: this node, the database of the cluster, and all nodes (docs/configuration.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from urllib.parse import unquote

from dnssecd.config.errors import did_you_mean
from dnssecd.config.model import (
    ClusterConfig,
    ClusterNode,
    Keystore,
    OfflineKeystore,
    Pkcs11Keystore,
    Policy,
    ZoneConfig,
)
from dnssecd.config.peers import addresses, check_label
from dnssecd.config.reader import Section
from dnssecd.config.values import exposed
from dnssecd.keyservice_settings import sealing_key_octets

#: As libpq has them (sslmode in the manual of PostgreSQL, §34.19).
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
PROVEN = ("verify-ca", "verify-full")
_URI = re.compile(
    r"postgres(?:ql)?://(?:(?P<login>[^@/?#]*)@)?(?P<hosts>[^/?#]*)/(?P<name>[^/?#]+)(?:\?(?P<more>[^#]*))?"
)
_EXAMPLE = 'write database = "postgresql://dnssecd@db.example/dnssecd"'
_LOOPBACK = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?")
_TAKE_OVER_AFTER, _TAKE_OVER_MIN, _TAKE_OVER_MAX = 10, 6, 3_600


def read_cluster(root: Section) -> ClusterConfig | None:
    """Return the cluster, None if the file has no ``[cluster]``."""
    section = root.table("cluster")
    if section is None:
        return None
    if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
        section.error(
            "",
            "a cluster needs the Python packages psycopg and psycopg_pool, which are not installed",
            "the Debian package and `make install` have them; with pip: pip install --require-hashes -r "
            "requirements-cluster.txt, of the sources",
        )
    nodes = dict(_nodes(section))
    cluster = ClusterConfig(
        node=_own_name(section, nodes),
        database=_database(section),
        password_file=section.optional_path("password_file"),
        sslmode=section.choice("sslmode", ("", *SSL_MODES), ""),
        sslrootcert=section.optional_path("sslrootcert"),
        require_synchronous=section.flag("require_synchronous", default=True),
        take_over_after=section.duration(
            "take_over_after", _TAKE_OVER_AFTER, low=_TAKE_OVER_MIN, high=_TAKE_OVER_MAX
        ),
        nodes=nodes,
    )
    _check_password(section, cluster)
    _check_tls(section, cluster)
    section.finish()
    return cluster


def _nodes(section: Section) -> Iterator[tuple[str, ClusterNode]]:
    for name, node in section.children("nodes"):
        check_label(name, node)
        found = addresses(node, "address")
        if not found:
            node.error(
                "address",
                "is missing or empty",
                'write address = ["192.0.2.1:53"], where the node answers queries',
            )
        yield name, ClusterNode(name, found, _sealing_key(node))
        node.finish()


def _sealing_key(node: Section) -> str:
    text = node.text("sealing_key")
    if text:
        try:
            sealing_key_octets(text)
        except ValueError as error:
            node.error("sealing_key", str(error), "write what `dnssecd node key` prints on that node")
    return text


def check_sealing(root: Section, cluster: ClusterConfig | None, stores: Mapping[str, Keystore]) -> None:
    """Warn of nodes that cannot get sealed keys; refuse one key for two nodes: each could read the other's."""
    if cluster is None:
        return
    holders: dict[str, str] = {}
    for name, node in cluster.nodes.items():
        other = holders.setdefault(node.sealing_key, name) if node.sealing_key else name
        if other != name:
            root.problems.error(
                ("cluster", "nodes", name, "sealing_key"),
                f"is also the key of node {other}",
                "write what `dnssecd node key` prints on that node",
            )
    online = [store for store in stores.values() if not isinstance(store, OfflineKeystore)]
    for sharing, without in (
        ("sealed", "it gets no keys of key store {}, and gives none out"),
        ("own", "no other node knows its keys of key store {}, and it takes no zone over"),
    ):
        found = [store.name for store in online if store.sharing == sharing]
        for name, node in cluster.nodes.items() if found else ():
            if not node.sealing_key:
                root.problems.warn(
                    ("cluster", "nodes", name),
                    f"has no sealing_key: {without.format(found[0])}",
                    "write what `dnssecd node key` prints on that node, on all nodes",
                )


def check_own(
    root: Section,
    stores: Mapping[str, Keystore],
    policies: Mapping[str, Policy],
    zones: Mapping[str, ZoneConfig],
) -> None:
    """Refuse what does not go with keys of each node's own."""
    own = {
        name
        for name, store in stores.items()
        if not isinstance(store, OfflineKeystore) and store.sharing == "own"
    }
    concerned = {name: policy for name, policy in policies.items() if own.intersection(policy.keystores)}
    for name, policy in concerned.items():
        shared = [store for store in policy.keystores if store not in own]
        if shared:
            root.problems.error(
                ("policy", name),
                f'its keys are in {shared[0]} and in a key store with sharing = "own"',
                "name key stores of one kind for all roles",
            )
        for key, wrong in (
            ("standby_ksk", policy.standby_ksk),
            ("rfc5011", policy.rfc5011),
            ("share_keys", policy.share_keys),
            ("foreign_keys", policy.foreign_keys == "input"),
        ):
            if wrong:
                root.problems.error(
                    ("policy", name, key),
                    'it does not go with keys of each node\'s own (sharing = "own")',
                    f"remove {key}, or use another key store",
                )
    for zone in zones.values():
        if zone.policy in concerned and zone.other_signers:
            root.problems.error(
                ("zone", zone.name, "other_signers"),
                'they do not go with keys of each node\'s own (sharing = "own")',
                "remove other_signers, or use a policy with another key store",
            )


def check_shared_tokens(
    root: Section, stores: Mapping[str, Keystore], policies: Mapping[str, Policy]
) -> None:
    """Refuse zones with the same keys in tokens that all nodes reach.

    The last zone of a key on a node has it destroyed in the token; a zone of another node may still use it.
    """
    tokens = {
        name
        for name, store in stores.items()
        if isinstance(store, Pkcs11Keystore) and store.sharing == "token"
    }
    for name, policy in policies.items():
        if policy.share_keys and tokens.intersection(policy.keystores):
            root.problems.error(
                ("policy", name, "share_keys"),
                'it does not go with a token that all nodes reach (sharing = "token")',
                "remove share_keys, so that each zone has keys of its own, or use another key store",
            )


def _own_name(section: Section, nodes: dict[str, ClusterNode]) -> str:
    if not section.require("node", 'write node = "a", the name of this node'):
        return ""
    name = section.text("node")
    if name and name not in nodes:
        section.error(
            "node", f'there is no node "{name}"', f"add [cluster.nodes.{name}]; {did_you_mean(name, nodes)}"
        )
    return name


def _database(section: Section) -> str:
    if not section.require("database", _EXAMPLE):
        return ""
    uri = section.text("database")
    match = _URI.fullmatch(uri)
    if uri and match is None:
        section.error("database", "is not the URI of a PostgreSQL database", _EXAMPLE)
    return uri


def _check_password(section: Section, cluster: ClusterConfig) -> None:
    match = _URI.fullmatch(cluster.database)
    login = unquote(match["login"] or "") if match else ""
    if ":" in login or "password=" in ((match and match["more"]) or ""):
        section.error(
            "database",
            "the password stands in the URI, where backups and other users may find it",
            'write it into a file with mode 0600, and password_file = "…"',
        )
    if cluster.password_file is not None and (told := exposed(cluster.password_file)):
        section.warn("password_file", told, f"chmod o-r {cluster.password_file}, and change the password")


def _check_tls(section: Section, cluster: ClusterConfig) -> None:
    """Warn of a database over the network that is not proven: who answers in its place gets the password."""
    match = _URI.fullmatch(cluster.database)
    if match is None:
        return
    more = match["more"] or ""
    proven = cluster.sslmode in PROVEN or any(f"sslmode={mode}" in more for mode in PROVEN)
    remote = [host for host in match["hosts"].split(",") if host and not _LOOPBACK.fullmatch(host)]
    if remote and "host=/" not in more and not proven:
        section.warn(
            "sslmode" if cluster.sslmode else "database",
            f"the connection to {remote[0]} does not prove that it is the database",
            'write sslmode = "verify-full" and sslrootcert = "…"',
        )
