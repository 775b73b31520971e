"""Version, limits and words of the protocol, and the base of every frame."""

from __future__ import annotations

from typing import Literal

import msgspec

from dnssecd.procs.frames import FrameError

PROTOCOL_VERSION = 1
FRAME_OCTETS_MAX = 4 * 1024 * 1024
BATCH_PREIMAGES_MAX = 512
BATCH_OCTETS_TARGET = 1024 * 1024
NONCE_OCTETS_MIN = 16
NONCE_OCTETS_MAX = 64

Role = Literal["ksk", "zsk", "csk"]
Fault = Literal["caller", "keystore", "operator", "signer"]
KeyState = Literal["available", "unavailable", "missing", "unproven"]
#: What waits for the consent of a second person; "recover": out of the trash, "restore": from a backup.
ConsentAct = Literal["adopt", "bind", "destroy", "export", "import", "recover", "restore"]
ErrorCode = Literal[
    "bad_request",
    "refused",
    "unknown_key",
    "missing_key",
    "unavailable",
    "busy",
    "deadline",
    "unsupported",
    "collision",
    "exists",
    "consent",
    "operator",
    "internal",
]


class ProtocolError(FrameError):
    """The peer sent a frame that is not a message of this protocol."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all frames; `id` joins a reply to its request."""

    id: int
