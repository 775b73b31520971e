"""``dnssecd ksr sign``: read a request, show it, check it, ask, sign it, verify what was signed, write it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dnssecd.bounded_file import TooLarge, read_at_most
from dnssecd.cli.ceremony_place import Place, ZoneRecord, signing_key, write_whole
from dnssecd.cli.common import USAGE, Bad
from dnssecd.core.ceremony.bundles import (
    EndMissing,
    Form,
    form_of,
    is_bundles,
    read_bundles_request,
    write_bundles_response,
)
from dnssecd.core.ceremony.checks import check_cds, check_request, is_refused
from dnssecd.core.ceremony.report import request_report, response_report
from dnssecd.core.ceremony.request import (
    DOCUMENT_OCTETS_MAX,
    BadDocument,
    Request,
    hash_of_file,
    read_request,
)
from dnssecd.core.ceremony.response import Response, write_response
from dnssecd.core.ceremony.rrsigs import rrsig_faults
from dnssecd.core.ceremony.signing import (
    Stage,
    Task,
    bundles_of,
    rdata_of_key,
    response_of,
    stages_of,
    tasks_of,
)
from dnssecd.core.dns.names import wire_to_text
from dnssecd.core.keys.signed_ahead import expiration
from dnssecd.replacing import replace

CONFIRM_DIGITS = 8


@dataclass(frozen=True)
class Order:
    """What is to be signed, and how. ``confirm``: the hash's first digits, "" to ask on the terminal.

    For requests in Knot's or BIND's form, which do not have them: ``validity_s``, ``ttl``, ``cds``; ``stop``, when the
    last DNSKEY RRset ends; ``form`` of the response, None for that of the request.
    """

    file: Path
    output: Path
    form: Form | None
    confirm: str
    validity_s: int
    ttl: int
    cds: bool
    now: int
    stop: int | None = None


@dataclass(frozen=True)
class Done:
    """What was signed: the response, and the reports for the witnesses."""

    response: Response
    report: str


def sign_request(place: Place, order: Order, say: Callable[[str], object]) -> Done:
    """Sign a request after a person's confirmation; Bad when it is refused, and then nothing was signed."""
    request, theirs = _read(order)
    record = place.record(request.zone)
    current, coming = _stages(place, request.zone, record)
    ksks = {rdata_of_key(key) for key in (*current, *coming)}
    findings = check_request(request, place.config.limits, record.previous(request.zone), order.now)
    findings += tuple(check_cds(request, place.config.limits, ksks))
    parts = [(rdata_of_key(key), "current") for key in current]
    parts += [(rdata_of_key(key), "to replace the current one") for key in coming]
    asked = request_report(request, findings, parts)
    say(asked)
    if is_refused(findings):
        raise Bad("the request is refused; nothing was signed", "see the checks marked REFUSED")
    _confirm(request, order.confirm)
    stages = stages_of(current, coming) if theirs is None else ((*current, *coming),)
    tasks = tasks_of(request, stages, cds=request.cds or order.cds)
    signatures = _sign(place, request.zone, tasks)
    response = response_of(request, tasks, signatures, order.now)
    faults = rrsig_faults(request.zone, response.sets, response.ksks, order.now)
    if faults:
        raise Bad(
            f"the key store made a signature that does not verify: {faults[0]}",
            "take the token out of service; nothing was written",
        )
    text = write_response(response)
    if theirs is not None:
        bundles = bundles_of(request, tasks, signatures, stages[0])
        text = write_bundles_response(bundles, request.zone, order.form or theirs, order.now)
        response = replace(response, file_hash=hash_of_file(text))
    _write(order.output, text)
    place.keep(request.zone, _after(record, request, response, order.now))
    signed = response_report(response)
    say(signed)
    return Done(response, f"{asked}\n\n{signed}\n")


def _read(order: Order) -> tuple[Request, Form | None]:
    """Return the request, and its form if it is not dnssecd's own."""
    try:
        text = read_at_most(order.file, DOCUMENT_OCTETS_MAX).decode("utf-8")
        if is_bundles(text):
            request = read_bundles_request(
                text, ttl=order.ttl, validity_s=order.validity_s, now=order.now, stop=order.stop
            )
            return request, form_of(text)
        return read_request(text), None
    except OSError as error:
        raise Bad(f"{order.file}: {error.strerror}", "name the file with the request") from None
    except TooLarge:
        raise Bad(f"{order.file} is larger than a request can be", "name the file with the request") from None
    except EndMissing as error:
        raise Bad(f"{order.file}: {error}", "give it with --to, as to dnssec-ksr with -e", USAGE) from None
    except (UnicodeDecodeError, BadDocument) as error:
        raise Bad(
            f"{order.file} is not a key signing request: {error}", "name the file with the request"
        ) from None


def _stages(place: Place, zone: bytes, record: ZoneRecord) -> tuple[Stage, Stage]:
    found = place.ksks(zone)
    missing = [key for key in (*record.current, *record.coming) if key not in found]
    name = wire_to_text(zone)
    if missing or not record.current:
        what = f"the KSK {missing[0]} is not in the key store" if missing else f"there is no KSK for {name}"
        raise Bad(what, "bring its token, or restore it" if missing else f"dnssecd ksr keygen {name}")
    return (
        tuple(signing_key(found[key]) for key in record.current),
        tuple(signing_key(found[key]) for key in record.coming),
    )


def _confirm(request: Request, given: str) -> None:
    """Have a person type the first digits of the hash: so they have it before their eyes."""
    wanted = request.digest.hex()[:CONFIRM_DIGITS]
    if not given:
        if not sys.stdin.isatty():
            raise Bad(
                "there is no terminal to confirm on",
                "give --confirm with the first 8 digits of the hash",
                USAGE,
            )
        given = input(f"To sign, type the first {CONFIRM_DIGITS} digits of the request's hash: ")
    if given.replace(" ", "").lower() != wanted:
        raise Bad(
            "that is not the beginning of the request's hash; nothing was signed", "compare the hash again"
        )


def _sign(place: Place, zone: bytes, tasks: tuple[Task, ...]) -> list[bytes]:
    """Have each key sign what it has to, in one go; return the signatures in the order of the tasks."""
    by_key: dict[str, list[int]] = {}
    for number, task in enumerate(tasks):
        by_key.setdefault(task.key.key_id, []).append(number)
    made: dict[int, bytes] = {}
    for key_id, numbers in by_key.items():
        answers = place.signer.sign(zone, key_id, [tasks[number].preimage for number in numbers])
        made.update(zip(numbers, answers, strict=True))
    return [made[number] for number in range(len(tasks))]


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path, text, 0o644)
    except OSError as error:
        raise Bad(f"{path} cannot be written: {error.strerror}", "choose another file with -o") from None


def _after(record: ZoneRecord, request: Request, response: Response, now: int) -> ZoneRecord:
    return msgspec.structs.replace(
        record,
        number=max(record.number, request.number),
        request=request.digest.hex(),
        response=response.digest.hex(),
        zsks=request.zsks,
        until=max(expiration(rrsig, now) for each in response.sets for rrsig in each.rrsigs),
    )
