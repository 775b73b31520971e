"""Calls of the key service to its HSM workers and their answers, one call at a time, in frames of `procs.frames`."""

from __future__ import annotations

import msgspec

from dnssecd.keyservice_protocol import FRAME_OCTETS_MAX, ProtocolError
from dnssecd.procs.frames import build_frame


class Call(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all calls."""


class OpenCall(Call, frozen=True, tag="open"):
    """First call: load the module, find the token, log in. At least one of label, serial, slot is set.

    `login`: "pin", "protected" (the token has a PIN pad of its own) or "none".
    """

    module: str
    label: str
    serial: str
    slot: int
    pin: str
    login: str = "pin"


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
    """Make a key pair in the token; it can be signed with at once as `key_id`. `recipe`: the first to try."""

    key_id: str
    cka_id: str
    label: str
    algorithm: int
    bits: int
    recipe: int = 0


class DestroyCall(Call, frozen=True, tag="destroy"):
    """Destroy the key pair with this CKA_ID and public key."""

    key_id: str
    cka_id: str
    dnskey: bytes


class SearchCall(Call, frozen=True, tag="search"):
    """Describe private keys by CKA_ID (hex) or label, for adoption; with a public key by that, and no other.

    `by_attributes` false: the module does not find keys by their public key.
    """

    cka_id: str
    label: str
    algorithm: int
    public_key: bytes
    by_attributes: bool = True


class InfoCall(Call, frozen=True, tag="info"):
    """Read CK_TOKEN_INFO."""


class Answer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all answers."""


class TokenInfo(Answer, frozen=True, tag="info!"):
    """The token's own account: names of flags that are set; sessions and octets of memory, -1 where unknown.

    `sessions_max` 0: no limit.
    """

    flags: tuple[str, ...] = ()
    sessions: int = -1
    sessions_max: int = -1
    memory_free: int = -1
    memory_total: int = -1


class Opened(Answer, frozen=True, tag="opened"):
    """The token is open; it signs with the DNSSEC `algorithms`, and makes keys for those in `makes`."""

    token: str
    algorithms: tuple[int, ...]
    makes: tuple[int, ...]
    info: TokenInfo


class Found(Answer, frozen=True, tag="found"):
    """Whether the key is there; else why not. `absent`: this session sees no private key with that CKA_ID."""

    there: bool
    detail: str = ""
    absent: bool = False


class Signed(Answer, frozen=True, tag="signed"):
    """Signatures of the first preimages, in DNSSEC wire form and in order; the rest are left for another call."""

    signatures: list[bytes]


class Generated(Answer, frozen=True, tag="generated"):
    """Public key field of the DNSKEY RDATA, CKA_ID (hex) as the token has it, and the recipe that made the key.

    `more`: what the key can do besides signing, by attribute.
    """

    public_key: bytes
    cka_id: str
    recipe: int
    more: tuple[str, ...] = ()


class Candidate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A private key in the token; `public_key` is empty where the token does not say it."""

    cka_id: str
    label: str
    public_key: bytes
    bits: int
    extractable: bool = False
    signs: bool = True


class Candidates(Answer, frozen=True, tag="candidates"):
    """Private keys found."""

    keys: list[Candidate]


class Destroyed(Answer, frozen=True, tag="destroyed"):
    """Whether this session saw the private key and destroyed it; else why not."""

    there: bool
    detail: str = ""
    absent: bool = False


class Failed(Answer, frozen=True, tag="failed"):
    """The call failed; `kind` is the PKCS#11 error's name. `fatal`: the session is not to be used any more.

    `call` is the PKCS#11 call that failed, or empty.
    """

    kind: str
    message: str
    fatal: bool
    call: str = ""


AnyCall = OpenCall | FindCall | SignCall | GenerateCall | DestroyCall | SearchCall | InfoCall
AnyAnswer = TokenInfo | Opened | Found | Signed | Generated | Candidates | Destroyed | Failed

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
