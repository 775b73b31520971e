"""``dnssecd sign``: one zone file signed without a daemon, by the daemon's own code."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from dnssecd.cli.common import Bad
from dnssecd.cli.output_place import STANDARD_OUTPUT, output_place
from dnssecd.cli.progress import shown
from dnssecd.cli.stopping import Stopping
from dnssecd.clock import SystemClock
from dnssecd.core.dns.names import BadName, text_to_wire, wire_to_text
from dnssecd.core.signing.lifetimes import Window
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.keyservice_client.client import SignerClient
from dnssecd.keyservice_client.errors import SignerError
from dnssecd.keyservice_client.launch import launched_signer
from dnssecd.keyservice_protocol import KeyInfo, KeystoreSettings, SignerSettings
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.oneshot.bind_keys import BadKeyFile, KeyFile, read_key_file, roles
from dnssecd.pipeline.oneshot.keys import imported_keys, stored_keys
from dnssecd.pipeline.oneshot.sign import OneShot, Signed, sign_file
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.workers.checker_pool import spread_checker

STORE = "local"
VALIDITY_S = 30 * 86_400
INCEPTION_OFFSET_S = -3600
JITTER_S = 12 * 3600
SIGNER_DEADLINE_S = 60.0
NSEC3_NAME_MAX = 222
#: RRSIG times are 32-bit serial numbers: inception and expiration must be less than half the circle apart.
SPAN_S_MAX = (1 << 31) - 1
USAGE = 2
VIOLATIONS_SHOWN_MAX = 100
#: What is left of the 107 octets of a Unix socket's path for the directory of temporary files.
SCRATCH_PARENT_OCTETS_MAX = 70


@dataclass(frozen=True)
class Options:
    """The options as given; times in epoch seconds, None where not given; ``quiet``: the result is told as JSON."""

    file: Path
    origin: str
    output: str
    denial: str = "nsec3"
    opt_out: bool = False
    algorithms: Sequence[str] = ()
    csk: bool = False
    keys: Sequence[Path] = ()
    keystore: Path | None = None
    passphrase_file: Path | None = None
    inception: int | None = None
    expiration: int | None = None
    zonemd: bool = False
    deterministic: bool = False
    verify: bool = True
    quiet: bool = False


def run(options: Options) -> Signed:
    """Sign; Bad with the reason when it cannot be done, and then nothing was written."""
    try:
        with Stopping() as stopping:
            return _run(options, stopping)
    except BadName as error:
        raise Bad(str(error), "write the zone's name like example.com.", USAGE) from None
    except BadKeyFile as error:
        raise Bad(str(error), "give another key with --key; nothing was written") from None
    except Rejected as error:
        more = "".join(f"\n  {line}" for line in _others(error)[:VIOLATIONS_SHOWN_MAX])
        raise Bad(error.cause + more, error.remedy or "correct the input") from None
    except ZoneFileErrors as error:
        raise Bad(str(error), "correct the file, or sign it again when nobody is writing it") from None
    except SignerError as error:
        raise Bad(str(error), "mend the key store, or give another; nothing was written") from None


def _others(error: Rejected) -> list[str]:
    """Return the violations that the cause does not state: it begins with the first, or lists all, one a line."""
    stated = set(error.cause.splitlines())
    return [
        line
        for at, line in enumerate(error.violations)
        if line not in stated and (at or line not in error.cause)
    ]


def _is_same(file: Path, output: str) -> bool:
    try:
        return output != STANDARD_OUTPUT and file.samefile(output)
    except OSError:  # one of them is not there: who needs it says so
        return False


def _run(options: Options, stopping: Stopping) -> Signed:
    if options.quiet and options.output == STANDARD_OUTPUT:
        raise Bad("standard output cannot hold both the zone and JSON", "give -o FILE", USAGE)
    if _is_same(options.file, options.output):
        what = f"-o {options.output} is the zone file itself: its comments and $INCLUDE lines would be lost"
        raise Bad(what, "give another file", USAGE)
    now = int(SystemClock().now())
    spec = _spec(options)
    files = _key_files(options, spec)
    window = _window(options, now)
    judged_at = min(max(now, window.inception), window.expiration_min)
    date = int(datetime.fromtimestamp(now, UTC).strftime("%Y%m%d"))
    job = OneShot(spec, options.file, window, judged_at, date, options.verify)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(_scratch()))
        directory = scratch / "keys" if options.keys else _directory(options)
        stack.enter_context(_undone(directory))
        key_service = KeyService(_settings(options, directory, scratch))
        stack.callback(key_service.stop)
        told = stack.enter_context(shown(options.quiet))
        checker = stack.enter_context(spread_checker(told))
        write = stack.enter_context(output_place(options.output, scratch, stopping))
        stack.enter_context(stopping.allowed())
        signed = sign_file(
            job,
            lambda: _keys(options, spec, files, key_service.client()),
            key_service.signer,
            checker,
            write,
            told,
        )
    notes = [Problem("key-note", note) for file in files for note in file.notes(now)]
    return replace(signed, warnings=(*notes, *signed.warnings))


def _key_files(options: Options, spec: ZoneSpec) -> list[KeyFile]:
    """Read the key files; Bad where other options ask for keys to be made, BadKeyFile."""
    if not options.keys:
        return []
    if options.algorithms:
        raise Bad(
            "--algorithm is for new keys; key files have an algorithm of their own", "leave it out", USAGE
        )
    files = [read_key_file(path, spec.origin) for path in options.keys]
    roles(files, csk=options.csk)
    return files


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a private directory whose path leaves room for a Unix socket's."""
    parent: str | None = None
    if len(os.fsencode(tempfile.gettempdir())) > SCRATCH_PARENT_OCTETS_MAX:
        parent = "/tmp"  # noqa: S108  (the directory has mode 0700 and a random name)
    return tempfile.TemporaryDirectory(prefix="dnssecd-sign-", dir=parent)


def _spec(options: Options) -> ZoneSpec:
    origin = text_to_wire(options.origin)
    if options.denial == "nsec3" and len(origin) > NSEC3_NAME_MAX:
        raise Bad(
            f"{options.origin} is {len(origin)} octets long on the wire: no hashed owner name fits before it",
            "use --denial nsec",
        )
    if options.opt_out and options.denial != "nsec3":
        raise Bad("--opt-out goes with --denial nsec3 only", "leave one of them out", USAGE)
    return ZoneSpec(
        name=wire_to_text(origin),
        origin=origin,
        database="",
        signer_socket="",
        keystore=STORE,
        keys=(),
        denial=options.denial,
        opt_out=options.opt_out,
        zonemd=options.zonemd,
        cds=False,
        allow_missing_glue=True,
    )


def _window(options: Options, now: int) -> Window:
    inception = now + INCEPTION_OFFSET_S if options.inception is None else options.inception
    if options.expiration is None:
        latest = max(now, inception) + VALIDITY_S
        return Window(inception, latest - JITTER_S, latest)
    if options.expiration <= inception:
        raise Bad("the expiration is not after the inception", "give a later --expiration", USAGE)
    if options.expiration - inception > SPAN_S_MAX:
        raise Bad(
            "inception and expiration are more than 68 years apart: no RRSIG can say so (RFC 4034 §3.1.5)",
            "give an earlier --expiration, or a later --inception",
            USAGE,
        )
    return Window(inception, options.expiration, options.expiration)


def _settings(options: Options, directory: Path, scratch: Path) -> SignerSettings:
    """Return what our own key service is told: keys given by file live in a store that goes with ``scratch``."""
    store = KeystoreSettings(
        name=STORE,
        type="software",
        directory=str(directory),
        passphrase_file=str(options.passphrase_file.absolute() if options.passphrase_file else ""),
    )
    return SignerSettings(
        socket=str(scratch / "signer.sock"),
        state_dir=str(scratch / "signer" if options.keys else directory / "state"),
        keystores=(store,),
        deterministic_ecdsa=options.deterministic,
        validity_s_max=SPAN_S_MAX,
    )


class KeyService:
    """Our own key service, coming up while the zone file is read."""

    def __init__(self, settings: SignerSettings) -> None:
        self.signer = SignerClient(settings.socket, SIGNER_DEADLINE_S)
        self._stack = ExitStack()
        self._starter = ThreadPoolExecutor(1)
        launched = launched_signer(settings, quiet=True)
        self._started = self._starter.submit(self._stack.enter_context, launched)

    def client(self) -> SignerClient:
        """Return the client when the service answers; OperatorNeeded when it cannot start."""
        self._started.result()
        return self.signer

    def stop(self) -> None:
        """End the service."""
        self._starter.shutdown(wait=True)
        self.signer.close()
        self._stack.close()


def _directory(options: Options) -> Path:
    if options.keystore is not None:
        directory = options.keystore.absolute()
        if directory.exists() and not directory.is_dir():
            raise Bad(f"the key store {directory} is no directory", "give a directory with --keystore", USAGE)
        return directory
    if options.output == STANDARD_OUTPUT:
        raise Bad(
            "without -o FILE there is no place for new keys", "give --keystore DIR or --key FILE", USAGE
        )
    return Path(f"{options.output}.keys").absolute()


@contextmanager
def _undone(directory: Path) -> Iterator[None]:
    """Remove a key store that was made for nothing: the zone that its keys signed was not written."""
    existed = directory.exists()
    try:
        yield
    except BaseException:
        if not existed:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _keys(options: Options, spec: ZoneSpec, files: Sequence[KeyFile], signer: SignerClient) -> list[KeyInfo]:
    if files:
        return imported_keys(spec, signer, files, csk=options.csk)
    return stored_keys(spec, signer, _numbers(options.algorithms), csk=options.csk)


def _numbers(names: Sequence[str]) -> list[int]:
    if not names:
        return []
    # The package checks configuration files; whoever names no algorithm need not wait for all of it.
    from dnssecd.config.algorithms import algorithm_number

    numbers = []
    for name in names:
        try:
            numbers.append(algorithm_number(name))
        except KeyError:
            raise Bad(
                f"{name} is no DNSSEC algorithm", "use a mnemonic or number of RFC 8624", USAGE
            ) from None
        except ValueError as reason:
            raise Bad(
                f"algorithm {name} is refused: {reason}", "use ecdsap256sha256 or ed25519", USAGE
            ) from None
    return numbers
