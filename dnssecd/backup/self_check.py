"""The daemon's check of the newest backup, in a process of its own: can this host be restored from it after a loss.

The daemon starts it (``daemon/backup_watch.py``) with a :class:`CheckRequest` as JSON on standard input, and reads a
:class:`CheckReport` from standard output. It opens the backup and unpacks one database at a time, asks the public
servers and the key service, judges as ``dnssecd restore --check --after-loss`` does, and changes nothing.
"""

import os
import sys
from pathlib import Path

import msgspec

from dnssecd.backup.judge import Options, Refusal
from dnssecd.backup.read import BadArchive, opened
from dnssecd.backup.restore import Done, Wish, restore
from dnssecd.clock import SystemClock
from dnssecd.config import ConfigErrors, load
from dnssecd.daemon.backup_report import CheckReport, CheckRequest, Refused
from dnssecd.store.errors import StoreError

#: At most this number of refused zones is reported by name; all are counted.
NAMED_MAX = 20
_TEXT_MAX = 500
#: The daemon and its signing come first.
_NICE = 10


def check(request: CheckRequest, now: float) -> CheckReport:
    """Judge a backup. A fault of the backup, or one that prevents the check, is in the report."""
    file = Path(request.file)
    try:
        config = load(request.config)
        with opened(file) as archive:
            made_at = archive.manifest.made_at
        wish = Wish(file, options=Options(raise_serial=True), check=True, beside_daemon=True, after_loss=True)
        done = restore(config, wish, ("", os.getuid()), now, lambda done, total, what: None)
    except ConfigErrors as error:
        return _failed(request, f"the configuration file has errors, the first: {error.errors[0]}")
    except BadArchive as error:
        return _failed(request, str(error))
    except (OSError, StoreError) as error:
        return _failed(request, f"{file}: {getattr(error, 'strerror', None) or error}")
    return _report(request, made_at, done)


def _failed(request: CheckRequest, why: str) -> CheckReport:
    return CheckReport(file=request.file, problem=why[:_TEXT_MAX])


def _report(request: CheckRequest, made_at: int, done: Done) -> CheckReport:
    refused: dict[str, Refusal] = {}
    for refusal in done.refusals:
        refused.setdefault(refusal.zone, refusal)
    good = sum(decision.zone not in refused for decision in done.decisions)
    return CheckReport(
        file=request.file,
        made_at=made_at,
        restorable=good,
        refused=len(refused),
        absent=len(done.absent),
        refusals=[
            Refused(zone=each.zone, code=each.code, what=each.what[:_TEXT_MAX])
            for each in list(refused.values())[:NAMED_MAX]
        ],
        absent_zones=list(done.absent[:NAMED_MAX]),
        notes=[note[:_TEXT_MAX] for note in done.notes[:NAMED_MAX]],
    )


def main() -> int:
    """Read a request, check, write the report."""
    os.umask(0o077)
    os.nice(_NICE)
    report = os.dup(1)
    os.dup2(2, 1)  # what libraries print goes to the log
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=CheckRequest)
    with os.fdopen(report, "wb") as out:
        out.write(msgspec.json.encode(check(request, SystemClock().now())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
