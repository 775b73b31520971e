"""The table of requirements, by profile. ``docs/audit.md`` is generated from it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from dnssecd.config.audit import judge_keys as keys
from dnssecd.config.audit import judge_zones as zones
from dnssecd.config.audit.terms import Finding, Requirement, Seen, View
from dnssecd.config.model import Config

_NIST = "SP 800-81r3"

_KEYS: Final = (
    Requirement(
        "keys-module",
        "Private keys are in a cryptographic module whose validation by FIPS 140-3 or ISO/IEC 19790 you declare.",
        "FIPS 140-3; ISO/IEC 19790",
        'use a key store of type "pkcs11", and write its certificate: validated = "FIPS 140-3 certificate NUMBER"',
        keys.judge_module,
    ),
    Requirement(
        "keys-sealed",
        "No copy of a disk gives a private key away: keys are in tokens, or encrypted with the passphrase elsewhere.",
        "ISO/IEC 19790 §7.9",
        "write passphrase_file in the key store, as a systemd credential (docs/operations.md)",
        keys.judge_sealed,
    ),
    Requirement(
        "keys-modes",
        "Only the key service's user can read key files and PIN files.",
        "ISO/IEC 19790 §7.4",
        "find out what changed the files: dnssecd alerts list names them",
        keys.judge_modes,
    ),
    Requirement(
        "keys-apart",
        "The key service is a process with a user of its own, apart from the process that reads packets.",
        "RFC 6781 §3.4",
        "run dnssecd-signer.service, and write [signer] socket and user",
        keys.judge_apart,
    ),
    Requirement(
        "keys-role-stores",
        "KSK and ZSK are in different key stores.",
        "RFC 6781 §3.1",
        'write ksk = { keystore = "…" } in the policy; a rollover moves the role',
        keys.judge_role_stores,
    ),
    Requirement(
        "keys-offline-ksk",
        "The KSK is off-line: it signs at ceremonies only.",
        "RFC 6781 §3.4",
        'add a key store of type "offline", and follow docs/ceremony.md',
        keys.judge_offline,
    ),
    Requirement(
        "keys-backup-required",
        "No key is used before a backup of it was confirmed, or before several tokens hold it.",
        "RFC 6841 §4.5",
        "write require_backup = true",
        keys.judge_backup_required,
    ),
    Requirement(
        "keys-backup-age",
        "Each key in use is in a backup that was opened and confirmed within 90 days.",
        "RFC 6841 §4.5",
        "dnssecd key backup, then key backup --confirm FILE; for tokens: key backup ZONE --key-tag N --word TEXT",
        keys.judge_backup_age,
    ),
    Requirement(
        "keys-present",
        "The key service holds every key that is in use.",
        "RFC 6841 §4.5",
        "dnssecd alerts list shows the remedy",
        keys.judge_present,
    ),
    Requirement(
        "keys-standby",
        "A successor of each key is published in advance, for the case of a compromise or loss.",
        "RFC 6781 §4.2",
        "write standby_ksk = true and standby_zsk = true",
        keys.judge_standby,
    ),
    Requirement(
        "keys-trash",
        "A removed key can be restored for at least seven days.",
        "RFC 6841 §4.5",
        'write destroy_after = "30d"',
        keys.judge_trash,
    ),
    Requirement(
        "keys-two-person",
        "One person alone cannot destroy, export, import, restore or bind a key.",
        "RFC 6841 §4.4",
        "write two_person = true, [roles] key_officer and [signer] socket",
        keys.judge_two_person,
    ),
    Requirement(
        "keys-ceiling",
        "The key service signs nothing for longer than 60 days, and the daemon cannot change that.",
        "RFC 6781 §4.4",
        'write validity_max = "60d" or less, and [signer] socket',
        keys.judge_ceiling,
    ),
    Requirement(
        "keys-roles",
        "Operators and key officers are different Unix groups.",
        "ISO/IEC 19790 §7.4",
        "write [roles] operator and key_officer",
        keys.judge_roles,
    ),
    Requirement(
        "keys-log",
        "Each change of a key is in an audit log whose hash chain is intact.",
        "RFC 6841 §4.4",
        "keep the file, and see dnssecd key audit",
        keys.judge_log,
    ),
    Requirement(
        "keys-log-head",
        "The audit log was not cut off, replaced or removed since the daemon last saw it.",
        "RFC 6841 §4.4",
        "find out who changed the log; record its head on another host, too",
        keys.judge_head,
    ),
    Requirement(
        "keys-tokens",
        "All tokens work, and report no fault.",
        "ISO/IEC 19790 §7.10",
        "dnssecd keystore list, dnssecd keystore test",
        keys.judge_tokens,
    ),
)

_SP800_81R3: Final = (
    Requirement(
        "r3-algorithm",
        "Keys have an algorithm of elliptic curves (13 to 16), or RSA until the end of 2030.",
        _NIST,
        'write algorithm = "ecdsap256sha256"',
        zones.judge_strong_algorithm,
    ),
    Requirement(
        "r3-key-lifetime",
        "Each key is replaced after three years at most.",
        _NIST,
        'write preset = "sp800-81r3", or ksk = { lifetime = "3y" } and zsk = { lifetime = "1y" }',
        zones.judge_lifetimes,
    ),
    Requirement(
        "r3-validity",
        "Signatures are valid for five to seven days.",
        _NIST,
        'write preset = "sp800-81r3", or signature_validity = "7d"',
        zones.judge_short_validity,
    ),
    Requirement(
        "r3-denial",
        "Denial of existence is by NSEC, unless the zone needs NSEC3.",
        _NIST,
        'write preset = "sp800-81r3", or denial = "nsec"; or record why the zone needs NSEC3',
        zones.judge_nsec,
    ),
    Requirement(
        "r3-zonemd",
        "The zone has a digest of its content (ZONEMD).",
        _NIST,
        'write preset = "sp800-81r3", or zonemd = true',
        zones.judge_zonemd,
    ),
    Requirement(
        "r3-module",
        "Private keys are in a hardware module (HSM) whose validation you declare.",
        _NIST,
        'use a key store of type "pkcs11", and write validated in it',
        keys.judge_module,
    ),
    Requirement(
        "r3-keys-apart",
        "Private keys are not on a public server, nor readable by a process that reads packets.",
        _NIST,
        "run dnssecd-signer.service, and write [signer] socket and user",
        keys.judge_apart,
    ),
    Requirement(
        "r3-hidden",
        "The signer is hidden: other servers answer the public.",
        _NIST,
        "name secondaries, and allow_query only for them and this host",
        zones.judge_hidden,
    ),
    Requirement(
        "r3-transfer-tsig",
        "Each transfer is authenticated by TSIG with HMAC-SHA-256 or better.",
        _NIST,
        "write tsig for each secondary and primary, and no addresses in allow_transfer",
        zones.judge_transfers,
    ),
    Requirement(
        "r3-transfer-encrypted",
        "Transfers are encrypted.",
        _NIST,
        "write tls for each secondary and primary; or send them through a tunnel, and record that",
        zones.judge_encrypted,
    ),
    Requirement(
        "r3-updates",
        "Dynamic updates are authenticated, and limited by key, name and type.",
        _NIST,
        'write algorithm = "hmac-sha256" for the keys in allow_update',
        zones.judge_updates,
    ),
    Requirement(
        "r3-monitoring",
        "Faults of signing and transfers reach an operator.",
        _NIST,
        "write [alerts.mail], [alerts.webhook] or [alerts] command",
        zones.judge_alerts,
    ),
    Requirement(
        "r3-log",
        "Each change of a key is logged, and the log is protected.",
        _NIST,
        "keep the file, and see dnssecd key audit",
        keys.judge_log,
    ),
)

_RFC9276: Final = (
    Requirement(
        "9276-nsec",
        "NSEC is used, unless the zone needs NSEC3.",
        "RFC 9276 §3.1",
        'write preset = "rfc9276", or denial = "nsec"; or record why the zone needs NSEC3',
        zones.judge_nsec,
    ),
    Requirement(
        "9276-iterations",
        "NSEC3 has 0 additional iterations.",
        "RFC 9276 §3.1",
        "no change is possible or needed",
        zones.judge_iterations,
    ),
    Requirement(
        "9276-salt",
        "NSEC3 has no salt.",
        "RFC 9276 §3.1",
        "no change is possible or needed",
        zones.judge_salt,
    ),
    Requirement(
        "9276-opt-out",
        "Opt-out is used only for large zones of mostly unsigned delegations.",
        "RFC 9276 §3.1",
        'write preset = "rfc9276", or nsec3_opt_out = false',
        zones.judge_opt_out,
    ),
)

_TLD: Final = (
    Requirement(
        "tld-algorithm",
        "The IANA registry recommends the algorithm for signing.",
        "RFC 9904",
        'write algorithm = "ecdsap256sha256", "ed25519" or "rsasha256"',
        zones.judge_recommended_algorithm,
    ),
    Requirement(
        "tld-split",
        "KSK and ZSK are different keys.",
        "RFC 6781 §3.1",
        "write ksk and zsk in place of csk; a rollover changes the keys",
        zones.judge_split,
    ),
    Requirement(
        "tld-module",
        "Private keys are in a cryptographic module whose validation you declare.",
        "RFC 6841 §4.5",
        'use a key store of type "pkcs11", and write validated in it',
        keys.judge_module,
    ),
    Requirement(
        "tld-backup",
        "No key is used before a backup of it was confirmed, or before several tokens hold it.",
        "RFC 6841 §4.5",
        'write preset = "tld", or require_backup = true',
        keys.judge_backup_required,
    ),
    Requirement(
        "tld-two-person",
        "One person alone cannot destroy, export, import, restore or bind a key.",
        "RFC 6841 §4.4",
        "write two_person = true, [roles] key_officer and [signer] socket",
        keys.judge_two_person,
    ),
    Requirement(
        "tld-manual-ksk",
        "An operator approves each step that changes the DS.",
        "RFC 6841 §4.4",
        'write preset = "tld", or manual = ["ksk", "algorithm"]',
        zones.judge_manual_ksk,
    ),
    Requirement(
        "tld-standby-zsk",
        "The DNSKEY of a second ZSK is published, for the case of a compromise or loss.",
        "RFC 6781 §4.2",
        'write preset = "tld", or standby_zsk = true',
        zones.judge_standby_zsk,
    ),
    Requirement(
        "tld-validity",
        "Signatures are valid for 14 days or more: half of that outlasts an outage over holidays.",
        "RFC 6781 §4.4",
        'write preset = "tld", or signature_validity = "21d"',
        zones.judge_signed_ahead,
    ),
    Requirement(
        "tld-zonemd",
        "The zone has a digest of its content (ZONEMD).",
        "RFC 8976",
        'write preset = "tld", or zonemd = true',
        zones.judge_zonemd,
    ),
    Requirement(
        "tld-servers",
        "Each zone has two secondaries or more.",
        "RFC 2182 §5",
        "add secondaries",
        zones.judge_servers,
    ),
    Requirement(
        "tld-transfer-tsig",
        "Each transfer is authenticated by TSIG with HMAC-SHA-256 or better.",
        "RFC 8945 §6",
        "write tsig for each secondary and primary, and no addresses in allow_transfer",
        zones.judge_transfers,
    ),
    Requirement(
        "tld-guard",
        "Input that changes more than 30 % of the names is refused until an operator accepts it.",
        "dnssecd",
        'write max_change = "30%" or less',
        zones.judge_guard,
    ),
    Requirement(
        "tld-alerts",
        "Alerts reach operators in two ways, or escalate.",
        "RFC 6841 §4.4",
        "write a second channel, or escalate_to in [alerts.mail]",
        zones.judge_escalation,
    ),
)

#: Profile → requirements, in the order in which they are printed. The first profile is the default.
PROFILES: Final[Mapping[str, tuple[Requirement, ...]]] = MappingProxyType(
    {"keys": _KEYS, "sp800-81r3": _SP800_81R3, "rfc9276": _RFC9276, "tld": _TLD}
)


def judge_profile(profile: str, config: Config, names: tuple[str, ...], seen: Seen) -> tuple[Finding, ...]:
    """Return the finding on each requirement of a profile for the zones with these names. Raise KeyError."""
    view = View(config, tuple(config.zones[name] for name in names), seen)
    return tuple(Finding(one, one.judge(view)) for one in PROFILES[profile])
