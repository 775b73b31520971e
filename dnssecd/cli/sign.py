"""``dnssecd sign``: sign one zone file without a daemon, with the daemon's code."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
from dnssecd.keyservice_client.launch import OWN_CHILD, launched_signer
from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.keyservice_settings import KeyLimits, KeystoreSettings, LimitSettings, SignerSettings
from dnssecd.pipeline.jobs.outcome import Problem
from dnssecd.pipeline.jobs.spec import ZoneSpec
from dnssecd.pipeline.oneshot.bind_keys import BadKeyFile, KeyFile, read_key_file, roles
from dnssecd.pipeline.oneshot.keys import imported_keys, stored_keys
from dnssecd.pipeline.oneshot.sign import OneShot, Signed, sign_file
from dnssecd.pipeline.version.rejected import Rejected
from dnssecd.pipeline.workers.checker_pool import spread_checker
from dnssecd.replacing import replace

STORE = "local"
VALIDITY_S = 30 * 86_400
INCEPTION_OFFSET_S = -3600
JITTER_S = 12 * 3600
SIGNER_DEADLINE_S = 60.0
NSEC3_NAME_MAX = 222
#: RRSIG times are 32-bit serial numbers: inception and expiration must be less than 2^31 s apart (RFC 1982).
SPAN_S_MAX = (1 << 31) - 1
USAGE = 2
VIOLATIONS_SHOWN_MAX = 100
#: Maximum path length of the directory of temporary files: a Unix socket's path has at most 107 octets.
SCRATCH_PARENT_OCTETS_MAX = 70


@dataclass(frozen=True)
class Options:
    """The options as given; times in epoch seconds, None if absent; ``quiet``: the result is printed as JSON."""

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
    """Sign the zone file. Raise Bad with the reason on failure; nothing was written then."""
    try:
        with Stopping() as stopping:
            return _run(options, stopping)
    except BadName as error:
        raise Bad(str(error), "write the name of the zone as in example.com.", USAGE) from None
    except BadKeyFile as error:
        raise Bad(str(error), "give another key with --key; nothing was written") from None
    except Rejected as error:
        more = "".join(f"\n  {line}" for line in _others(error)[:VIOLATIONS_SHOWN_MAX])
        raise Bad(error.cause + more, error.remedy or "correct the input") from None
    except ZoneFileErrors as error:
        raise Bad(
            str(error), "correct the file; if another program is writing it, sign it again later"
        ) from None
    except SignerError as error:
        raise Bad(str(error), "repair the key store, or give another; nothing was written") from None


def _others(error: Rejected) -> list[str]:
    """Return the violations that the cause does not contain: it starts with the first, or lists all, one per line."""
    stated = set(error.cause.splitlines())
    return [
        line
        for at, line in enumerate(error.violations)
        if line not in stated and (at or line not in error.cause)
    ]


def _is_same(file: Path, output: str) -> bool:
    try:
        return output != STANDARD_OUTPUT and file.samefile(output)
    except OSError:  # one of them does not exist: the code that opens it reports that
        return False


def _run(options: Options, stopping: Stopping) -> Signed:
    if options.quiet and options.output == STANDARD_OUTPUT:
        raise Bad("the zone and JSON cannot both go to standard output", "give -o FILE", USAGE)
    if _is_same(options.file, options.output):
        what = f"-o {options.output} is the input file: its comments and $INCLUDE lines would be lost"
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
    """Read the key files. Raise Bad when other options ask for new keys; BadKeyFile."""
    if not options.keys:
        return []
    if options.algorithms:
        raise Bad(
            "--algorithm applies to new keys only; each key file states its algorithm",
            "omit --algorithm",
            USAGE,
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
            f"{options.origin} has {len(origin)} bytes in wire format: NSEC3 owner names do not fit",
            "use --denial nsec",
        )
    if options.opt_out and options.denial != "nsec3":
        raise Bad("--opt-out requires --denial nsec3", "omit --opt-out, or give --denial nsec3", USAGE)
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
            "inception and expiration are more than 68 years apart: an RRSIG cannot express this (RFC 4034 §3.1.5)",
            "give an earlier --expiration, or a later --inception",
            USAGE,
        )
    return Window(inception, options.expiration, options.expiration)


def _settings(options: Options, directory: Path, scratch: Path) -> SignerSettings:
    """Return the settings of the private key service; keys given as files are in a store below ``scratch``."""
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
        limits=LimitSettings(default=KeyLimits(validity_s_max=SPAN_S_MAX)),
    )


class KeyService:
    """The key service of this command; it starts while the zone file is read."""

    def __init__(self, settings: SignerSettings) -> None:
        self.signer = SignerClient(settings.socket, SIGNER_DEADLINE_S, owners=OWN_CHILD)
        self._stack = ExitStack()
        self._starter = ThreadPoolExecutor(1)
        launched = launched_signer(settings, quiet=True)
        self._started = self._starter.submit(self._stack.enter_context, launched)

    def client(self) -> SignerClient:
        """Return the client as soon as the service answers. Raise OperatorNeeded when it cannot start."""
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
            raise Bad(
                f"the key store {directory} is not a directory", "give a directory with --keystore", USAGE
            )
        return directory
    if options.output == STANDARD_OUTPUT:
        raise Bad(
            "new keys need a directory: the default is derived from -o FILE",
            "give --keystore DIR or --key FILE",
            USAGE,
        )
    return Path(f"{options.output}.keys").absolute()


@contextmanager
def _undone(directory: Path) -> Iterator[None]:
    """Remove a key store that this command created, if the signed zone is not written."""
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
    # Importing the configuration package takes time: only --algorithm needs it.
    from dnssecd.config.algorithms import algorithm_number

    numbers = []
    for name in names:
        try:
            numbers.append(algorithm_number(name))
        except KeyError:
            raise Bad(
                f"{name} is not a DNSSEC algorithm",
                "use a mnemonic or number of the IANA registry (RFC 9904)",
                USAGE,
            ) from None
        except ValueError as reason:
            raise Bad(
                f"algorithm {name} is refused: {reason}", "use ecdsap256sha256 or ed25519", USAGE
            ) from None
    return numbers
