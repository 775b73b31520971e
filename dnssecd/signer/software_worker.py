"""A process that signs for the software key store: threads of one process wait for each other at every signature.

It gets keys and preimages on an inherited socket, reads no file, and ends when the socket closes or the key
service dies.
"""

from __future__ import annotations

import socket
import sys

import msgspec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from dnssecd.keyservice_protocol import FRAME_OCTETS_MAX
from dnssecd.procs.frames import build_frame
from dnssecd.signer import algorithms
from dnssecd.signer.algorithms import PrivateKey, Sign
from dnssecd.signer.child import frame_bodies, serve_parent


class KeyCall(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="key"):
    """What to sign with from now on: a private key as PKCS#8 DER."""

    algorithm: int
    deterministic: bool
    private: bytes


class SignCall(msgspec.Struct, frozen=True, array_like=True, tag="sign"):
    """Sign with the key told last; the answer is a list of signatures in DNSSEC wire form."""

    preimages: list[bytes]


_decoder: msgspec.msgpack.Decoder[KeyCall | SignCall] = msgspec.msgpack.Decoder(KeyCall | SignCall)


def key_call(algorithm: int, deterministic: bool, private: PrivateKey) -> KeyCall:
    """Return the call that tells a key."""
    form = Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    return KeyCall(algorithm, deterministic, private.private_bytes(*form))


def frame(message: object) -> bytes:
    """Return a message as it goes over the socket."""
    body = msgspec.msgpack.encode(message)
    return build_frame(body, FRAME_OCTETS_MAX)


def main() -> int:
    """Serve calls until the socket closes; arguments as of `serve_parent`."""
    return 0 if serve_parent(serve) else 1


def serve(connection: socket.socket) -> None:
    """Answer calls in order."""
    sign: Sign | None = None
    for body in frame_bodies(connection):
        call = _decoder.decode(body)
        if isinstance(call, KeyCall):
            sign = _signer(call)
        else:
            assert sign is not None, "a key comes before the preimages"
            connection.sendall(frame([sign(preimage) for preimage in call.preimages]))


def _signer(call: KeyCall) -> Sign:
    private = load_der_private_key(call.private, None)
    assert isinstance(private, PrivateKey)
    kind = algorithms.algorithm_of(call.algorithm)
    return algorithms.signer(kind, private, deterministic=call.deterministic)


if __name__ == "__main__":
    sys.exit(main())
