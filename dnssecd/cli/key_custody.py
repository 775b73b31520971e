"""`dnssecd key trash …` and `dnssecd key consent …`: asked of the key service directly, so that it knows who asks."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from dnssecd.cli.common import USAGE, Bad, Cli, command, to_json
from dnssecd.cli.output import say, say_lines, table, when

if TYPE_CHECKING:
    from dnssecd.keyservice_client.client import SignerClient
    from dnssecd.keyservice_protocol import Consent, TrashedKey

T = TypeVar("T")
KeyId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the key, as dnssecd key trash list shows it.")
]
ConsentIds = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="As dnssecd key consent list shows them.")
]


def add_trash_and_consent(key: typer.Typer) -> None:
    """Add the commands to `dnssecd key`."""
    trash = typer.Typer(help="Removed keys that can still be restored.", no_args_is_help=True)
    key.add_typer(trash, name="trash")
    command(trash, "list")(_list_trash)
    command(trash, "restore")(_restore)
    command(trash, "destroy")(_destroy)
    consent = typer.Typer(help="Changes of keys that wait for a second person.", no_args_is_help=True)
    key.add_typer(consent, name="consent")
    command(consent, "list")(_list_consents)
    command(consent, "give")(_give)
    command(consent, "refuse")(_refuse)


def _list_trash(cli: Cli) -> None:
    """List the keys in the trash, and when each is destroyed."""
    keys = _ask(cli, lambda client: client.list_trash())
    cli.show({"keys": [_describe_trashed(one) for one in keys]}, lambda: _trash_table(keys))


def _describe_trashed(one: TrashedKey) -> dict[str, Any]:
    from dnssecd.control.messages.keys import describe_key

    return to_json(describe_key(one.key)) | {
        "removed_at": one.removed_at,
        "removed_by": _user(one.removed_by),
        "destroyed_at": one.destroyed_at,
        "two_person": one.two_person,
    }


def _trash_table(keys: list[TrashedKey]) -> None:
    described = [_describe_trashed(one) for one in keys]
    table(
        ("zone", "role", "tag", "key store", "removed", "by", "destroyed", "id"),
        [
            (
                ", ".join(one["zones"]),
                one["role"],
                one["tag"],
                one["keystore"],
                when(one["removed_at"]),
                one["removed_by"],
                f"{when(one['destroyed_at'])}{', with consent' if one['two_person'] else ''}",
                one["id"],
            )
            for one in described
        ],
        empty="the trash is empty",
    )


def _restore(cli: Cli, key_id: KeyId) -> None:
    """Take a key out of the trash, as it was before its removal. The zone's state does not change by itself."""
    from dnssecd.control.messages.keys import describe_key

    info = _ask(cli, lambda client: client.recover(_check_key_id(key_id)))
    result = {"key": to_json(describe_key(info))}
    cli.show(result, lambda: say(f"{info.role} {info.tag} is in key store {info.store} again"))


def _destroy(cli: Cli, key_id: KeyId) -> None:
    """Destroy a key that is in the trash now, before its time. It cannot be restored then."""
    detail = _ask(cli, lambda client: client.destroy(_check_key_id(key_id)))
    cli.show({"key": key_id, "detail": detail}, lambda: say(f"{key_id}: {detail}"))


def _list_consents(cli: Cli) -> None:
    """List what waits for the consent of a second person, and what has it and was not repeated yet."""
    consents = _ask(cli, lambda client: client.list_consents())
    cli.show({"requests": [_describe_consent(one) for one in consents]}, lambda: _consent_table(consents))


def _describe_consent(one: Consent) -> dict[str, Any]:
    import msgspec

    given_by = None if one.given_by < 0 else _user(one.given_by)
    found: dict[str, Any] = msgspec.to_builtins(one)
    return found | {"asked_by": _user(one.asked_by), "given_by": given_by}


def _consent_table(consents: tuple[Consent, ...]) -> None:
    described = [_describe_consent(one) for one in consents]
    table(
        ("id", "what", "asked by", "at", "consent by", "until"),
        [
            (
                one["id"],
                one["detail"],
                one["asked_by"],
                when(one["asked_at"]),
                one["given_by"] or "none yet",
                when(one["ends_at"]),
            )
            for one in described
        ],
        empty="nothing waits for consent",
    )


def _give(
    cli: Cli,
    ids: ConsentIds = None,
    every: Annotated[bool, typer.Option("--all", help="To all that others have asked for.")] = False,
) -> None:
    """Give consent, as a key officer who did not ask for it. Then the one who asked repeats the command."""
    _decide(cli, ids or [], give=True, every=every)


def _refuse(cli: Cli, ids: ConsentIds = None) -> None:
    """Refuse consent; the request is dropped. You can also withdraw a request of your own."""
    _decide(cli, ids or [], give=False, every=False)


def _decide(cli: Cli, ids: list[str], *, give: bool, every: bool) -> None:
    if bool(ids) == every:
        raise Bad(
            "which requests is not clear", "give ID, as dnssecd key consent list shows it, or --all", USAGE
        )

    def decide(client: SignerClient) -> list[dict[str, str]]:
        wanted = ids or confirm_all(client.list_consents(), os.getuid())
        return [{"id": one, "detail": client.decide_consent(one, give=give)} for one in wanted]

    done = _ask(cli, decide)
    word = "consent given" if give else "refused"
    cli.show({"requests": done}, lambda: say_lines(_lines(done, word)))


def confirm_all(consents: Iterable[Consent], uid: int) -> list[str]:
    """Show what waits for this user's consent; return the ids when the user confirms.

    Only what was shown is meant: another request may have come since the user looked at the list.
    """
    wanted = tuple(one for one in consents if one.given_by < 0 and one.asked_by != uid)
    if not wanted:
        return []
    if not sys.stdin.isatty():
        raise Bad(
            "there is no terminal to show the requests and to confirm them on",
            "give each ID, as dnssecd key consent list shows it",
            USAGE,
        )
    _consent_table(wanted)
    if input(f"To consent to these requests, type their number ({len(wanted)}): ").strip() != str(
        len(wanted)
    ):
        raise Bad("you did not confirm; no consent was given", "give the ID of each request that is good")
    return [one.id for one in wanted]


def _lines(done: list[dict[str, str]], word: str) -> str:
    return (
        "\n".join(f"{one['id']}: {word}: {one['detail']}" for one in done) or "nothing waits for your consent"
    )


def _ask(cli: Cli, question: Callable[[SignerClient], T]) -> T:
    from dnssecd.cli.keyservice import key_service

    with key_service(cli) as (_, client):
        return question(client)


def _check_key_id(text: str) -> str:
    if len(text) != 32 or not set(text) <= set("0123456789abcdef"):
        raise Bad(f'"{text}" is not the id of a key', "dnssecd key trash list shows the ids", USAGE)
    return text


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
