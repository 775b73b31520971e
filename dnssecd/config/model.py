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

DAY = 86_400


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """An IP address and a port; text form as in the configuration: ``192.0.2.1:53``, ``[2001:db8::1]:53``."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Secret:
    """Octets that must not be shown; its text form is always the same."""

    value: bytes = field(repr=False)

    def __str__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """clock_tolerance: how far (s) the clock may be off unnoticed; every roll-over wait is longer by it."""

    listen: tuple[Address, ...]
    resolver: tuple[Address, ...]  # empty: the system's
    state_dir: Path
    control_socket: Path
    clock_tolerance: int = 300


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    listen: Address | None  # None: switched off with listen = ""


@dataclass(frozen=True, slots=True)
class LogConfig:
    format: Literal["json", "console"]
    level: Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class SignerConfig:
    socket: Path | None  # None: the daemon starts its own signer
    user: str | None = None  # who runs it, by name or number; None: told from the owners of its files


@dataclass(frozen=True, slots=True)
class SoftwareKeystore:
    name: str
    directory: Path
    passphrase_file: Path | None  # None: made beside the keys
    removable: bool  # the directory is on a medium that may be absent between uses
    deterministic_ecdsa: bool  # RFC 6979


@dataclass(frozen=True, slots=True)
class Pkcs11Token:
    """A token, found by exactly one of label, serial and slot. The PIN file is read by the signer alone.

    name: the key store's, or STORE.TOKEN where the store has several. Unique among all key stores.
    """

    name: str
    module: Path
    token_label: str | None
    token_serial: str | None
    slot: int | None
    pin_file: Path
    sessions: int
    call_deadline_s: int
    idle_canary_s: int
    retry_longest_s: int


@dataclass(frozen=True, slots=True)
class Pkcs11Keystore:
    """tokens: keys are made in the first. standby: a token works only while none before it does; else all do."""

    name: str
    tokens: tuple[Pkcs11Token, ...]
    standby: bool


Keystore = SoftwareKeystore | Pkcs11Keystore


@dataclass(frozen=True, slots=True)
class TsigKey:
    """algorithm: ``hmac-sha1`` … ``hmac-sha512``. secret: empty when secrets were not to be read."""

    name: str
    algorithm: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class Peer:
    """Another server: a secondary, a primary, a server polled for evidence. tsig: name of the key to use.

    source: the local IP address to send from; None: the address listened on. query: False: it gets NOTIFY and is
    asked nothing. notify_tsig: the key of NOTIFY, True: as ``tsig``, False: none.
    """

    name: str
    address: Address
    tsig: str | None = None
    source: str | None = None
    query: bool = True
    notify_tsig: str | bool = True


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """What keys of a role are like. lifetime: seconds, None for unlimited. bits: RSA only, else 0."""

    algorithm: int
    lifetime: int | None
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Refresh:
    """How long before expiration an RRSIG is renewed. wanted: what the zone's timing asks for (seconds)."""

    seconds: int
    wanted: int

    @property
    def short(self) -> bool:
        """Whether a secondary cut off from us could serve expired RRSIGs before its SOA expire."""
        return self.seconds < self.wanted


@dataclass(frozen=True, slots=True)
class Policy:
    """ksk and zsk, or csk alone. signature_refresh: None for "auto". signature_inception: at most 0.

    signed: False for zones that are to be insecure; one that is secure gets there by steps.
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
    manual: frozenset[str]  # of "zsk", "ksk", "algorithm", "denial"
    freeze: tuple[FreezeWindow, ...]
    signed: bool = True

    def refresh_for(self, soa_expire: int, largest_ttl: int) -> Refresh:
        """The refresh for a zone: as configured, or min(SOA expire + largest TTL + 1d, validity / 2)."""
        if self.signature_refresh is not None:
            return Refresh(self.signature_refresh, soa_expire + largest_ttl)
        wanted = soa_expire + largest_ttl + DAY
        return Refresh(min(wanted, self.signature_validity // 2), wanted)

    def frozen_until(self, now: float) -> float | None:
        """When the freeze window around *now* ends (epoch seconds); None outside of all windows."""
        ends = [end for window in self.freeze if (end := window.covers(now)) is not None]
        return max(ends, default=None)


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may update what. names: exact, ``*.sub.example.com.`` (everything below), ``*`` (the whole zone) or
    ``self`` (the name that is the key's). types: mnemonics in upper case, or ``("ANY",)``.
    """

    tsig: str
    names: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Acl:
    """Whom to serve: holders of a TSIG key, or addresses."""

    tsig: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    def allows(self, host: str, tsig: str | None) -> bool:
        """Whether a request from *host* (numeric), verified with key *tsig* (None: unsigned), is allowed."""
        if tsig is not None and tsig in self.tsig:
            return True
        address = ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class ParentConfig:
    """How the parent is reached. none: an island of trust. servers: empty: found by the resolver.

    push: where the DS set is sent by RFC 2136. hook: command and arguments, run without a shell.
    """

    none: bool = False
    servers: tuple[Address, ...] = ()
    push: Peer | None = None
    hook: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UpdateLimits:
    """Beyond these a dynamic update is refused; the defaults are what BIND and Knot accept as secondaries.

    records: RRs of a set. types: types at a name. names: names of the denial chain, empty non-terminals included,
    that one message may change. strict: what Knot as a secondary refuses is refused.
    """

    records: int = 100
    types: int = 49
    names: int = 1000
    strict: bool = True


@dataclass(frozen=True, slots=True)
class ZoneConfig:
    name: str
    policy: str
    source: Literal["file", "primaries", "dynamic"]
    file: Path | None
    primaries: tuple[str, ...]
    allow_update: tuple[Grant, ...]
    secondaries: tuple[str, ...]
    check_servers: tuple[Peer, ...]  # resolved: the secondaries where the file names none
    allow_transfer: Acl
    allow_query: Acl
    parent: ParentConfig
    max_change: float  # share of owner names, 0.30 for "30%"
    allow_missing_glue: bool = False  # name servers inside the zone may lack their address records
    max_transfer_mib: int | None = None  # of one transfer in; None: by the size of the zone that is held
    soa_expire: Literal["serve", "follow"] = "serve"  # when no primary has answered for as long as SOA expire
    update_limits: UpdateLimits = UpdateLimits()


@dataclass(frozen=True, slots=True)
class MailConfig:
    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    tls: Literal["none", "starttls", "tls"]
    user: str | None
    password: Secret | None
    escalate_to: tuple[str, ...]
    escalate_after: int
    heartbeat: Literal["daily", "weekly", "never"]


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    url: str
    bearer: Secret | None


@dataclass(frozen=True, slots=True)
class AlertsConfig:
    """Ways by which alerts leave the machine; each is None when not configured."""

    mail: MailConfig | None = None
    webhook: WebhookConfig | None = None
    command: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """One configuration file, checked as a whole. warnings: what is allowed but worth a look."""

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

    def policy_of(self, zone: str) -> Policy:
        return self.policies[self.zones[zone].policy]

    def secondaries_of(self, zone: str) -> tuple[Peer, ...]:
        return tuple(self.secondaries[name] for name in self.zones[zone].secondaries)
