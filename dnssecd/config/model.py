"""The configuration as immutable data (the contract is in docs/configuration.md and config.example.toml).

Times are in whole seconds, zone and TSIG names lower-case text with the final dot, addresses numeric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Literal

from dnssecd.config.errors import ConfigError
from dnssecd.config.freeze import FreezeWindow
from dnssecd.config.model_operation import DAY as DAY
from dnssecd.config.model_operation import NO_ANCHORS, NO_BACKUPS
from dnssecd.config.model_operation import AlertsConfig as AlertsConfig
from dnssecd.config.model_operation import AnchorsConfig as AnchorsConfig
from dnssecd.config.model_operation import BackupConfig as BackupConfig
from dnssecd.config.model_operation import MailConfig as MailConfig
from dnssecd.config.model_operation import Secret as Secret
from dnssecd.config.model_operation import SmimeConfig as SmimeConfig
from dnssecd.config.model_operation import WebhookConfig as WebhookConfig
from dnssecd.config.templates import Template
from dnssecd.config.tls_model import PeerTls, TlsFiles
from dnssecd.keyservice_settings import Login


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """An IP address and a port; text form as in the configuration: ``192.0.2.1:53``, ``[2001:db8::1]:53``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """``[server]``. clock_tolerance: maximum unnoticed clock error (s), added to every rollover wait.

    tls: addresses for DNS over TLS; tls_files: the certificate for it, which primaries may see too.
    """

    listen: tuple[Address, ...]
    resolver: tuple[Address, ...]  # empty: those of the system
    state_dir: Path
    control_socket: Path
    clock_tolerance: int = 300
    tls: tuple[Address, ...] = ()
    tls_files: TlsFiles | None = None


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """``[metrics]``. names: host names under which clients may ask, beside addresses and ``localhost``."""

    listen: Address | None  # None: switched off with listen = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusPageConfig:
    """``[status_page]``. listen None: there is no page.

    names: host names under which browsers may ask for it, beside addresses and ``localhost``. token: what a client has
    to show; None: nothing. certificate, key: PEM files; None: without TLS.
    """

    listen: Address | None = None
    names: tuple[str, ...] = ()
    token: Secret | None = None
    certificate: Path | None = None
    key: Path | None = None


@dataclass(frozen=True, slots=True)
class LogConfig:
    """``[log]``. auto: text on a terminal, JSON elsewhere."""

    format: Literal["auto", "json", "console"]
    level: Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class SignerConfig:
    """``[signer]``: where the key service is."""

    socket: Path | None  # None: the daemon starts its own key service
    user: str | None = None  # name or number of its user; None: derived from the owners of its files


@dataclass(frozen=True, slots=True)
class RolesConfig:
    """Unix groups, None: no group has the role. Root and the daemon's user have every role; docs/security.md."""

    viewer: str | None = None  # None: the daemon's group
    operator: str | None = None
    key_officer: str | None = None  # None: operators are key officers, too


@dataclass(frozen=True, slots=True)
class SoftwareKeystore:
    """A key store of encrypted files."""

    name: str
    directory: Path
    passphrase_file: Path | None  # None: generated, next to the keys
    removable: bool  # the directory is on a medium that may be absent between uses
    deterministic_ecdsa: bool  # RFC 6979
    #: sealed: its keys go to the other nodes of the cluster; own: only their public halves do
    sharing: Literal["", "sealed", "own"] = ""


@dataclass(frozen=True, slots=True)
class Pkcs11Token:
    """A token, found by label, by serial number, by both, or by slot. Only the key service reads the PIN file.

    name: that of the key store, or STORE.TOKEN if the store has several. Unique among all key stores. pin_file: None
    where login is not "pin". quirks: names of ``keyservice_settings.QUIRKS``.
    """

    name: str
    module: Path
    token_label: str | None
    token_serial: str | None
    slot: int | None
    login: Login
    pin_file: Path | None
    sessions: int
    call_deadline_s: int
    idle_canary_s: int
    retry_longest_s: int
    quirks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pkcs11Keystore:
    """A key store of tokens. Keys are generated in the first.

    standby: a token is used only while all tokens before it fail; False: all tokens share the work. sharing: "token":
    all nodes of a cluster reach the same tokens; "own": each node has tokens and keys of its own, and only the public
    halves go to the other nodes; "": nothing is shared. passphrase_file: of the sealing key, which "own" has; None:
    generated.
    """

    name: str
    tokens: tuple[Pkcs11Token, ...]
    standby: bool
    validated: str = ""  # as of OfflineKeystore
    sharing: Literal["", "token", "own"] = ""
    passphrase_file: Path | None = None


@dataclass(frozen=True, slots=True)
class OfflineKeystore:
    """A key store that the key service does not have: its KSKs sign at ceremonies. notice: seconds before the end.

    validated: the validation of the cryptographic module that the operator declares, "" for none.
    """

    name: str
    notice: int
    validated: str = ""


Keystore = SoftwareKeystore | Pkcs11Keystore | OfflineKeystore


@dataclass(frozen=True, slots=True)
class TsigKey:
    """A TSIG key. algorithm: ``hmac-sha1`` … ``hmac-sha512``. secret: empty if secrets were not read."""

    name: str
    algorithm: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server: a secondary, a primary, a server polled for evidence. tsig: name of the key to use.

    source: the local IP address to send from; None: the address listened on. query: False: it gets NOTIFY but no
    queries. notify_tsig: the key of NOTIFY; True: the same as ``tsig``; False: none. tsig_others: during a change
    of keys, the keys that are also accepted, and used if the peer does not have ``tsig``.
    """

    name: str
    address: Address
    tsig: str | None = None
    source: str | None = None
    query: bool = True
    notify_tsig: str | bool = True
    tsig_others: tuple[str, ...] = ()
    tls: PeerTls | None = None

    @property
    def tsig_names(self) -> tuple[str, ...]:
        """The names of its TSIG keys, the one to use first."""
        return () if self.tsig is None else (self.tsig, *self.tsig_others)


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """The properties of keys of a role. lifetime: seconds, None: unlimited. bits: RSA only, else 0."""

    algorithm: int
    lifetime: int | None
    keystore: str
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """``[policy.*]``. ksk and zsk, or csk alone. signature_refresh: None for "auto". signature_inception: at most 0.

    keystore: for keys of a role that has no template.
    signed: False: zones become insecure. For a secure zone this takes several steps.
    """

    name: str
    keystore: str
    ksk: KeyTemplate | None
    zsk: KeyTemplate | None
    csk: KeyTemplate | None
    share_keys: bool
    dnskey_ttl: int
    denial: Literal["nsec3", "nsec"]
    nsec3_opt_out: bool
    signature_validity: int
    signature_inception: int
    signature_refresh: int | None
    signature_jitter: int
    serial: Literal["increment", "unixtime", "date"]
    zonemd: bool
    propagation_delay: int
    parent_propagation_delay: int
    parent_ds_ttl: int
    cds: Literal["auto", "never"]
    rfc5011: bool
    standby_ksk: bool
    standby_zsk: bool
    require_backup: bool
    held_by_min: int  # tokens that hold a key and stand for a backup; nodes that must hold a shared key
    keys: Literal["made", "given"]  # given: dnssecd never makes a key
    manual: frozenset[str]  # of "zsk", "ksk", "algorithm", "denial"
    freeze: tuple[FreezeWindow, ...]
    signed: bool = True
    validity_max: int = 60 * DAY  # the ceiling of signatures that the key service enforces
    destroy_after: int = 30 * DAY  # how long a removed key stays in the trash
    two_person: bool = False
    preset: str = ""  # the preset that the policy is based on
    from_preset: tuple[str, ...] = field(default=(), compare=False)  # what it set, as in the file
    foreign_keys: Literal["strip", "input"] = "strip"
    tag_range: tuple[int, int] = (0, 65_535)  # of the keys that are made
    csync: Literal["auto", "never"] = "never"
    experimental: tuple[str, ...] = ()  # experimental algorithms that it may use

    @property
    def templates(self) -> tuple[tuple[Literal["ksk", "zsk", "csk"], KeyTemplate], ...]:
        """The roles of the policy, each with its template."""
        roles: tuple[tuple[Literal["ksk", "zsk", "csk"], KeyTemplate | None], ...] = (
            ("ksk", self.ksk),
            ("zsk", self.zsk),
            ("csk", self.csk),
        )
        return tuple((role, template) for role, template in roles if template is not None)

    @property
    def keystores(self) -> tuple[str, ...]:
        """The key stores of all roles."""
        return tuple(dict.fromkeys(template.keystore for _, template in self.templates))

    def keystore_of(self, role: str) -> str:
        """Return the key store for keys of a role, also of one that the policy does not have."""
        return next((key.keystore for name, key in self.templates if name == role), self.keystore)

    def frozen_until(self, now: float) -> float | None:
        """Return when the freeze window around *now* ends (epoch seconds); None outside of all windows."""
        ends = [end for window in self.freeze if (end := window.covers(now)) is not None]
        return max(ends, default=None)


@dataclass(frozen=True, slots=True)
class Grant:
    """The names and types that a TSIG key may update.

    names: exact, ``*.sub.example.com.`` (all names below), ``*`` (the whole zone) or ``self`` (the name of the key).
    types: mnemonics in upper case, or ``("ANY",)``.
    """

    tsig: str
    names: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Acl:
    """The clients allowed: holders of a TSIG key, or addresses."""

    tsig: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def allows(self, host: str, tsig: str | None) -> bool:
        """Return whether a request from *host* (numeric), verified with key *tsig* (None: unsigned), is allowed."""
        if tsig is not None and tsig in self.tsig:
            return True
        address = ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class ParentConfig:
    """How the parent is reached. none: there is no DS (island of security). servers: empty: found by the resolver.

    push: the server that gets the DS set by RFC 2136. hook: command and arguments, run without a shell.
    """

    none: bool = False
    servers: tuple[Address, ...] = ()
    push: Peer | None = None
    hook: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateLimits:
    """Limits of dynamic updates; the defaults are what BIND and Knot accept as secondaries.

    records: RRs of an RRset. types: types at a name. names: names of the denial chain, including empty non-terminals,
    that one message may change. strict: refuse what Knot as a secondary refuses.
    """

    records: int = 100
    types: int = 49
    names: int = 1000
    strict: bool = True


@dataclass(frozen=True, slots=True)
class OtherSigner:
    """``[zone.X.other_signers.NAME]``: another signer of the zone (RFC 8901).

    servers: those that serve what it signs; ns: the names of its servers in the zone's NS RRset.
    """

    name: str
    servers: tuple[Address, ...]
    ns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReviewConfig:
    """What must accept a version, before the publication. command: empty: an operator (``review = "manual"``).

    input: what the command reads.
    """

    command: tuple[str, ...]
    input: Literal["zone", "difference"] = "zone"
    timeout: int = 60


@dataclass(frozen=True, slots=True)
class ZoneConfig:
    """``[zone.*]``."""

    name: str
    policy: str
    source: Literal["file", "primaries", "dynamic"]
    file: str | None  # a Path takes five times the memory, in each of many zones
    primaries: tuple[str, ...]
    allow_update: tuple[Grant, ...]
    secondaries: tuple[str, ...]
    check_servers: tuple[Peer, ...]  # the secondaries if the file has none
    allow_transfer: Acl
    allow_query: Acl
    parent: ParentConfig
    max_change: float  # share of owner names, 0.30 for "30%"
    allow_missing_glue: bool = False  # name servers inside the zone may lack their address records
    max_transfer_mib: int | None = (
        None  # octets of one incoming transfer; None: derived from the size of the stored zone
    )
    soa_expire: Literal["serve", "follow"] = "serve"  # if no primary answers for the time of SOA expire
    update_limits: UpdateLimits = UpdateLimits()
    other_signers: tuple[OtherSigner, ...] = ()
    signalling: tuple[str, ...] = ()  # name servers in the zone for which RFC 9615 names are kept
    template: str = ""
    catalog_group: str = ""  # the group property in the catalogs that have the zone
    review: ReviewConfig | None = None
    input_zonemd: Literal["check", "require", "ignore"] = "check"
    input_anchor: tuple[bytes, ...] = ()  # DS RDATA
    signing: Literal["sign", "verify-only"] = "sign"  # verify-only: it comes signed, and is served as it is
    published: tuple[str, ...] = ()  # the command, or one element: a URL
    output_file: Path | None = None
    anchors: bool = False  # its trust anchors are published


@dataclass(frozen=True, slots=True)
class CatalogConfig:
    """``[catalog.*]``. produce: the secondaries that get it, and whose common zones are its members.

    primaries, template, groups: where it is taken from, the template of its members, and of those of a group.
    within: names that members must be at or below; there they may lie in or above other zones. Empty: members may have
    any name, but not lie in or above a zone that is not of this catalog.
    max_members: a catalog with more is not followed. max_change: the share of members that may leave at once without
    an operator.
    """

    name: str
    produce: tuple[str, ...] = ()
    primaries: tuple[str, ...] = ()
    template: str = ""  # of members without a known group; "" for none
    within: tuple[str, ...] = ()
    max_members: int = 10_000
    groups: Mapping[str, str] = field(default_factory=dict)
    max_change: float = 0.3


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """``[cluster.nodes.*]``. address: where the node answers queries. sealing_key: "" for none."""

    name: str
    address: tuple[Address, ...]
    sealing_key: str


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """``[cluster]``. node: the name of this one. database: URI of PostgreSQL without a password.

    sslmode, sslrootcert: as libpq has them; "" and None for its defaults. take_over_after: seconds without a heartbeat
    after which another node may own a node's zones.
    """

    node: str
    database: str
    password_file: Path | None
    sslmode: str
    sslrootcert: Path | None
    require_synchronous: bool
    take_over_after: int
    nodes: Mapping[str, ClusterNode]


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration file, checked completely. warnings: settings that are allowed but may be mistakes.

    zones: those of the file, and in the daemon those that were added while it ran.
    """

    path: Path
    server: ServerConfig
    metrics: MetricsConfig
    log: LogConfig
    signer: SignerConfig
    keystores: Mapping[str, Keystore]
    tsig: Mapping[str, TsigKey]
    secondaries: Mapping[str, Peer]
    primaries: Mapping[str, Peer]
    policies: Mapping[str, Policy]
    zones: Mapping[str, ZoneConfig]
    alerts: AlertsConfig
    warnings: tuple[ConfigError, ...] = ()
    roles: RolesConfig = RolesConfig()
    cluster: ClusterConfig | None = None
    templates: Mapping[str, Template] = field(default_factory=dict)
    catalogs: Mapping[str, CatalogConfig] = field(default_factory=dict)
    status_page: StatusPageConfig = StatusPageConfig()
    backup: BackupConfig = NO_BACKUPS
    anchors: AnchorsConfig = NO_ANCHORS

    def policy_of(self, zone: str) -> Policy:
        """Return the policy of a zone. Raise KeyError for an unknown zone."""
        return self.policies[self.zones[zone].policy]

    @property
    def offline_keystores(self) -> tuple[str, ...]:
        """The names of the off-line key stores."""
        return tuple(name for name, store in self.keystores.items() if isinstance(store, OfflineKeystore))

    @property
    def shared_keystores(self) -> frozenset[str]:
        """The names of the key stores whose tokens all nodes of the cluster reach."""
        stores = self.keystores.items()
        return frozenset(
            n for n, store in stores if isinstance(store, Pkcs11Keystore) and store.sharing == "token"
        )

    @property
    def sealed_keystores(self) -> frozenset[str]:
        """The names of the key stores whose keys go sealed to the other nodes of the cluster."""
        stores = self.keystores.items()
        return frozenset(
            n for n, store in stores if isinstance(store, SoftwareKeystore) and store.sharing == "sealed"
        )

    @property
    def own_keystores(self) -> frozenset[str]:
        """The names of the key stores that each node of the cluster has for itself."""
        stores = self.keystores.items()
        return frozenset(
            n for n, store in stores if not isinstance(store, OfflineKeystore) and store.sharing == "own"
        )

    def holders_min(self, policy: Policy) -> int:
        """Return how many nodes must hold a key in a shared key store before it is used; 1: there is no cluster."""
        return 1 if self.cluster is None else min(policy.held_by_min, len(self.cluster.nodes))

    def secondaries_of(self, zone: str) -> tuple[Peer, ...]:
        """Return the secondaries of a zone. Raise KeyError for an unknown zone."""
        return tuple(self.secondaries[name] for name in self.zones[zone].secondaries)
