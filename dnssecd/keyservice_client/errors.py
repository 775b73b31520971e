"""What can go wrong with the key service, each with whose fault it is.

`fault` is "caller" (we asked for something wrong), "keystore" (HSM, token or medium), "operator"
(configuration, PIN, passphrase, permissions) or "signer" (the service itself is down or slow). `retry_in_s`
is 0 when asking again is pointless or may be done at once.
"""

from __future__ import annotations

from dnssecd.keyservice_protocol import ErrorReply, Fault


class SignerError(Exception):
    """The key service could not do what was asked."""

    fault: Fault = "signer"
    code: str = "internal"

    def __init__(self, message: str, *, fault: Fault | None = None, retry_in_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s
        if fault is not None:
            self.fault = fault

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later without an operator's action."""
        return self.code in TEMPORARY


class SignerUnreachable(SignerError):
    """No process answers at the socket, or the connection broke."""

    code = "unreachable"


class SignerTimeout(SignerError):
    """No answer within the deadline."""

    code = "deadline"


class SignerBroken(SignerError):
    """The service sent something that is not the protocol, or an answer that does not fit the request."""

    code = "protocol"


class SignRefused(SignerError):
    """The key is not for what was to be signed; never retried, always our own bug or an attack."""

    fault: Fault = "caller"
    code = "refused"


class BadRequest(SignerError):
    """The request makes no sense to the service."""

    fault: Fault = "caller"
    code = "bad_request"


class KeyUnknown(SignerError):
    """No key of that id is bound to that zone."""

    fault: Fault = "caller"
    code = "unknown_key"


class KeyMissing(SignerError):
    """The service knows the key, but its store has lost it. Never a reason to make another."""

    fault: Fault = "keystore"
    code = "missing_key"


class KeystoreUnavailable(SignerError):
    """The key store cannot be used now: token gone, breaker open, medium not mounted."""

    fault: Fault = "keystore"
    code = "unavailable"


class SignerBusy(SignerError):
    """The service's queue is full."""

    code = "busy"


class Unsupported(SignerError):
    """The algorithm or the operation is not available in that store."""

    fault: Fault = "caller"
    code = "unsupported"


class KeyTagCollision(SignerError):
    """The key's tag, with or without the REVOKE bit, equals one of another key of the zone."""

    fault: Fault = "caller"
    code = "collision"


class KeyExists(SignerError):
    """The key is there already."""

    fault: Fault = "caller"
    code = "exists"


class ConsentNeeded(SignerError):
    """The request waits for the consent of a second person, and must then be sent again."""

    fault: Fault = "operator"
    code = "consent"


class OperatorNeeded(SignerError):
    """Configuration, PIN, passphrase or permissions are wrong; retrying will not help."""

    fault: Fault = "operator"
    code = "operator"


TEMPORARY = frozenset({"unreachable", "deadline", "busy", "unavailable"})

_BY_CODE: dict[str, type[SignerError]] = {
    kind.code: kind
    for kind in (
        SignerTimeout,
        SignRefused,
        BadRequest,
        KeyUnknown,
        KeyMissing,
        KeystoreUnavailable,
        SignerBusy,
        Unsupported,
        KeyTagCollision,
        KeyExists,
        ConsentNeeded,
        OperatorNeeded,
        SignerError,
    )
}


def error_from_reply(reply: ErrorReply) -> SignerError:
    """Return the exception that stands for `reply`."""
    kind = _BY_CODE.get(reply.code, SignerError)
    return kind(reply.message, fault=reply.fault, retry_in_s=reply.retry_in_s)


def nobody_there(error: OSError) -> bool:
    """Whether a connect failed at once since no process listens: that costs nothing and needs no breaker."""
    return isinstance(error, FileNotFoundError | ConnectionRefusedError)
