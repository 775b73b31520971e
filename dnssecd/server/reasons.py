"""Why a request is refused, a packet dropped, a transfer over: as data. The values are what logs and events say."""

from __future__ import annotations

from enum import StrEnum


class Refusal(StrEnum):
    """Why a request is refused."""

    ACCESS = "access"
    NOT_SIGNED = "not signed"
    NO_GRANT = "no grant"
    NOT_ALLOWED = "not allowed"  # by the zone's policy or state; the detail says what
    FROZEN = "the zone is frozen"
    NO_SUCH_ZONE = "no such zone"
    CLASS = "class"
    AXFR_OVER_UDP = "AXFR over UDP"
    UPDATES_OFF = "updates are off"
    REPLAYED = "replayed"
    TOO_MANY_TRANSFERS = "too many transfers"
    NOT_OVER_TLS = "transfers of this secondary must use TLS"
    CERTIFICATE = "certificate refused"
    LOG_TOO_LONG = "new transfers wait until the zone's write-ahead log is cut"
    # TSIG errors (RFC 8945 §5.2)
    BADSIG = "BADSIG"
    BADKEY = "BADKEY"
    BADTIME = "BADTIME"
    BADTRUNC = "BADTRUNC"
    FORMERR = "FORMERR"


TSIG_ERRORS = frozenset({Refusal.BADSIG, Refusal.BADKEY, Refusal.BADTIME, Refusal.BADTRUNC, Refusal.FORMERR})


class Drop(StrEnum):
    """Why a packet, or a connection, gets no answer. ENDED: an orderly end."""

    ENDED = ""
    RUNT = "runt"
    RESPONSE = "response"
    REPETITION = "repetition of an UPDATE that is still being processed"
    NO_REQUEST = "TCP message that is no request"
    TOO_SLOW = "TCP message too slow"
    NOT_READING = "TCP peer does not read"
    TRANSFER_TOO_LONG = "transfer took too long"
    TRANSFER_FAILED = "transfer failed"
    STOPPING = "stopping"
    CONNECTIONS = "too many connections"
    CONNECTIONS_OF_CLIENT = "too many connections of one client"
    CONNECTIONS_OF_NETWORK = "too many connections of one network"
    REQUESTS = "too many requests under way"
    CONNECTION_LOST = "connection lost"
    SOURCE_PORT = "source port 0"
    RECEIVE_ERROR = "UDP receive error"
    SEND_BUFFER = "UDP send buffer full"
    SEND_ERROR = "UDP send error"
    HANDSHAKE = "TLS handshake failed"
    HANDSHAKES = "too many TLS handshakes"
    NO_CERTIFICATE = "no certificate for TLS"


class TransferEnd(StrEnum):
    """How a transfer ended, where no `Drop` ended it."""

    DONE = "done"
    NO_VERSION = "no version"
    FAILED = "failed"
    BROKEN_OFF = "connection lost"
