"""``dnssecd sign``: one zone file signed without a daemon, by the daemon's own code."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dnssecd.cli.common import Bad
from dnssecd.cli.private_file import PrivateFile
from dnssecd.cli.progress import shown
from dnssecd.clock import SystemClock
from dnssecd.config.algorithms import algorithm_number
from dnssecd.core.lifetimes import Window
from dnssecd.core.names import BadName, text_to_wire, wire_to_text
from dnssecd.ingest.errors import ZoneFileErrors
from dnssecd.pipeline.bindkeys import BadKeyFile, KeyFile, read_key_file, roles
from dnssecd.pipeline.checkers import spread_checker
from dnssecd.pipeline.oneshot import OneShot, Signed, sign_file
from dnssecd.pipeline.rejected import Rejected
from dnssecd.pipeline.spec import ZoneSpec
from dnssecd.signing.client import SignerClient
from dnssecd.signing.errors import SignerError
from dnssecd.signing.launch import launched_signer
from dnssecd.wire_protocol import KeyInfo, KeystoreSettings, Role, SignerSettings

STORE = "local"
VALIDITY_S = 30 * 86_400
INCEPTION_OFFSET_S = -3600
JITTER_S = 12 * 3600
SIGNER_DEADLINE_S = 60.0
NSEC3_NAME_MAX = 222


@dataclass(frozen=True)
class Options:
    """The options as given; times in epoch seconds, None where not given."""

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
        return _run(options)
    except (BadName, BadKeyFile) as error:
        raise Bad(str(error), "correct the command line") from None
    except Rejected as error:
        more = "".join(f"\n  {line}" for line in error.violations[:100] if line != error.cause)
        raise Bad(error.cause + more, error.remedy or "correct the input") from None
    except ZoneFileErrors as error:
        raise Bad(str(error), "sign it again when nobody is writing it") from None
    except SignerError as error:
        raise Bad(str(error), "see the message above; nothing was written") from None


def _run(options: Options) -> Signed:
    now = int(SystemClock().now())
    spec = _spec(options)
    window = _window(options, now)
    judged_at = min(max(now, window.inception), window.expiration_min)
    date = int(datetime.fromtimestamp(now, UTC).strftime("%Y%m%d"))
    job = OneShot(spec, options.file, window, judged_at, date, options.verify)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dnssecd-sign-")))
        key_service = KeyService(_settings(options, scratch))
        stack.callback(key_service.stop)
        told = stack.enter_context(shown(options.quiet))
        checker = stack.enter_context(spread_checker(told))
        write = stack.enter_context(_output(options.output))
        return sign_file(
            job, lambda: _keys(options, spec, key_service.client()), key_service.signer, checker, write
        )


def _spec(options: Options) -> ZoneSpec:
    origin = text_to_wire(options.origin)
    if options.denial == "nsec3" and len(origin) > NSEC3_NAME_MAX:
        raise Bad(
            f"{options.origin} is {len(origin)} octets long on the wire: no hashed owner name fits before it",
            "use --denial nsec",
        )
    if options.opt_out and options.denial != "nsec3":
        raise Bad("--opt-out goes with --denial nsec3 only", "leave one of them out", 2)
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
    )


def _window(options: Options, now: int) -> Window:
    inception = now + INCEPTION_OFFSET_S if options.inception is None else options.inception
    if options.expiration is None:
        latest = max(now, inception) + VALIDITY_S
        return Window(inception, latest - JITTER_S, latest)
    if options.expiration <= inception:
        raise Bad("the expiration is not after the inception", "give a later --expiration", 2)
    return Window(inception, options.expiration, options.expiration)


def _settings(options: Options, scratch: Path) -> SignerSettings:
    """Return what our own key service is told: keys given by file live in a store that goes with ``scratch``."""
    directory = scratch / "keys" if options.keys else _directory(options)
    store = KeystoreSettings(
        name=STORE,
        type="software",
        directory=str(directory),
        passphrase_file=str(options.passphrase_file or ""),
    )
    return SignerSettings(
        socket=str(scratch / "signer.sock"),
        state_dir=str(scratch / "signer" if options.keys else directory / "state"),
        keystores=(store,),
        deterministic_ecdsa=options.deterministic,
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
        return options.keystore.absolute()
    if options.output == "-":
        raise Bad("without -o FILE there is no place for new keys", "give --keystore DIR or --key FILE", 2)
    return Path(f"{options.output}.keys").absolute()


def _keys(options: Options, spec: ZoneSpec, signer: SignerClient) -> list[KeyInfo]:
    if options.keys:
        return _imported([read_key_file(path, spec.origin) for path in options.keys], spec, signer)
    return [
        signer.generate(
            spec.origin,
            role,
            number,
            store=STORE,
            idempotency=f"first {role} of algorithm {number}",
        )
        for number in _numbers(options.algorithms or ("ecdsap256sha256",))
        for role in _roles(options.csk)
    ]


def _roles(csk: bool) -> tuple[Role, ...]:
    return ("csk",) if csk else ("ksk", "zsk")


def _numbers(names: Sequence[str]) -> list[int]:
    numbers = []
    for name in names:
        try:
            numbers.append(algorithm_number(name))
        except KeyError:
            raise Bad(f"{name} is no DNSSEC algorithm", "use a mnemonic or number of RFC 8624", 2) from None
        except ValueError as reason:
            raise Bad(f"algorithm {name} is refused: {reason}", "use ecdsap256sha256 or ed25519", 2) from None
    return numbers


def _imported(files: list[KeyFile], spec: ZoneSpec, signer: SignerClient) -> list[KeyInfo]:
    keys = []
    for file, role in zip(files, roles(files), strict=True):
        info = signer.import_key(spec.origin, role, file.algorithm, file.private, store=STORE)
        if info.public_key != file.public_key:
            raise BadKeyFile(f"{file.path}: the private key is not that of the DNSKEY beside it")
        keys.append(info)
    return keys


@contextmanager
def _output(path: str) -> Iterator[Callable[[str], object]]:
    if path == "-":
        yield sys.stdout.write
        return
    with PrivateFile(path) as out:
        yield out.write
