"""Which keys the sessions of one token see.

A session that does not see a key proves little: many modules read their list of objects when they are initialised, and
never again (tpm2-pkcs11, nShield by default, Google's kmsp11 by default). So a key is called absent only by a session
that was opened after the doubt arose; an older one is ended, and a fresh one looks.
"""

from __future__ import annotations

from collections.abc import Callable

#: After this time a key that was not there is looked for again.
LOOK_AGAIN_S = 30.0
#: A session younger than this is taken at its word, unless the key was seen in the token since it was opened. So the
#: sessions of a token that lost many keys are not ended once for each.
FRESH_S = 10.0


class KeySightings:
    """See the module. Times are monotonic seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.found: set[str] = set()
        self._monotonic = monotonic
        self._absent: dict[str, tuple[str, float]] = {}
        self._doubted_at: dict[str, float] = {}
        self._seen_at: dict[str, float] = {}

    def may_hold(self, key_id: str) -> bool:
        """Return False when the key was looked for a short time ago and not found."""
        _, until = self._absent.get(key_id, ("", 0.0))
        return until <= self._monotonic()

    def why_not(self, key_id: str) -> str:
        """Why the key could not be used here when it was last looked for, or ""."""
        return self._absent.get(key_id, ("", 0.0))[0]

    def can_tell(self, key_id: str, started_at: float) -> bool:
        """Tell whether a session started then, which does not see the key, can be trusted.

        Where it cannot, the doubt is noted: a session started from now on is trusted.
        """
        now = self._monotonic()
        if key_id in self._doubted_at and started_at >= self._doubted_at[key_id]:
            return True
        if now - started_at < FRESH_S and started_at >= self._seen_at.get(key_id, started_at):
            return True
        self._doubted_at.setdefault(key_id, now)
        return False

    def note_seen(self, key_id: str) -> None:
        """Note that the key was made, found or adopted in some session."""
        self._seen_at.setdefault(key_id, self._monotonic())

    def note_found(self, key_id: str) -> None:
        """Note that the key can be used."""
        self.note_seen(key_id)
        self.found.add(key_id)
        self._absent.pop(key_id, None)
        self._doubted_at.pop(key_id, None)

    def note_absent(self, key_id: str, why: str) -> None:
        """Note that the key cannot be used."""
        self.found.discard(key_id)
        self._doubted_at.pop(key_id, None)
        self._absent[key_id] = why, self._monotonic() + LOOK_AGAIN_S

    def start_again(self) -> None:
        """Look again for every key, because all sessions are new."""
        self._absent.clear()
        self.found.clear()

    def forget(self, key_id: str) -> None:
        """Forget a key that is no more."""
        self.found.discard(key_id)
        for known in (self._absent, self._doubted_at, self._seen_at):
            known.pop(key_id, None)
