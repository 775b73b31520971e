"""Failures inside the key service, each with the reply code and the party whose fault it is."""

from __future__ import annotations

from dnssecd.keyservice_protocol import ErrorCode, Fault


class ServiceError(Exception):
    """A request cannot be done; the message goes to the client and must hold no secret."""

    code: ErrorCode = "internal"
    fault: Fault = "signer"

    def __init__(self, message: str, *, retry_in_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_in_s = retry_in_s


class Refused(ServiceError):
    """The key is not for what was to be signed."""

    code: ErrorCode = "refused"
    fault: Fault = "caller"


class BadRequest(ServiceError):
    """The request makes no sense."""

    code: ErrorCode = "bad_request"
    fault: Fault = "caller"


class UnknownKey(ServiceError):
    """No key of that id is bound to that zone."""

    code: ErrorCode = "unknown_key"
    fault: Fault = "caller"


class MissingKey(ServiceError):
    """The key is known, its store is there, and the key is not in it."""

    code: ErrorCode = "missing_key"
    fault: Fault = "keystore"


class Unavailable(ServiceError):
    """The store cannot be used now."""

    code: ErrorCode = "unavailable"
    fault: Fault = "keystore"


class Busy(ServiceError):
    """The store's queue is full."""

    code: ErrorCode = "busy"


class Late(ServiceError):
    """The client's deadline passed before the work was done."""

    code: ErrorCode = "deadline"


class Unsupported(ServiceError):
    """The store or this version cannot do it."""

    code: ErrorCode = "unsupported"
    fault: Fault = "caller"


class Collision(ServiceError):
    """A key tag equals one of another key of the zone."""

    code: ErrorCode = "collision"
    fault: Fault = "caller"


def tag_taken() -> Collision:
    """Return the error of a key that comes from elsewhere, with a tag that the zone uses."""
    return Collision("another key of the zone has the same key tag, with or without the REVOKE bit")


def no_tag_left(tries: int) -> Collision:
    """Return the error of a store that made that many keys, none with a tag that it may have."""
    return Collision(
        f"{tries} keys made, each with a key tag that the zone uses already or that is not in tag_range; remove "
        "retired keys, or widen the range"
    )


class Exists(ServiceError):
    """The key is there already."""

    code: ErrorCode = "exists"
    fault: Fault = "caller"


class ConsentNeeded(ServiceError):
    """A second person must consent first."""

    code: ErrorCode = "consent"
    fault: Fault = "operator"


class OperatorNeeded(ServiceError):
    """Configuration, PIN, passphrase or permissions are wrong."""

    code: ErrorCode = "operator"
    fault: Fault = "operator"
