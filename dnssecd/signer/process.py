"""The key service as a process: hardening, start-up, signals, end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from dnssecd import sdnotify
from dnssecd.clock import SystemClock
from dnssecd.keyservice_settings import KeystoreSettings, SignerSettings
from dnssecd.procs.signals import on_signal
from dnssecd.signer import files
from dnssecd.signer.audit import START, AuditLog
from dnssecd.signer.consent import Consents
from dnssecd.signer.errors import OperatorNeeded, ServiceError
from dnssecd.signer.keystore import Keystore
from dnssecd.signer.limits import Reread, describe_limits, never_changes
from dnssecd.signer.now import Now
from dnssecd.signer.pkcs11.store import Pkcs11Store
from dnssecd.signer.registry import Registry
from dnssecd.signer.server import Place, Server, serve
from dnssecd.signer.service import Service
from dnssecd.signer.software import SoftwareStore
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()
AUDIT_FILE = "audit.log"
LOCK_FILE = "lock"
TOKENS = "tokens"
CONSENT = "consent"
KNOWN_KEYS = "known-keys"
AUDITED_WARNINGS = frozenset(
    {"token evicted", "key file mode", "key file gone", "key missing", "key not destroyed"}
)
_PR_SET_DUMPABLE = 4


def run_signer(
    settings: SignerSettings,
    *,
    now: Now | None = None,
    reread: Reread = never_changes,
    ready: Callable[[], None] | None = None,
    failed: Callable[[str], None] = lambda why: None,
    end_with_stdin: bool = False,
) -> int:
    """Run the key service in the foreground until SIGTERM or SIGINT; return the exit status.

    `reread` returns the limits of a configuration that has changed. `ready` is called when the socket answers; systemd
    gets its message in any case. `failed` gets the reason when it cannot start. With `end_with_stdin` the service also
    ends when its standard input does: a child whose parent died does not stay behind.
    """
    protect_memory()
    os.umask(0o077)
    try:
        return asyncio.run(
            _run(settings, now or SystemClock().now, reread, ready or (lambda: None), end_with_stdin)
        )
    except ServiceError as error:
        log.error("key service cannot start", fault=error.fault, error=str(error))
        failed(str(error))
    except (OSError, ValueError) as error:
        log.error("key service cannot start", fault="operator", error=str(error))
        failed(str(error))
    return 1


def protect_memory() -> None:
    """Forbid core dumps, and reading of this process's memory by others of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("memory of the key service could not be protected", errno=ctypes.get_errno())


async def _run(
    settings: SignerSettings, now: Now, reread: Reread, ready: Callable[[], None], end_with_stdin: bool
) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        on_signal(loop, number, stop.set)
    if end_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _stdin_readable, loop, stop)
    state = Path(settings.state_dir)
    files.make_private_directory(state)
    if not files.may_own(state):
        raise OperatorNeeded(
            f"{state} belongs to user {state.stat().st_uid}, not to the key service's user {os.geteuid()}: chown it,"
            " or name another state directory"
        )
    state_lock = _only_service_in(state)
    audit_log = AuditLog(state / AUDIT_FILE, now)
    warnings = WarningBook(now, partial(_audit_warning, audit_log))
    place = Place(Path(settings.socket), settings.socket_mode, warnings)
    place.take()
    audit_log.open(partial(warnings.add, "audit log broken", str(audit_log.path)))
    new_log = audit_log.head == f"0:{START}"
    if audit_log.fault:
        warnings.add("audit log broken", str(audit_log.path), audit_log.fault)
    if wrong := files.correct_mode(state, 0o700) or files.foreign_owner(state):
        warnings.add("key file mode", str(state), wrong, firing=False)
    stores = {one.name: make_store(one, settings, warnings, now) for one in settings.keystores}
    consents = Consents(state / CONSENT, audit_log, warnings, now)
    consents.load()
    service = Service(
        stores.values(),
        audit_log,
        warnings,
        loop.time,
        now,
        settings.limits,
        consents,
        reread,
    )
    on_signal(loop, signal.SIGHUP, service.limits_may_have_changed)
    server = Server(service, warnings, frozenset(settings.allowed_uids), settings.officer_gid)
    try:
        for store in stores.values():
            await store.start()
        if new_log and any(len(store.registry) for store in stores.values()):
            detail = "the log is gone, but there are keys: what was done with them before is not known"
            warnings.add("audit log broken", str(audit_log.path), detail)
        _note(audit_log, warnings, "started", **describe_limits(settings.limits))
        log.info("key service ready", socket=settings.socket, stores=list(stores), audit=audit_log.head)
        await serve(server, service, place.wait, stop, lambda: _ready(ready))
    finally:
        place.leave()
        for store in stores.values():
            await store.stop()
        _note(audit_log, warnings, "stopped")
        audit_log.close()
        os.close(state_lock)
    log.info("key service ended", audit=audit_log.head)
    return 0


def _only_service_in(state: Path) -> int:
    """Take the lock of a state directory: two services would tear its audit log. OperatorNeeded when it is taken."""
    lock = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise OperatorNeeded(f"another key service works in {state}; stop it first") from None
    return lock


def make_store(
    settings: KeystoreSettings, all_of: SignerSettings, warnings: WarningBook, now: Now
) -> Keystore:
    """Return the key store the settings describe, not started yet."""
    derived = settings.type == "software" and not settings.removable
    registry = Registry(Path(all_of.state_dir) / KNOWN_KEYS / settings.name, derived=derived)
    if settings.type == "software":
        return SoftwareStore(
            settings,
            registry,
            warnings,
            now,
            threads=all_of.threads,
            deterministic=settings.deterministic_ecdsa or all_of.deterministic_ecdsa,
        )
    return Pkcs11Store(settings, registry, warnings, now, Path(all_of.state_dir) / TOKENS)


def _note(audit_log: AuditLog, warnings: WarningBook, event: str, **fields: str | int) -> None:
    """Write an entry, or report why not: a full disk must not stop signing. Only changes of keys need the log."""
    try:
        audit_log.append(event, pid=os.getpid(), **fields)
    except OSError as error:
        warnings.add("audit log failing", str(audit_log.path), str(error))


def _audit_warning(audit_log: AuditLog, code: str, subject: str, detail: str) -> None:
    if code in AUDITED_WARNINGS:
        with contextlib.suppress(OSError):  # reported when the use counts cannot be written either
            audit_log.append("warning", code=code, subject=subject, detail=detail)


def _stdin_readable(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()


def _ready(ready: Callable[[], None]) -> None:
    sdnotify.notify("READY=1")
    ready()
