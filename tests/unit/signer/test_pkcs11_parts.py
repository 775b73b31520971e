"""Parts of the PKCS#11 key store that need no module: errors, templates, who is believed about keys, slots, PINs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute

from dnssecd import keyservice_protocol as wp
from dnssecd.keyservice_settings import QUIRKS
from dnssecd.signer import files
from dnssecd.signer.errors import BadRequest, OperatorNeeded, ServiceError
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11 import opening, quirks, recipes
from dnssecd.signer.pkcs11.ckr import CODES, CallError, call_error, calling
from dnssecd.signer.pkcs11.commands import Command, CommandQueue
from dnssecd.signer.pkcs11.destruction import destroy_in
from dnssecd.signer.pkcs11.health import HOPE_S, TokenHealth
from dnssecd.signer.pkcs11.key_changes import KeyChanges
from dnssecd.signer.pkcs11.link import WorkerLost
from dnssecd.signer.pkcs11.mechanisms import can_make, can_sign
from dnssecd.signer.pkcs11.messages import OpenCall
from dnssecd.signer.pkcs11.pin import Pin
from dnssecd.signer.pkcs11.public_keys import point_field
from dnssecd.signer.pkcs11.session import StaleSession
from dnssecd.signer.pkcs11.sightings import FRESH_S, LOOK_AGAIN_S, KeySightings
from dnssecd.signer.pkcs11.slots import TokenFault, check_login, find_token, open_session
from dnssecd.signer.pkcs11.work import SessionWork
from dnssecd.signer.warnings import WarningBook


def no_warnings() -> WarningBook:
    return WarningBook(lambda: 0.0, lambda code, subject, detail: None)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# Errors


def test_an_error_names_call_and_code() -> None:
    wanted = r"^C_Login failed with CKR 0x102 \(UserPinNotInitialized\)$"
    with pytest.raises(CallError, match=wanted) as caught, calling("C_Login"):
        raise pkcs11.UserPinNotInitialized
    error = caught.value
    assert (error.call, error.kind, error.code) == ("C_Login", "UserPinNotInitialized", 0x102)


@pytest.mark.parametrize(
    ("text", "kind", "code"),
    [
        ("Unmapped error code 0x80000001", "CKR", 0x80000001),
        ("Unmapped error code 0x140", "CurveNotSupported", 0x140),
        ("User type invalid. Should never see this.", "UserTypeInvalid", 0x103),
        ("OS exception while loading x.so: no such file", "PKCS11Error", 0),
    ],
)
def test_codes_that_have_no_class(text: str, kind: str, code: int) -> None:
    error = call_error("C_X", pkcs11.PKCS11Error(text))
    assert (error.kind, error.code) == (kind, code)


def test_every_class_of_python_pkcs11_has_its_code() -> None:
    ours = {"MultipleObjectsReturned", "MultipleTokensReturned", "NoSuchKey", "NoSuchToken", "PKCS11Error"}
    classes = {
        name
        for name, one in vars(pkcs11.exceptions).items()
        if isinstance(one, type) and issubclass(one, pkcs11.PKCS11Error)
    }
    at_login = ("Pin", "User", "Session", "Token", "Device", "Attr")
    assert {name for name in classes - ours - set(CODES) if name.startswith(at_login)} == set()


# Templates


class FakeSession:
    """A token that refuses the templates for which `refuses` says so."""

    def __init__(self, refuses: Any, **attributes: Any) -> None:
        self.refuses = refuses
        self.attributes = attributes
        self.asked: list[dict[Attribute, Any]] = []

    def generate_keypair(self, kind: Any, bits: int, **options: Any) -> tuple[Any, Any]:
        template = dict(options["private_template"])
        self.asked.append(template)
        if error := self.refuses(template):
            raise error
        return "public", FakeKey(self.attributes)


class FakeKey:
    def __init__(self, attributes: dict[str, Any]) -> None:
        self.attributes = attributes

    def __getitem__(self, attribute: Attribute) -> Any:
        if attribute.name not in self.attributes:
            raise pkcs11.AttributeTypeInvalid
        return self.attributes[attribute.name]


def make(session: FakeSession, start: int = 0, removed: list[str] | None = None) -> recipes.Made:
    gone = removed if removed is not None else []
    return recipes.make_key_pair(
        session, b"id", "label", 8, 2048, start=start, logged_in=True, remove=lambda: gone.append("all")
    )


def test_the_strictest_template_comes_first_and_the_one_that_works_is_remembered() -> None:
    session = FakeSession(lambda template: None, SIGN=True)
    assert make(session).recipe == 0
    assert Attribute.DECRYPT not in session.asked[0], "python-pkcs11 sends it as false"
    choosy = FakeSession(lambda template: None if Attribute.DECRYPT in template else pkcs11.GeneralError())
    removed: list[str] = []
    assert make(choosy, removed=removed).recipe == 1
    assert removed == ["all"], "what a failed call may have left is removed"
    choosy.asked.clear()
    assert make(choosy, start=1).recipe == 1
    assert len(choosy.asked) == 1


@pytest.mark.parametrize("error", [pkcs11.DeviceMemory, pkcs11.DeviceError, pkcs11.SessionHandleInvalid])
def test_other_errors_are_not_tried_around(error: type[pkcs11.PKCS11Error]) -> None:
    session = FakeSession(lambda template: error())
    with pytest.raises(CallError):
        make(session)
    assert len(session.asked) == 1


def test_the_first_error_is_reported_when_no_template_will_do() -> None:
    errors = iter([pkcs11.TemplateInconsistent(), pkcs11.GeneralError(), pkcs11.ArgumentsBad()])
    with pytest.raises(CallError, match="TemplateInconsistent"):
        make(FakeSession(lambda template: next(errors)))


@pytest.mark.parametrize("attributes", [{"EXTRACTABLE": True}, {"SENSITIVE": False}, {"SIGN": False}])
def test_a_key_that_is_not_what_was_asked_for_is_removed(attributes: dict[str, bool]) -> None:
    removed: list[str] = []
    with pytest.raises(recipes.KeyRefused):
        make(FakeSession(lambda template: None, **attributes), removed=removed)
    assert removed == ["all"]


def test_what_a_key_can_do_besides_is_said() -> None:
    made = make(FakeSession(lambda template: None, SIGN=True, DECRYPT=True, SIGN_RECOVER=True))
    assert made.more == ("CKA_DECRYPT", "CKA_SIGN_RECOVER")


def test_curves_by_oid_then_by_name() -> None:
    names = [recipe.curve_name for recipe in recipes.list_recipes(15, logged_in=True)]
    assert names == sorted(names)
    assert not any(recipe.curve_name for recipe in recipes.list_recipes(13, logged_in=True))


def test_points_are_read_by_their_length() -> None:
    raw = b"\x04" + bytes(range(64))
    assert point_field(raw, 13) == point_field(b"\x04\x41" + raw, 13) == raw[1:]
    assert point_field(raw, 14) == b""
    assert point_field(bytes([4, 30]) + bytes(30), 15) == bytes([4, 30]) + bytes(30), (
        "no DER: 32 octets of key"
    )


def test_signing_and_making_are_apart() -> None:
    mechanisms = {pkcs11.Mechanism.RSA_PKCS, pkcs11.Mechanism.ECDSA, pkcs11.Mechanism.EC_KEY_PAIR_GEN}
    assert can_sign(mechanisms) == (8, 10, 13, 14)
    assert can_make(mechanisms) == (13, 14)


def test_quirks_have_their_documented_names() -> None:
    ours = {
        quirks.TEXT_IDS,
        quirks.PLAIN_TEMPLATE,
        quirks.MAKES_NO_KEYS,
        quirks.SEARCH_BY_ID,
        opening.RETRY_LOGIN,
    }
    assert ours == set(QUIRKS)
    text = (Path(__file__).parents[3] / "docs/hsm.md").read_text()
    assert all(f"| `{name}` |" in text for name in QUIRKS)
    assert quirks.cka_id("ab" * 16, [quirks.TEXT_IDS]) == (b"ab" * 16).hex()


# Who is believed about keys


def test_an_old_session_is_not_trusted() -> None:
    clock = Clock()
    seen = KeySightings(clock)
    started_at = clock.now
    clock.now += FRESH_S + 1
    assert not seen.can_tell("key", started_at)
    assert seen.can_tell("key", clock.now), "a session started after the doubt"
    seen.note_absent("key", "not there")
    assert not seen.may_hold("key")
    clock.now += LOOK_AGAIN_S
    assert seen.may_hold("key")
    assert not seen.can_tell("key", clock.now - FRESH_S - 1), "it may have been restored meanwhile"


def test_a_young_session_is_trusted_unless_the_key_was_seen_since() -> None:
    clock = Clock()
    seen = KeySightings(clock)
    assert seen.can_tell("other", clock.now)
    started_at = clock.now
    clock.now += 1
    seen.note_seen("key")
    clock.now += 1
    assert not seen.can_tell("key", started_at)
    assert seen.can_tell("other", started_at)
    seen.note_found("key")
    seen.forget("key")
    assert seen.can_tell("key", started_at)


class FakePool:
    """As much of a token's sessions as the destruction of a key uses: the first one is old, all others are fresh."""

    name = "t"

    def __init__(self, clock: Clock, *answers: m.Destroyed) -> None:
        self.health = SimpleNamespace(evicted=False)
        self.sightings = KeySightings(clock)
        self.sightings.note_seen("key")
        self.asked: list[tuple[str, bool]] = []
        self._answers = list(answers)
        self._clock = clock

    async def command(self, run: Callable[[Any], Any], deadline: float, *, fresh: bool = False) -> Any:
        age = "fresh" if fresh or self.asked else "old"
        session = SimpleNamespace(
            started_at=self._clock.now if age == "fresh" else self._clock.now - FRESH_S - 1,
            destroy=self._destroy,
        )
        self.asked.append((age, fresh))
        try:
            return await run(session)
        except StaleSession:
            return await self.command(run, deadline)

    async def _destroy(self, key: Any) -> m.Destroyed:
        return self._answers.pop(0)


SEEN, ABSENT = m.Destroyed(True), m.Destroyed(False, "no private key", absent=True)


async def destroy(*answers: m.Destroyed) -> tuple[str, list[tuple[str, bool]]]:
    clock = Clock()
    pool: Any = FakePool(clock, *answers)
    key: Any = SimpleNamespace(id="key")
    return await destroy_in(pool, key, 0.0, clock), pool.asked


async def test_a_destruction_is_confirmed_by_a_fresh_session() -> None:
    assert await destroy(SEEN, ABSENT) == ("", [("old", False), ("fresh", True)])


async def test_an_old_session_that_does_not_see_the_key_is_not_the_end() -> None:
    done, asked = await destroy(ABSENT, SEEN, ABSENT)
    assert done == ""
    assert asked == [("old", False), ("fresh", False), ("fresh", True)]


async def test_what_no_session_saw_was_not_destroyed() -> None:
    done, _ = await destroy(ABSENT, ABSENT)
    assert done.startswith("nothing was destroyed in token t")
    other = m.Destroyed(False, "CKA_ID beef is another key")
    done, asked = await destroy(other)
    assert "another key" in done
    assert len(asked) == 1


async def test_a_key_that_does_not_go_is_an_error() -> None:
    with pytest.raises(ServiceError, match="still shows key"):
        await destroy(SEEN, SEEN, SEEN)


def test_sessions_lost_together_are_one_failure(tmp_path: Path) -> None:
    clock = Clock()
    later: list[float] = []
    health = TokenHealth(
        "t",
        1.0,
        tmp_path / "evicted",
        no_warnings(),
        lambda: None,
        clock,
        lambda after, call: later.append(after),
    )
    lost = WorkerLost("SessionHandleInvalid", "gone", "C_SignInit or C_Sign")
    for _ in range(3):
        health.opened()
    for _ in range(3):
        health.closed()
        health.lost(lost)
    assert health.breaker.state == "closed"
    assert later == [HOPE_S], "what waits is looked at again when hope ends"
    health.failed(lost)
    assert health.breaker.state == "open"
    assert health.hopeful, "for a moment longer"
    clock.now += HOPE_S
    assert not health.hopeful


class At:
    """As much of a session as the queue of commands looks at."""

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at


async def test_one_session_is_ended_for_a_command_that_needs_a_fresh_one() -> None:
    clock = Clock()
    queue = CommandQueue("t", clock, lambda: None)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    old: Any = At(clock.now - 5)
    command = Command(lambda session: future, future, started_after=clock.now)
    queue._waiting.append(command)
    with pytest.raises(StaleSession):
        queue.take(old)
    assert queue.take(old) is None, "one is enough"
    fresh: Any = At(clock.now)
    assert queue.take(fresh) is command
    for _ in range(20):
        queue.put_back(command)
    assert future.done(), "but not for ever"
    assert future.exception() is not None


# Slots and logins


class FakeToken:
    def __init__(
        self, label: str, serial: bytes, errors: tuple[Exception | None, ...] = (), flags: int = 0
    ) -> None:
        self.label, self.serial, self.flags = label, serial, pkcs11.TokenFlag(flags)
        self.opened: list[Any] = []
        self._errors = list(errors)

    def open(self, **options: Any) -> Any:
        self.opened.append(options.get("user_pin"))
        error = self._errors.pop(0) if self._errors else None
        if error is not None:
            raise error
        return self

    def close(self) -> None:
        pass


class FakeSlot:
    def __init__(self, slot_id: int, token: FakeToken | Exception) -> None:
        self.slot_id, self._token = slot_id, token

    def get_token(self) -> FakeToken:
        if isinstance(self._token, Exception):
            raise self._token
        return self._token


class FakeLibrary:
    def __init__(self, *slots: FakeSlot) -> None:
        self._slots = list(slots)

    def get_slots(self, token_present: bool) -> list[FakeSlot]:
        return self._slots


def asked(label: str = "", serial: str = "", slot: int = -1) -> OpenCall:
    return OpenCall("m.so", label, serial, slot, "")


def test_label_and_serial_together() -> None:
    one, two = FakeToken("dns", b"1"), FakeToken("dns", b"2")
    library = FakeLibrary(
        FakeSlot(0, one),
        FakeSlot(1, pkcs11.TokenNotRecognised()),
        FakeSlot(2, two),
        FakeSlot(3, FakeToken("x", b"1")),
    )
    assert find_token(library, asked("dns", "2")) is two
    assert find_token(library, asked(slot=0)) is one
    with pytest.raises(TokenFault, match="2 tokens with label 'dns'"):
        find_token(library, asked("dns"))
    with pytest.raises(
        TokenFault, match=r"label 'y' and serial '1'.*slot 1: C_GetTokenInfo failed with CKR 0xe1"
    ):
        find_token(library, asked("y", "1"))


@pytest.mark.parametrize(
    ("errors", "call", "tries"),
    [
        ((pkcs11.PinIncorrect(),), "C_Login", 1),
        ((pkcs11.SessionCount(),), "C_OpenSession", 1),
        ((pkcs11.FunctionFailed(), None), "C_Login", 2),
        ((pkcs11.FunctionFailed(), pkcs11.FunctionFailed()), "C_OpenSession", 2),
        ((pkcs11.PKCS11Error("Unmapped error code 0x80000001"), pkcs11.DeviceError()), "C_Login", 2),
    ],
)
def test_which_call_failed(errors: tuple[Exception | None, ...], call: str, tries: int) -> None:
    token = FakeToken("dns", b"1", errors)
    with pytest.raises(CallError) as caught:
        open_session(token, "pin", "secret")
    assert caught.value.call == call
    assert token.opened == ["secret", None][:tries], "the PIN is sent once"
    assert "secret" not in str(caught.value)


def test_logins() -> None:
    shared = FakeToken("dns", b"1", (pkcs11.UserAlreadyLoggedIn(),))
    open_session(shared, "pin", "secret")
    assert shared.opened == ["secret", None]
    free = FakeToken("dns", b"1")
    open_session(free, "none", "")
    assert free.opened == [None]
    pad = FakeToken("dns", b"1")
    open_session(pad, "protected", "")
    assert pad.opened == [pkcs11.types.PROTECTED_AUTH]
    with pytest.raises(TokenFault, match="no PIN pad"):
        check_login(pad, "protected")
    locked = FakeToken("dns", b"1", flags=int(pkcs11.TokenFlag.USER_PIN_LOCKED))
    check_login(locked, "none")
    with pytest.raises(TokenFault, match="locked"):
        check_login(locked, "pin")


@pytest.fixture
def pin(tmp_path: Path) -> Pin:
    (tmp_path / "pin").write_text("1234\n")
    return Pin("pin", tmp_path / "pin", tmp_path / "state" / "refused", no_warnings())


def test_a_refused_pin_is_held_until_it_changes(pin: Pin, tmp_path: Path) -> None:
    assert pin.read() == "1234"
    pin.refused()
    pin.release()
    with pytest.raises(OperatorNeeded, match="the token refused the PIN"):
        pin.read()
    (tmp_path / "pin").write_text("9999\n")
    assert pin.read() == "9999"


def test_an_unclear_failure_holds_the_pin_until_an_operator_releases_it(pin: Pin, tmp_path: Path) -> None:
    pin.refused("C_Login failed with CKR 0x5 (GeneralError)")
    again = Pin("pin", tmp_path / "pin", tmp_path / "state" / "refused", no_warnings())
    with pytest.raises(OperatorNeeded, match=r"CKR 0x5.*keystore test"):
        again.read()
    assert b"1234" not in (tmp_path / "state" / "refused").read_bytes()
    again.release()
    assert again.read() == "1234"


def test_a_refused_pin_is_held_on_a_full_disk_too(
    pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several sessions would try it one after the other, and lock the token."""

    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", full)
        pin.refused()
        pin.release()
        with pytest.raises(OperatorNeeded, match="refused the PIN"):
            pin.read()
    with pytest.raises(OperatorNeeded, match="refused the PIN"):
        pin.read()
    again = Pin("pin", tmp_path / "pin", tmp_path / "state" / "refused", no_warnings())
    with pytest.raises(OperatorNeeded, match="refused the PIN"):
        again.read()
    (tmp_path / "pin").write_text("9999\n")
    assert pin.read() == "9999"


async def test_a_fault_of_this_machine_does_not_end_the_opening_of_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = iter([OSError(24, "Too many open files"), AssertionError("tried again")])
    health = TokenHealth(
        "a", 0.1, tmp_path / "evicted", no_warnings(), lambda: None, Clock(), lambda seconds, call: None
    )
    stub: Any = SimpleNamespace(read=lambda: (_ for _ in ()).throw(next(pins)))
    settings: Any = SimpleNamespace(name="a", sessions=1, retry_longest_s=0.1)
    unused: Any = None
    opener = opening.SessionOpener(settings, stub, health, no_warnings(), check=unused, changed=unused)
    with pytest.raises(AssertionError, match="tried again"):
        await opener.open()
    assert health.gauges.errors["system"] == 1


@pytest.mark.parametrize(
    ("algorithm", "public_key"),
    [(13, b"\x01" * 64), (13, b"\x01"), (8, b"\x03\x00\x00\x00\x01"), (8, b"\x00")],
)
async def test_a_public_key_that_is_none_is_refused_before_a_session_tries_it(
    algorithm: int, public_key: bytes
) -> None:
    calls: list[object] = []

    async def command(run: object, deadline: float, *, fresh: bool = False) -> list[m.Candidate]:
        calls.append(run)
        return [m.Candidate("a5", "label", b"", 0, False, True)]

    pool: Any = SimpleNamespace(health=SimpleNamespace(hopeful=True), quirks=frozenset(), command=command)
    registry: Any = SimpleNamespace(all=list)
    changes = KeyChanges("s", [pool], registry, no_warnings(), lambda: 0.0, Clock())
    wanted = wp.AdoptRequest(1, b"\0", "zsk", algorithm, "hsm", cka_id="a5", public_key=public_key)
    with pytest.raises(BadRequest, match=f"none of algorithm {algorithm}"):
        await changes.adopt(wanted, frozenset(), lambda key: None)
    assert len(calls) == 1, "the search"


async def test_a_command_that_fails_by_our_own_fault_is_answered_at_once() -> None:
    unused: Any = None
    settings: Any = SimpleNamespace(name="a")
    work = SessionWork(
        settings, unused, unused, unused, unused, unused, unused, may_take=unused, key_of=unused, worse=unused
    )

    async def breaks(session: object) -> None:
        raise KeyError("x")

    command = Command(breaks, asyncio.get_running_loop().create_future())
    with pytest.raises(KeyError):
        await work._run(unused, command)
    assert command.done.done()
    with pytest.raises(ServiceError, match="see its log"):
        await command.done


def test_logins_without_pin(tmp_path: Path) -> None:
    none = Pin("none", tmp_path / "x", tmp_path / "r", no_warnings())
    assert none.read() == ""
    pad = Pin("protected", tmp_path / "x", tmp_path / "r", no_warnings())
    assert pad.read() == ""
    pad.refused("C_Login failed with CKR 0x6 (FunctionFailed)")
    with pytest.raises(OperatorNeeded, match="the login is not tried again"):
        pad.read()
