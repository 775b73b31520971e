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
    """meaning: when it fires. effect: what it does to the zone. remedy: what to do. mutable: may be muted."""

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
        "correct the input at the place named; it is taken as soon as it is good",
    ),
    EventKind(
        "ttl-rejected",
        "error",
        "a TTL in the input is not shorter than the signature refresh",
        "the input is not taken; the last good version is served and kept fresh",
        "lower the TTL named, or give the policy a longer signature_validity",
    ),
    EventKind(
        "delta-guard",
        "error",
        "the input removes or changes more of the zone than max_change allows",
        "the input is held back; the last good version is served",
        "look at the difference; if it is meant: dnssecd zone reload ZONE --accept-change",
    ),
    EventKind(
        "verification-failed",
        "critical",
        "the independent check found faults in a newly signed version",
        "the version is not published; the last good version is served",
        "this is a fault of the signer, its HSM or this program: keep the log and report it",
    ),
    EventKind(
        "signing-failed",
        "error",
        "signatures could not be made",
        "the last good version is served until its signatures expire (see the runway)",
        "look at the signer's log: dnssecd keystore test",
    ),
    EventKind(
        "signer-unreachable",
        "error",
        "the key service does not answer",
        "nothing can be signed; the last good versions are served until their signatures expire",
        "start dnssecd-signer.service, or look why it does not answer",
    ),
    EventKind(
        "runway-low",
        "critical",
        "the first signature of the zone expires soon and has not been renewed",
        "the zone goes bogus for validating resolvers at that moment",
        "find out why signing stopped: dnssecd explain ZONE",
        mutable=False,
    ),
    EventKind(
        "secondary-lagging",
        "warning",
        "a secondary still serves an older serial although it was notified",
        "resolvers that ask it see old data; roll-over steps wait",
        "look at the secondary's log: is it allowed to transfer, does it get our NOTIFY?",
    ),
    EventKind(
        "secondary-unreachable",
        "warning",
        "a secondary does not answer",
        "it is not known what it serves; roll-over steps wait",
        "look whether the secondary runs and whether its address and TSIG key are right",
    ),
    EventKind(
        "secondary-rejects-tsig",
        "warning",
        "a secondary rejects the TSIG key of our questions",
        "dnssecd cannot see what it serves, and it probably cannot transfer; rollovers wait",
        "make name, algorithm and secret of the key the same on both hosts, and set both clocks",
    ),
    EventKind(
        "notify-unanswered",
        "warning",
        "a secondary does not take our NOTIFY",
        "it learns of changes only when its SOA refresh timer runs out",
        "allow NOTIFY from this host's address at the secondary, and with the key that it expects",
    ),
    EventKind(
        "peer-refused",
        "warning",
        "a request of a configured secondary, primary or TSIG key was refused",
        "what the peer asked for was not done; a secondary may not get new versions",
        "compare the key, its secret, the clock and the access lists on both sides, as the remedy says",
    ),
    EventKind(
        "serial-backwards",
        "critical",
        "a secondary serves a serial above ours",
        "it will not transfer our versions any more",
        "find out who else published the zone; then: dnssecd explain ZONE",
    ),
    EventKind(
        "first-publication-waiting",
        "warning",
        "it is not yet known whether the zone is already signed elsewhere",
        "nothing is published",
        'make the parent or secondary named reachable, or set parent = "none", or: '
        "dnssecd zone reload ZONE --first-publication",
    ),
    EventKind(
        "restored-waiting",
        "error",
        "a zone that was restored from a back-up may not be published yet",
        "we serve nothing of it; secondaries serve what they have until SOA expire or the signatures' end",
        "the cause names the server or key in the way: dnssecd explain ZONE",
    ),
    EventKind(
        "removed-zone-back",
        "error",
        "a zone that was removed is configured again, and its keys of before are still published or have their DS",
        "nothing is published: with new keys it would be bogus",
        "bring it back with keys, their states and serial: dnssecd zone restore ZONE",
    ),
    EventKind(
        "foreign-dnskey",
        "critical",
        "the zone is published with a DNSKEY or DS that none of our keys matches",
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
        "the chain of trust is broken, or the roll-over waits",
        "hand the DS to the parent: dnssecd ds show ZONE",
    ),
    EventKind(
        "ds-handover",
        "warning",
        "a DS is to be added to, or removed from, the parent, and it is not known to happen by itself",
        "the roll-over waits; the keys in use stay in use, nothing breaks",
        "hand over what is listed, if the parent does not take it by itself: dnssecd ds show ZONE",
    ),
    EventKind(
        "ds-automation-failed",
        "error",
        "the parent could not be told of a DS change by dynamic update or by the registrar's hook",
        "the parent does not learn of the change this way; the roll-over waits",
        "remove the cause (it is tried again), or hand the DS over yourself: dnssecd ds show ZONE",
    ),
    EventKind(
        "rollover-overdue",
        "warning",
        "a roll-over step waits longer than planned",
        "the old key stays in use; nothing breaks",
        "see what is awaited from whom: dnssecd explain ZONE",
    ),
    EventKind(
        "key-compromised",
        "critical",
        "a key of the zone was reported compromised and is still trusted by validators",
        "whoever has the key can forge answers for the zone until it is replaced",
        "follow the recovery plan that dnssecd key compromised printed; what is awaited: dnssecd explain ZONE",
        mutable=False,
    ),
    EventKind(
        "zone-not-configured",
        "warning",
        "a stored zone is not in the configuration",
        "it is served and kept signed as it was",
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
        "the zone file has RRsets that a grant gave to the updates",
        "the file's are ignored",
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
        "the rest of the update is served; the client may wait in vain for what the cause names",
        "correct the client, or move the CNAME, delegation or DNAME that is in the way",
    ),
    EventKind(
        "store-failed",
        "critical",
        "the database could not be read or written",
        "changes are refused; what is served stays",
        "look at disk space and the file system's health",
    ),
    EventKind(
        "stored-zone-changed",
        "error",
        "a zone's database was written or replaced while dnssecd was not running",
        "the whole zone is verified before it is served; its journal is dropped, so secondaries transfer it whole once",
        "find out who changed it: a restored disk, a copied file, an edit, a damaged disk",
    ),
    EventKind(
        "disk-low",
        "error",
        "the disk that holds the state is nearly full",
        "soon changes and re-signing will fail",
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
        "find out what changed the mode; if others may have read keys: dnssecd key compromised",
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
        "its keys are exposed longer than they have to be",
        "unmount and remove the medium",
    ),
    EventKind(
        "token-down",
        "error",
        "an HSM token fails or does not answer",
        "other tokens take over where there are any; else nothing can be signed",
        "look at the HSM and its client's log: dnssecd keystore test",
    ),
    EventKind(
        "token-evicted",
        "critical",
        "an HSM token gave a wrong signature or holds another key",
        "it is not used any more",
        "compare its keys with the others': dnssecd keystore test",
    ),
    EventKind(
        "key-missing",
        "critical",
        "a key the zone needs is not in its key store",
        "nothing can be signed with it; no new key is made in its place",
        "bring the key back from the back-up or mount its store",
    ),
    EventKind(
        "key-misuse-refused",
        "critical",
        "the signer was asked to sign something the key is not for, and refused",
        "nothing was signed",
        "someone or something tries to misuse the keys: look at dnssecd key audit",
        mutable=False,
    ),
    EventKind(
        "primary-unreachable",
        "error",
        "no primary of the zone answers",
        "changes do not arrive; the last good version is served",
        "look whether the primaries run and allow transfers to us",
    ),
    EventKind(
        "zone-expired",
        "critical",
        "no primary has confirmed the zone for as long as SOA expire, and the zone is configured to follow that",
        "the zone is answered SERVFAIL and not transferred; nothing of it is lost",
        'make a primary answer: the zone is served again at once; or write soa_expire = "serve"',
    ),
    EventKind(
        "config-rejected",
        "error",
        "a new configuration was refused",
        "the configuration in use stays in use",
        "dnssecd check-config names every error",
    ),
    EventKind(
        "alert-undeliverable",
        "error",
        "alerts cannot be delivered",
        "nobody is told of other events",
        "look at the mail server, then: dnssecd alerts test",
        mutable=False,
    ),
    EventKind(
        "token-needs-operator",
        "error",
        "an HSM token cannot be opened until a person has acted: its PIN is refused, locked or not readable",
        "other tokens take over where there are any; else nothing can be signed; the PIN is not tried again",
        "put the right PIN into the file named; it is tried as soon as the file changes",
    ),
    EventKind(
        "token-session-limit",
        "warning",
        "an HSM token allows fewer sessions than are configured",
        "signing goes on with the sessions there are",
        "lower sessions in the key store, or find out who else uses the token",
    ),
    EventKind(
        "key-not-in-token",
        "critical",
        "an HSM token does not hold a key that it should, or another key under its CKA_ID",
        "the key is not used there; other tokens take over where there are any",
        "clone the key into the token by its vendor's means, then: dnssecd keystore test",
    ),
    EventKind(
        "signature-wrong",
        "critical",
        "a key of the software key store made a signature that does not verify",
        "nothing was published with it; the key is read from its file anew",
        "test this machine's memory and disk, then: dnssecd keystore test",
    ),
    EventKind(
        "audit-log-failed",
        "error",
        "the key service's audit log cannot be written, or its hash chain does not hold",
        "signing goes on; making and removing keys fails while the log cannot be written",
        "look at disk space and who changed the log: dnssecd key audit",
    ),
)

#: name → kind, for all events.
EVENT_KINDS = MappingProxyType({kind.name: kind for kind in _TABLE})
