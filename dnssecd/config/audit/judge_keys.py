"""Judges of requirements on private keys, the key service and its log."""

from __future__ import annotations

from dnssecd.config.audit.terms import (
    Judgement,
    View,
    all_of,
    each_policy,
    met,
    met_if,
    not_known,
    not_met,
)
from dnssecd.config.model import Keystore, OfflineKeystore, Pkcs11Keystore, Policy, SoftwareKeystore
from dnssecd.core.utc import moment
from dnssecd.durations import format_duration
from dnssecd.keyservice_protocol import TokenStatus

DAY = 86_400
BACKUP_AGE_MAX_S = 90 * DAY
TRASH_MIN_S = 7 * DAY
CEILING_MAX_S = 60 * DAY
#: An audit shows for a year that the log went back.
LOG_FAULT_SHOWN_S = 365 * DAY
SILENT = "the key service does not answer"

_TOKEN_EVENTS = (
    "token-down",
    "token-needs-operator",
    "token-session-limit",
    "token-unwell",
    "token-memory-low",
    "token-evicted",
)


def judge_module(view: View) -> Judgement:
    """Judge whether each key store is a module with a declared validation."""
    if not view.stores:
        return not_known("no zone is signed")
    return all_of(map(_judge_module, view.stores), "")


def _judge_module(store: Keystore) -> Judgement:
    if isinstance(store, SoftwareKeystore):
        return not_met(f"key store {store.name} is files; its cryptography (OpenSSL) is not validated")
    kind = "off-line" if isinstance(store, OfflineKeystore) else "PKCS#11"
    if store.validated:
        return met(f'key store {store.name} ({kind}): the operator declares "{store.validated}"')
    return not_known(f"key store {store.name} ({kind}): the configuration declares no validation")


def judge_sealed(view: View) -> Judgement:
    """Judge whether a copy of the disk gives no private key away."""
    if view.seen.status is None or not view.stores:
        return not_known(SILENT if view.seen.status is None else "no zone is signed")
    bad = [f"{event.subject}: {event.cause}" for event in view.firing("key-extractable")]
    parts = [*map(not_met, bad), *map(_judge_sealed, view.stores)]
    return all_of(parts, "")


def _judge_sealed(store: Keystore) -> Judgement:
    if isinstance(store, Pkcs11Keystore):
        if store.sharing == "own" and store.passphrase_file is None:
            return not_met(
                f"key store {store.name}: the passphrase is beside the node's encrypted sealing key"
            )
        return met(f"key store {store.name}: keys in tokens, not extractable")
    if isinstance(store, OfflineKeystore):
        return met(f"key store {store.name}: the KSK is not on this machine")
    if store.passphrase_file is None:
        return not_met(f"key store {store.name}: the passphrase is beside the encrypted keys")
    return met(f"key store {store.name}: AES-256-GCM, passphrase in {store.passphrase_file}")


def judge_modes(view: View) -> Judgement:
    """Judge whether the key service found all its files with the right modes."""
    if view.seen.status is None:
        return not_known(SILENT)
    wrong = [f"{event.subject}: {event.cause}" for event in view.firing("keystore-mode-fixed")]
    return all_of(
        map(not_met, wrong), "the key service checks owner and mode of each file; none was wrong within a day"
    )


def judge_apart(view: View) -> Judgement:
    """Judge whether the key service has a process and a user of its own."""
    if view.config.signer.socket is None:
        return not_met("the daemon starts the key service under its own user")
    users = view.seen.users
    if view.seen.status is None or users is None:
        return not_known(SILENT if view.seen.status is None else "the key service's user is not known")
    shown = ", ".join(map(str, sorted(users))) or "0"
    if view.seen.daemon_user in users:
        return not_met(f"key service and daemon have the same user, {view.seen.daemon_user}")
    return met(f"process {view.seen.status.pid}, user {shown}; the daemon is user {view.seen.daemon_user}")


@each_policy
def judge_role_stores(policy: Policy) -> Judgement:
    """Judge whether KSK and ZSK are in different key stores."""
    if policy.ksk is None or policy.zsk is None:
        return not_met("one key (CSK) has both roles")
    ksk, zsk = policy.ksk.keystore, policy.zsk.keystore
    return met_if(ksk != zsk, f"KSK in {ksk}, ZSK in {zsk}")


def judge_offline(view: View) -> Judgement:
    """Judge whether KSKs sign at ceremonies only."""

    def judge(policy: Policy) -> Judgement:
        store = policy.keystore_of("ksk" if policy.csk is None else "csk")
        offline = view.is_offline(store)
        return met_if(offline, f"the KSK is in {store}, {'off-line' if offline else 'on-line'}")

    return each_policy(judge)(view)


@each_policy
def judge_backup_required(policy: Policy) -> Judgement:
    """Judge whether no key is used before its backup."""
    if not policy.require_backup:
        return not_met("require_backup = false")
    return met(f"require_backup, or {policy.held_by_min} tokens hold the key (held_by_min)")


def judge_backup_age(view: View) -> Judgement:
    """Judge whether each key in use is in a backup that was confirmed not long ago."""
    parts = [not_known(f"{zone}: its keys cannot be read") for zone in view.seen.unread]
    for key in view.seen.keys:
        name = f"{key.zone} {key.role} {key.tag}"
        if key.keystore in view.config.keystores and view.is_offline(key.keystore):
            parts.append(met(f"{name}: kept by the ceremony"))
        elif key.backed_up_at is None:
            parts.append(not_met(f"{name}: no confirmed backup"))
        else:
            age = int(max(view.seen.now - key.backed_up_at, 0)) // DAY
            fresh = age * DAY <= BACKUP_AGE_MAX_S
            parts.append(met_if(fresh, f"{name}: backup confirmed {age} days ago"))
    if not parts:
        return not_known("no zone is published yet")
    return all_of(parts, "")


def judge_standby(view: View) -> Judgement:
    """Judge whether a successor for each key is published already; a KSK at ceremonies can have none."""

    def judge(policy: Policy) -> Judgement:
        wanted = {"standby_ksk": policy.standby_ksk}
        if policy.csk is None:
            wanted["standby_zsk"] = policy.standby_zsk
            if view.is_offline(policy.keystore_of("ksk")):
                del wanted["standby_ksk"]
        return all_of((met_if(there, f"{key} = {str(there).lower()}") for key, there in wanted.items()), "")

    return each_policy(judge)(view)


@each_policy
def judge_trash(policy: Policy) -> Judgement:
    """Judge whether a removed key can be restored for some time."""
    kept = policy.destroy_after
    return met_if(kept >= TRASH_MIN_S, f'destroy_after = "{format_duration(kept)}"')


@each_policy
def judge_two_person(policy: Policy) -> Judgement:
    """Judge whether one person alone cannot destroy, export or import keys."""
    return met_if(policy.two_person, f"two_person = {str(policy.two_person).lower()}")


def judge_ceiling(view: View) -> Judgement:
    """Judge the longest validity that the key service signs, and that the daemon cannot change it."""
    if view.config.signer.socket is None:
        return not_met("the key service is the daemon's child: the limit holds, but protects from nothing")

    def judge(policy: Policy) -> Judgement:
        most = policy.validity_max
        return met_if(most <= CEILING_MAX_S, f'validity_max = "{format_duration(most)}"')

    return each_policy(judge)(view)


def judge_roles(view: View) -> Judgement:
    """Judge whether operators and key officers are different groups."""
    roles = view.config.roles
    if roles.operator is None or roles.key_officer is None:
        missing = [name for name in ("operator", "key_officer") if getattr(roles, name) is None]
        return not_met(f"[roles] names no group for {' and '.join(missing)}")
    seen = f"operator = {roles.operator}, key_officer = {roles.key_officer}"
    return met_if(roles.operator != roles.key_officer, seen)


def judge_log(view: View) -> Judgement:
    """Judge whether the audit log is written and its chain holds."""
    log = view.seen.log
    if log is None:
        return not_known("the key service does not show its audit log")
    failing = [event.cause for event in view.firing("audit-log-failed") if event.subject != "head"]
    if failing or not log.ok:
        return not_met("; ".join(failing) or log.detail)
    return met(f"the chain of {log.count} entries holds")


def judge_head(view: View) -> Judgement:
    """Judge whether the log is the one that the daemon saw before. The fault counts for longer than its event lasts."""
    seen = view.seen
    if seen.log_fault and seen.now - seen.log_fault_at < LOG_FAULT_SHOWN_S:
        return not_met(f"seen at {moment(seen.log_fault_at)}: {seen.log_fault}")
    if seen.status is None or not seen.status.audit_head:
        return not_known(SILENT if seen.status is None else "the key service has no audit log")
    return met(f"the head is {seen.status.audit_head[:24]}…, not before the last that the daemon saw")


def judge_tokens(view: View) -> Judgement:
    """Judge whether all tokens in use work and report nothing wrong."""
    if not view.tokens:
        return met("no key store is a token")
    status = view.seen.status
    if status is None:
        return not_known(SILENT)
    events = [not_met(f"{event.subject}: {event.cause}") for event in view.firing(*_TOKEN_EVENTS)]
    names = {store.name for store in view.tokens}
    tokens = [token for store in status.stores if store.name in names for token in store.tokens]
    return all_of([*events, *map(_judge_token, tokens)], "the key service reports no token")


def _judge_token(token: TokenStatus) -> Judgement:
    flags = f", flags {' '.join(token.flags)}" if token.flags else ""
    return met_if(token.state == "ok", f"token {token.name}: {token.state}{flags}")


def judge_present(view: View) -> Judgement:
    """Judge whether the key service has all keys that it should have."""
    if view.seen.status is None:
        return not_known(SILENT)
    missing = view.firing("key-missing", "key-not-in-token", "key-lost", "key-not-destroyed")
    parts = [not_met(f"{event.name} {event.subject}: {event.cause}") for event in missing]
    return all_of(parts, "no key is missing, lost, or left over after its destruction")
