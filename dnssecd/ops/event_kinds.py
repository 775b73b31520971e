"""Every event there is: its stable name, how bad it is, what it means and what to do.

`docs/operations.md` is compared with this table by a test. A name is never reused for another meaning: alert
rules and people's notes refer to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from dnssecd.store.event_log import Severity

#: Worst first.
SEVERITIES: tuple[Severity, ...] = ("critical", "error", "warning", "info")


@dataclass(frozen=True, slots=True)
class EventKind:
    """meaning: when it fires. effect: what it does to the zone. remedy: what to do. mutable: can be muted."""

    name: str
    severity: Severity
    meaning: str
    effect: str
    remedy: str
    mutable: bool = True


_TABLE = (
    EventKind(
        "input-error",
        "error",
        "the zone's input cannot be read, parsed or accepted",
        "the last good version is served; changes do not reach the public",
        "correct the input at the place named; it is then loaded",
    ),
    EventKind(
        "ttl-rejected",
        "error",
        "a TTL in the input is not shorter than the signature refresh",
        "the input is refused; the last good version is served and its signatures are renewed",
        "lower the TTL named, or give the policy a longer signature_validity",
    ),
    EventKind(
        "delta-guard",
        "error",
        "the input removes or changes more of the zone than max_change allows",
        "the input is held back; the last good version is served",
        "compare both versions; if the change is intended: dnssecd zone reload ZONE --accept-change",
    ),
    EventKind(
        "verification-failed",
        "critical",
        "the independent verification found faults in a newly signed version",
        "the version is not published; the last good version is served",
        "this is a fault of the signer, its HSM or this program: keep the log and report it",
    ),
    EventKind(
        "signing-failed",
        "error",
        "signatures could not be made",
        "the last good version is served until its signatures expire (see the runway)",
        "check the key service's log, and test the key store: dnssecd keystore test",
    ),
    EventKind(
        "signer-unreachable",
        "error",
        "the key service does not answer",
        "nothing can be signed; the last good versions are served until their signatures expire",
        "start dnssecd-signer.service, or find out why it does not answer",
    ),
    EventKind(
        "runway-low",
        "critical",
        "the first signature of the zone expires soon and has not been renewed",
        "validating resolvers treat the zone as bogus from that moment",
        "find out why signing stopped: dnssecd explain ZONE",
        mutable=False,
    ),
    EventKind(
        "secondary-lagging",
        "warning",
        "a secondary still serves an older serial although it was notified",
        "resolvers that ask it see old data; rollovers are paused",
        "check the secondary's log: may it transfer, and does it receive NOTIFY from dnssecd?",
    ),
    EventKind(
        "secondary-unreachable",
        "warning",
        "a secondary does not answer",
        "dnssecd cannot see what it serves; rollovers are paused",
        "check that the secondary is running and that its address and TSIG key are correct",
    ),
    EventKind(
        "secondary-rejects-tsig",
        "warning",
        "a secondary rejects the TSIG key of dnssecd's queries",
        "dnssecd cannot see what it serves, and it probably cannot transfer; rollovers are paused",
        "make name, algorithm and secret of the key the same on both hosts, and set both clocks",
    ),
    EventKind(
        "notify-unanswered",
        "warning",
        "a secondary does not accept dnssecd's NOTIFY",
        "it learns of changes only when its SOA refresh timer runs out",
        "allow NOTIFY from this host's address at the secondary, and with the key that it expects",
    ),
    EventKind(
        "peer-refused",
        "warning",
        "a request of a configured secondary, primary or TSIG key was refused",
        "dnssecd did not do what the peer requested; a secondary may not get new versions",
        "compare the key, its secret, the clock and the access lists on both sides, as the remedy says",
    ),
    EventKind(
        "serial-backwards",
        "critical",
        "a secondary serves a serial above dnssecd's",
        "it no longer transfers new versions",
        "find out which other server published the zone; then: dnssecd explain ZONE",
    ),
    EventKind(
        "first-publication-waiting",
        "warning",
        "it is not known whether the zone is already signed elsewhere",
        "nothing is published",
        'make the parent or secondary named reachable, or set parent = "none", or: '
        "dnssecd zone reload ZONE --first-publication",
    ),
    EventKind(
        "restored-waiting",
        "error",
        "a zone that was restored from a backup may not be published yet",
        "dnssecd does not serve the zone; secondaries serve their copy until SOA expire or until signatures expire",
        "the cause names the server or key that is missing: dnssecd explain ZONE",
    ),
    EventKind(
        "removed-zone-back",
        "error",
        "a removed zone is configured again, and its previous keys are still published or still have a DS",
        "nothing is published: with new keys it would be bogus",
        "bring it back with keys, their states and serial: dnssecd zone restore ZONE",
    ),
    EventKind(
        "foreign-dnskey",
        "critical",
        "the zone is published with a DNSKEY or DS that matches none of dnssecd's keys",
        "nothing is published: it would be bogus",
        "import the keys in use (dnssecd key import), or remove the DS and wait its TTL",
    ),
    EventKind(
        "ds-mismatch",
        "critical",
        "the parent has a DS that matches no key signing the DNSKEY RRset",
        "if no other DS matches, the zone is bogus",
        "correct the DS at the parent: dnssecd ds show ZONE",
        mutable=False,
    ),
    EventKind(
        "ds-missing",
        "error",
        "the parent does not have the DS that should be there",
        "the chain of trust is broken, or the rollover waits",
        "hand the DS to the parent: dnssecd ds show ZONE",
    ),
    EventKind(
        "ds-handover",
        "warning",
        "a DS is to be added to, or removed from, the parent, and no automatic way to do so is known",
        "the rollover waits; the keys in use stay in use, nothing breaks",
        "hand over what is listed, unless the parent takes it automatically: dnssecd ds show ZONE",
    ),
    EventKind(
        "ds-automation-failed",
        "error",
        "a DS change could not be sent to the parent by dynamic update or by the registrar's hook",
        "the parent does not get the change by this channel; the rollover waits",
        "remove the cause (the change is tried again), or hand the DS over yourself: dnssecd ds show ZONE",
    ),
    EventKind(
        "rollover-overdue",
        "warning",
        "a rollover step waits longer than planned",
        "the old key stays in use; nothing breaks",
        "see what the step waits for: dnssecd explain ZONE",
    ),
    EventKind(
        "key-compromised",
        "critical",
        "a key of the zone was reported compromised and is still trusted by validators",
        "anyone who has the key can forge answers for the zone until it is replaced",
        "follow the recovery plan that dnssecd key compromised printed; current state: dnssecd explain ZONE",
        mutable=False,
    ),
    EventKind(
        "zone-not-configured",
        "warning",
        "a stored zone is not in the configuration",
        "it is still served and kept signed",
        "put it back into the configuration, or: dnssecd config reload --remove ZONE",
    ),
    EventKind(
        "refresh-capped",
        "warning",
        "signatures are renewed less than a week before they expire, and SOA expire + largest TTL is longer",
        "a secondary that gets no new version for that time can serve expired signatures",
        "lengthen signature_validity, or lower SOA expire",
    ),
    EventKind(
        "grant-overlap",
        "warning",
        "the zone file has RRsets that a grant gives to dynamic updates",
        "the RRsets in the file are ignored",
        "remove them from the file, or the grant from allow_update",
    ),
    EventKind(
        "update-refused",
        "warning",
        "a dynamic update was refused: a secondary would refuse the zone with it, or it would cost too much",
        "nothing was changed; the client got REFUSED with the reason (RFC 8914)",
        "correct the client, or, where your secondaries accept it, raise the bound that the cause names (update_…)",
    ),
    EventKind(
        "update-ignored",
        "warning",
        "a dynamic update was answered NOERROR, but a part of it has no effect, is hidden, or harms the zone",
        "the rest of the update is served; the client may wait in vain for the part that the cause names",
        "correct the client, or move the CNAME, delegation or DNAME that is in the way",
    ),
    EventKind(
        "store-failed",
        "critical",
        "the database could not be read or written",
        "changes are refused; the last good versions are still served",
        "check disk space and the health of the file system",
    ),
    EventKind(
        "stored-zone-changed",
        "error",
        "a zone's database was written or replaced while dnssecd was not running",
        "the whole zone is verified before it is served; its journal is dropped, so secondaries transfer it whole once",
        "find out what changed it: a restored disk, a copied file, an edit, a damaged disk",
    ),
    EventKind(
        "disk-low",
        "error",
        "the disk that holds the state is nearly full",
        "changes and re-signing will soon fail",
        "free space in state_dir's file system",
    ),
    EventKind(
        "clock-step",
        "critical",
        "the clock jumped, or the machine was off longer than expected",
        "nothing new is signed until the time is confirmed; the last good versions are served",
        "check the time on this host (chronyc tracking), then confirm",
    ),
    EventKind(
        "keystore-mode-fixed",
        "warning",
        "a key file or directory could be read by others; the mode was corrected",
        "the keys may have been seen",
        "find out what changed the mode; if other users may have read the keys: dnssecd key compromised",
    ),
    EventKind(
        "keystore-media-needed",
        "warning",
        "a removable key store is needed soon and not mounted",
        "signatures that fall due cannot be made",
        "mount the medium before the time named",
    ),
    EventKind(
        "keystore-media-present",
        "warning",
        "a removable key store is still mounted though not needed",
        "its keys are exposed longer than necessary",
        "unmount and remove the medium",
    ),
    EventKind(
        "token-down",
        "error",
        "an HSM token fails or does not answer",
        "other tokens take over if there are any; otherwise nothing can be signed",
        "check the HSM and its client's log: dnssecd keystore test",
    ),
    EventKind(
        "token-evicted",
        "critical",
        "an HSM token gave a wrong signature or holds another key",
        "the token is no longer used",
        "compare its keys with the others': dnssecd keystore test",
    ),
    EventKind(
        "key-missing",
        "critical",
        "a key the zone needs is not in its key store",
        "nothing can be signed with it; no new key is made in its place",
        "restore the key from a backup, or mount its store",
    ),
    EventKind(
        "key-misuse-refused",
        "critical",
        "the signer was asked to sign something the key is not for, and refused",
        "nothing was signed",
        "a process tries to misuse the keys; find it with: dnssecd key audit",
        mutable=False,
    ),
    EventKind(
        "primary-unreachable",
        "error",
        "no primary of the zone answers",
        "changes do not arrive; the last good version is served",
        "check that the primaries are running and allow transfers to dnssecd",
    ),
    EventKind(
        "zone-expired",
        "critical",
        "no primary has confirmed the zone for as long as SOA expire, and the zone is configured to follow that",
        "queries for the zone get SERVFAIL, and it cannot be transferred; no data is lost",
        'make a primary answer: the zone is then served again immediately; or write soa_expire = "serve"',
    ),
    EventKind(
        "config-rejected",
        "error",
        "a new configuration was refused",
        "the previous configuration stays in use",
        "dnssecd check-config names every error",
    ),
    EventKind(
        "alert-undeliverable",
        "error",
        "alerts cannot be delivered",
        "operators do not receive alerts about other events",
        "check the mail server, then: dnssecd alerts test",
        mutable=False,
    ),
    EventKind(
        "token-needs-operator",
        "error",
        "an HSM token cannot be opened until an operator acts: its PIN is refused, locked or not readable",
        "other tokens take over if there are any; otherwise nothing can be signed; the PIN is not tried again",
        "put the right PIN into the file named; it is tried as soon as the file changes",
    ),
    EventKind(
        "token-session-limit",
        "warning",
        "an HSM token allows fewer sessions than are configured",
        "signing continues with fewer sessions",
        "lower sessions in the key store, or find out which other client uses the token",
    ),
    EventKind(
        "key-not-in-token",
        "critical",
        "an HSM token does not hold a key that it should, or another key under its CKA_ID",
        "the key is not used there; other tokens take over if there are any",
        "clone the key into the token with the vendor's tool, then: dnssecd keystore test",
    ),
    EventKind(
        "signature-wrong",
        "critical",
        "a key of the software key store made a signature that does not verify",
        "nothing was published with it; the key is read from its file again",
        "test this machine's memory and disk, then: dnssecd keystore test",
    ),
    EventKind(
        "audit-log-failed",
        "error",
        "the key service's audit log cannot be written, or its hash chain does not hold",
        "signing continues; keys cannot be created or removed while the log cannot be written",
        "check disk space, and find out what changed the log: dnssecd key audit",
    ),
)

#: name → kind, for all events.
EVENT_KINDS = MappingProxyType({kind.name: kind for kind in _TABLE})
