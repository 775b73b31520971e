"""What the key service and its HSM workers say to each other, one call at a time, in frames of `procs.frames`."""

from __future__ import annotations

import msgspec

from dnssecd.keyservice_protocol import FRAME_OCTETS_MAX, ProtocolError
from dnssecd.procs.frames import build_frame


class Call(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all calls."""


class OpenCall(Call, frozen=True, tag="open"):
    """First call: load the module, find the token, log in. One of label, serial, slot is set."""

    module: str
    label: str
    serial: str
    slot: int
    pin: str


class FindCall(Call, frozen=True, tag="find"):
    """Find a private key by CKA_ID (hex) and public key (DNSKEY RDATA), to be signed with as `key_id`."""

    key_id: str
    cka_id: str
    dnskey: bytes


class SignCall(Call, frozen=True, tag="sign"):
    """Sign with a key that was found."""

    key_id: str
    preimages: list[bytes]


class GenerateCall(Call, frozen=True, tag="generate"):
    """Make a key pair in the token; it can be signed with at once as `key_id`."""

    key_id: str
    cka_id: str
    label: str
    algorithm: int
    bits: int


class DestroyCall(Call, frozen=True, tag="destroy"):
    """Destroy the key pair with this CKA_ID and public key."""

    key_id: str
    cka_id: str
    dnskey: bytes


class SearchCall(Call, frozen=True, tag="search"):
    """Describe private keys by CKA_ID (hex) or label, for adoption; with a public key by that, and no other."""

    cka_id: str
    label: str
    algorithm: int
    public_key: bytes


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all answers."""


class Opened(Answer, frozen=True, tag="opened"):
    """The token is open; `algorithms` are the DNSSEC algorithms it can sign with."""

    token: str
    algorithms: tuple[int, ...]


class Found(Answer, frozen=True, tag="found"):
    """Whether the key is there; else why not."""

    there: bool
    detail: str = ""


class Signed(Answer, frozen=True, tag="signed"):
    """Signatures of the first preimages, in DNSSEC wire form and in order; the rest are left for another call."""

    signatures: list[bytes]


class Generated(Answer, frozen=True, tag="generated"):
    """Public key field of the DNSKEY RDATA."""

    public_key: bytes


class Candidate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A private key in the token."""

    cka_id: str
    label: str
    public_key: bytes
    bits: int


class Candidates(Answer, frozen=True, tag="candidates"):
    """Private keys found."""

    keys: list[Candidate]


class Done(Answer, frozen=True, tag="done"):
    """It was done."""


class Failed(Answer, frozen=True, tag="failed"):
    """The call failed; `kind` is the PKCS#11 error's name. `fatal`: the session is not to be used any more."""

    kind: str
    message: str
    fatal: bool


AnyCall = OpenCall | FindCall | SignCall | GenerateCall | DestroyCall | SearchCall
AnyAnswer = Opened | Found | Signed | Generated | Candidates | Done | Failed

_encoder = msgspec.msgpack.Encoder()
_call_decoder: msgspec.msgpack.Decoder[AnyCall] = msgspec.msgpack.Decoder(AnyCall)
_answer_decoder: msgspec.msgpack.Decoder[AnyAnswer] = msgspec.msgpack.Decoder(AnyAnswer)


def encode(message: Call | Answer) -> bytes:
    """Return `message` as a frame."""
    body = _encoder.encode(message)
    return build_frame(body, FRAME_OCTETS_MAX)


def decode_call(body: bytes) -> AnyCall:
    """Decode a frame's body as a call."""
    return _call_decoder.decode(body)


def decode_answer(body: bytes) -> AnyAnswer:
    """Decode a frame's body as an answer; ProtocolError when it is none."""
    try:
        return _answer_decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not an answer of a worker: {error}") from None
