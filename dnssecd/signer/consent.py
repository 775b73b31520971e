"""The consent of a second person: requests that wait for it, on disk, with an end.

A request that needs consent is not carried out. It is written down under a number, and answered with that number. A key
officer who is another user gives consent. Then the first user repeats the request within an hour, and it is carried
out, once. What was refused, was not repeated in time, or is to be done a second time, must be asked for again. Nothing
secret is stored: not the request itself, only which act on which key it is.

Layout: `DIRECTORY/<id>.json`, one file for each. Each step is in the audit log before it is written here; a file that
cannot be read is no consent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog

from dnssecd.keyservice_protocol import Consent, ConsentAct
from dnssecd.signer import files
from dnssecd.signer.audit import AuditLog
from dnssecd.signer.errors import BadRequest, Busy, ConsentNeeded, Refused
from dnssecd.signer.now import Now
from dnssecd.signer.peers import Peer
from dnssecd.signer.warnings import WarningBook

log = structlog.get_logger()
SUFFIX = ".json"
WAITING_MAX = 1000
#: The most that one user's requests take of these places: no user shuts the others out.
WAITING_OF_USER_MAX = 400
WAITS_S = 7 * 86_400
GIVEN_S = 3600
#: How far a clock may be set back, in an adjustment, with no harm to what waits.
CLOCK_BACK_S = 300


class Consents:
    """See the module. `directory` is of the key service's own, 0700."""

    def __init__(self, directory: Path, audit_log: AuditLog, warnings: WarningBook, now: Now) -> None:
        self._directory = directory
        self._audit = audit_log
        self._warnings = warnings
        self._now = now
        self._known: dict[str, Consent] = {}

    def load(self) -> None:
        """Read what is on disk."""
        files.make_private_directory(self._directory)
        files.remove_temporary(self._directory)
        for path in self._directory.glob("*" + SUFFIX):
            try:
                one = msgspec.json.decode(path.read_bytes(), type=Consent)
            except (OSError, msgspec.DecodeError) as error:
                log.warning("a request for consent cannot be read", path=str(path), error=str(error))
                files.remove(path)
                continue
            self._known[one.id] = one
        self._report()

    def all(self) -> tuple[Consent, ...]:
        """Return all requests, the oldest first."""
        self.expire()
        return tuple(sorted(self._known.values(), key=lambda one: (one.asked_at, one.id)))

    @contextmanager
    def use(self, act: ConsentAct, subject: str, detail: str, peer: Peer) -> Iterator[None]:
        """Use the consent that a second person gave to this act; else write the request down, and ConsentNeeded.

        It serves once. If the act fails, it is there again for the rest of its time.
        """
        self.expire()
        known = self._find(act, subject, peer.uid)
        if known is None:
            known = self._ask(act, subject, detail, peer.uid)
        if known.given_by < 0:
            raise ConsentNeeded(
                f"{detail} waits for the consent of a second person: a key officer who is not user {peer.uid}"
                f" gives it with `dnssecd key consent give {known.id}`; then repeat the command"
            )
        self._drop(known, "consent used", by=peer.uid)
        try:
            yield
        except BaseException:
            self._audit.append("consent not used up", consent=known.id, act=act, subject=subject, by=peer.uid)
            self._put(known)
            raise

    def has(self, act: ConsentAct, subject: str, asked_by: int) -> bool:
        """Return whether a second person gave consent to an act that the key service does by itself."""
        self.expire()
        known = self._find(act, subject, asked_by)
        return known is not None and known.given_by >= 0

    def ask(self, act: ConsentAct, subject: str, detail: str, asked_by: int) -> None:
        """Write down a request of the key service itself, unless it is there or there is no room now."""
        if self._find(act, subject, asked_by) is None and self._refusal_of_room(asked_by) == "":
            self._ask(act, subject, detail, asked_by)

    def give(self, consent_id: str, peer: Peer) -> Consent:
        """Note a second person's consent."""
        known = self._get(consent_id)
        if not peer.is_officer:
            raise Refused(
                f"user {peer.uid} is not a key officer: consent is given by members of the group [roles] key_officer,"
                " never by the daemon's user or the key service's"
            )
        if known.asked_by == peer.uid:
            raise Refused(f"user {peer.uid} asked for it: the consent must be another person's")
        if known.given_by >= 0:
            return known
        self._audit.append(
            "consent given", consent=known.id, act=known.act, subject=known.subject, by=peer.uid
        )
        given = msgspec.structs.replace(known, given_by=peer.uid, ends_at=int(self._now()) + GIVEN_S)
        self._put(given)
        return given

    def refuse(self, consent_id: str, peer: Peer) -> Consent:
        """Drop a request; also the one who asked may."""
        known = self._get(consent_id)
        self._drop(known, "consent refused", by=peer.uid)
        return known

    def settle(self, act: ConsentAct, subject: str) -> None:
        """Drop what has become pointless, since the act was done or cannot be done any more."""
        for one in list(self._known.values()):
            if (one.act, one.subject) == (act, subject):
                self._drop(one, "consent settled")

    def expire(self) -> None:
        """Drop the requests that waited too long, and the consent that was not used in time.

        A clock that is set back makes nothing last longer.
        """
        now = self._now()
        for one in list(self._known.values()):
            begun_at = one.ends_at - (WAITS_S if one.given_by < 0 else GIVEN_S)
            if now >= one.ends_at or now < begun_at - CLOCK_BACK_S:
                self._drop(one, "consent expired")

    def _find(self, act: ConsentAct, subject: str, asked_by: int) -> Consent | None:
        wanted = (act, subject, asked_by)
        return self._first(lambda one: (one.act, one.subject, one.asked_by) == wanted)

    def _first(self, matches: Callable[[Consent], bool]) -> Consent | None:
        return next(filter(matches, self._known.values()), None)

    def _get(self, consent_id: str) -> Consent:
        self.expire()
        if consent_id not in self._known:
            raise BadRequest(
                f"no request {consent_id} waits for consent; `dnssecd key consent list` shows all"
            )
        return self._known[consent_id]

    def _ask(self, act: ConsentAct, subject: str, detail: str, uid: int) -> Consent:
        if why := self._refusal_of_room(uid):
            raise Busy(why)
        now = int(self._now())
        one = Consent(secrets.token_hex(4), act, subject, detail, uid, now, now + WAITS_S)
        self._audit.append("consent asked for", consent=one.id, act=act, subject=subject, by=uid)
        self._put(one)
        return one

    def _refusal_of_room(self, uid: int) -> str:
        of_user = sum(one.asked_by == uid for one in self._known.values())
        if of_user >= WAITING_OF_USER_MAX or len(self._known) >= WAITING_MAX:
            return f"{len(self._known)} requests wait for consent, {of_user} of them from user {uid}"
        return ""

    def _put(self, one: Consent) -> None:
        files.write_atomically(self._path(one.id), msgspec.json.encode(one))
        self._known[one.id] = one
        self._report()

    def _drop(self, one: Consent, event: str, **fields: str | int) -> None:
        self._audit.append(event, consent=one.id, act=one.act, subject=one.subject, **fields)
        files.remove(self._path(one.id))
        self._known.pop(one.id, None)
        self._report()

    def _report(self) -> None:
        waiting = [one for one in self._known.values() if one.given_by < 0]
        if not waiting:
            self._warnings.clear("consent needed", "keys")
            return
        oldest = min(waiting, key=lambda one: one.asked_at)
        more = f", and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        self._warnings.add("consent needed", "keys", f"{oldest.detail} ({oldest.id}){more}")

    def _path(self, consent_id: str) -> Path:
        return self._directory / (consent_id + SUFFIX)
