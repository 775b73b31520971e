"""A backup of a key is good when it opens again: with its passphrase, to the private key of the DNSKEY."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature

from dnssecd.keyservice_protocol import KeyInfo
from dnssecd.signer import algorithms, private_formats
from dnssecd.signer import key_file as sealed
from dnssecd.signer.errors import BadRequest, Unsupported
from dnssecd.signer.key_file import CannotOpen, KeyEncryption

_MESSAGE = b"dnssecd: does this key open again?"


class Opened:
    """Opens sealed keys under one passphrase; scrypt runs once for those that have its parameters in common."""

    def __init__(self, passphrase: bytes) -> None:
        self._encryption = KeyEncryption(passphrase)

    def check(self, content: bytes, info: KeyInfo) -> None:
        """Raise CannotOpen, with the reason, unless `content` is the key `info`, private half included."""
        found = sealed.read(content)
        key = found.key
        if (key.id, key.dnskey) != (info.id, info.dnskey) or not set(info.zones) <= set(key.zones):
            raise CannotOpen("it describes another key")
        der = sealed.open_sealed(found, self._encryption)
        try:
            private = private_formats.load(der, info.algorithm, validate=False)
            sign = algorithms.signer(algorithms.algorithm_of(info.algorithm), private)
            algorithms.verifier(info.dnskey)(sign(_MESSAGE), _MESSAGE)
        except (BadRequest, Unsupported, InvalidSignature, ValueError):
            raise CannotOpen("it does not hold the private key of its DNSKEY") from None
