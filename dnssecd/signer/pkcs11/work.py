"""What the sessions of one token do: commands, pieces of signing jobs, and test signatures in between."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from dnssecd.keyservice_settings import TokenSettings
from dnssecd.signer.errors import OperatorNeeded, ServiceError, Unavailable
from dnssecd.signer.key_file import Description
from dnssecd.signer.pkcs11.commands import Command, CommandQueue
from dnssecd.signer.pkcs11.health import TokenHealth
from dnssecd.signer.pkcs11.link import CallFailed, WorkerLost
from dnssecd.signer.pkcs11.session import Session, StaleSession, WrongAnswer
from dnssecd.signer.pkcs11.sightings import KeySightings
from dnssecd.signer.queue import FairQueue, Piece
from dnssecd.signer.registry import Registry
from dnssecd.signer.warnings import WarningBook

ATTEMPTS_MAX = 3
INFO_EVERY_S = 60.0


class SessionWork:
    """See the module. `may_take(key id)` tells whether this token is to sign with the key now.

    `busy`: sessions at work; `at_work`: those signing, by key id; `recent`: the last signatures made.
    """

    def __init__(
        self,
        settings: TokenSettings,
        queue: FairQueue,
        commands: CommandQueue,
        registry: Registry,
        health: TokenHealth,
        sightings: KeySightings,
        warnings: WarningBook,
        *,
        may_take: Callable[[str], bool],
        key_of: Callable[[str], Description | None],
        worse: Callable[[], None],
    ) -> None:
        self.busy = 0
        self.at_work: Counter[str] = Counter()
        self.recent: deque[list[bytes]] = deque(maxlen=2048)
        self._name = settings.name
        self._settings = settings
        self._queue = queue
        self._commands = commands
        self._registry = registry
        self._health = health
        self._sightings = sightings
        self._warnings = warnings
        self._may_take = may_take
        self._key_of = key_of
        self._worse = worse
        self._monotonic = asyncio.get_running_loop().time
        self._info_at = 0.0

    async def work(self, session: Session) -> None:
        """Work until the session fails, is stale, or the token is evicted."""
        while not self._health.evicted or self._health.on_trial:
            if session.link.dead:
                raise await session.link.death()
            if (command := self._commands.take(session)) is not None:
                await self._run(session, command)
            elif (piece := self._take(session)) is not None:
                await self._sign(session, piece)
            elif session.idle_s() >= self._settings.idle_canary_s:
                await self._canary(session)
            else:
                await self._wait(self._settings.idle_canary_s - session.idle_s())

    async def _wait(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._queue.wait()
        except TimeoutError:
            return

    def _take(self, session: Session) -> Piece | None:
        """Return what this session does next: its share of what is waiting, so that no other session idles."""
        if self._health.on_trial:
            return None
        share = -(-len(self._queue) // self._health.sessions)
        return self._queue.take(min(session.piece_size, max(1, share)), self._accepts)

    def _accepts(self, key_id: str) -> bool:
        return self._sightings.may_hold(key_id) and self._may_take(key_id)

    async def find(self, key: Description, session: Session) -> str:
        """Look a key up; return "" or why it cannot be used here, which is remembered and reported."""
        try:
            found = await session.find(key)
        except WrongAnswer as error:
            raise self._wrong(error) from None
        if found.absent and not self._sightings.can_tell(key.id, session.started_at):
            raise StaleSession
        subject = f"{key.id} {self._name}"
        if found.there:
            self._sightings.note_found(key.id)
            self._warnings.clear("key not in token", subject)
            return ""
        self._sightings.note_absent(key.id, found.detail)
        self._warnings.add("key not in token", subject, found.detail)
        self._worse()
        return found.detail

    def _wrong(self, error: WrongAnswer) -> WorkerLost:
        """Evict the token; returns what ends this session."""
        self._health.evict(str(error))
        return WorkerLost("wrong signature", str(error))

    async def _sign(self, session: Session, piece: Piece) -> None:
        key = self._key_of(piece.job.key_id)
        if key is None:
            piece.fail(Unavailable("the key was removed meanwhile"))
            return
        self.busy += 1
        self.at_work[key.id] += 1
        try:
            if await self.find(key, session):
                self._queue.put_back(piece)
                self._worse()
                return
            signatures, seconds = await session.sign(key, piece.preimages)
        except StaleSession:
            self._queue.put_back(piece)
            raise
        except WrongAnswer as error:
            lost = self._wrong(error)
            self._pass_on(piece)
            raise lost from None
        except CallFailed as error:
            self._health.gauges.errors[error.kind] += 1
            piece.fail(ServiceError(f"token {self._name}: {error}"))
            return
        except WorkerLost as error:
            self._health.note(error)
            self._pass_on(piece)
            raise
        except asyncio.CancelledError:
            piece.fail(Unavailable("the key service is stopping"))
            raise
        finally:
            self.busy -= 1
            self.at_work[key.id] -= 1
        self._hand_in(piece, signatures, seconds)

    def _hand_in(self, piece: Piece, signatures: list[bytes], seconds: float) -> None:
        if self._health.evicted:  # meanwhile, for what another session did
            self._pass_on(piece)
            return
        self._health.breaker.succeeded()
        self._health.gauges.called(seconds, len(signatures))
        self.recent.append(signatures)
        rest = piece.finish(signatures)
        if rest is not None:
            self._queue.put_back(rest)

    def _pass_on(self, piece: Piece) -> None:
        """Let another session do it, unless too many have failed on it."""
        if piece.attempts + 1 >= ATTEMPTS_MAX:
            piece.fail(self._health.unavailable())
        else:
            self._queue.give_back(piece)
            self._worse()

    async def _run(self, session: Session, command: Command) -> None:
        self.busy += 1
        try:
            result = await command.run(session)
        except StaleSession:
            self._commands.put_back(command)
            raise
        except WrongAnswer as error:
            command.fail(ServiceError(f"token {self._name} made {error}"))
            raise self._wrong(error) from None
        except CallFailed as error:
            self._health.gauges.errors[error.kind] += 1
            command.fail(_call_error(self._name, error))
        except WorkerLost as error:
            command.fail(Unavailable(f"token {self._name}: {error}", retry_in_s=1.0))
            raise
        except ServiceError as error:
            command.fail(error)
        except asyncio.CancelledError:
            command.fail(Unavailable("the key service is stopping"))
            raise
        except Exception:  # our own fault: the session ends, and the client does not wait for its deadline
            command.fail(ServiceError(f"token {self._name}: the key service failed, see its log"))
            raise
        else:
            self._health.breaker.succeeded()
            command.succeed(result)
        finally:
            self.busy -= 1

    async def _canary(self, session: Session) -> None:
        """After idle time: see that the session still signs, before a firewall or the token has forgotten it."""
        session.touch()
        for key in filter(None, map(self._registry.get, sorted(self._sightings.found)[:1])):
            try:
                if not await self.find(key, session):
                    await session.canary(key)
                    self._health.breaker.succeeded()
            except WrongAnswer as error:
                raise self._wrong(error) from None
        if self._monotonic() >= self._info_at:
            self._info_at = self._monotonic() + INFO_EVERY_S
            self._health.note_info(await session.info())


def _call_error(token: str, error: CallFailed) -> ServiceError:
    if error.kind == "DeviceMemory":
        return OperatorNeeded(f"token {token} is full; remove keys that are no longer used ({error})")
    return ServiceError(f"token {token}: {error}")
