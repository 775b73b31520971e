"""Letters: a private key from the key service of one node of a cluster to that of another.

Each node has one X25519 key, its *sealing key*; the public halves of all nodes stand in the configuration. The key of
a letter is HKDF-SHA256 of two agreements: of a key made for this letter with the recipient's, and of the sender's own
with the recipient's. So only the recipient opens it, and only the sender, or the recipient itself, can have made it:
an attacker who owns what carries the letter reads nothing, and can add no key. The private key (PKCS#8 DER) is under
AES-256-GCM; all else in the letter is bound to it as associated data, and to the two nodes by the key's derivation.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

from dnssecd.keyservice_settings import SEALING_KEY_OCTETS
from dnssecd.signer.key_file import Description

FORMAT = "dnssecd-letter-1"
# The key of a letter is used once.
_NONCE = bytes(12)


class Letter(msgspec.Struct, frozen=True):
    """`sender`, `recipient`: names of nodes. `ephemeral`: the public key that was made for this letter."""

    format: str
    sender: str
    recipient: str
    ephemeral: bytes
    key: Description
    sealed: bytes


class BadLetter(Exception):
    """A letter that is damaged, forged, or for another node; the text says which."""


class SealingNode(Struct, frozen=True):
    """This node as its key service knows it: its name, its private sealing key, and the public ones of all nodes."""

    name: str
    private: X25519PrivateKey
    nodes: Mapping[str, bytes]

    @property
    def public(self) -> bytes:
        """The public sealing key of this node."""
        return self.private.public_key().public_bytes_raw()

    def seal(self, recipient: str, key: Description, private: bytes) -> bytes:
        """Return the letter with a private key for another node. BadLetter: its sealing key cannot be used."""
        made = X25519PrivateKey.generate()
        shell = Letter(FORMAT, self.name, recipient, made.public_key().public_bytes_raw(), key, b"")
        theirs = self.nodes[recipient]
        secret = _letter_key(shell, (made, theirs), (self.private, theirs), self.public, theirs)
        sealed = AESGCM(secret).encrypt(_NONCE, private, msgspec.json.encode(shell))
        return msgspec.json.encode(msgspec.structs.replace(shell, sealed=sealed))

    def open(self, content: bytes) -> tuple[Letter, bytes]:
        """Return a letter to this node and the private key in it. BadLetter."""
        letter = read(content)
        if letter.recipient != self.name:
            raise BadLetter(f"it is for node {letter.recipient[:64]!r}, this is {self.name!r}")
        theirs = self.nodes.get(letter.sender)
        if theirs is None or letter.sender == self.name:
            raise BadLetter(
                f"its sender {letter.sender[:64]!r} is no other node with a sealing_key in the configuration"
            )
        shell = msgspec.structs.replace(letter, sealed=b"")
        secret = _letter_key(
            shell, (self.private, letter.ephemeral), (self.private, theirs), theirs, self.public
        )
        try:
            return letter, AESGCM(secret).decrypt(_NONCE, letter.sealed, msgspec.json.encode(shell))
        except (InvalidTag, ValueError):
            raise BadLetter(
                f"it was not made by node {letter.sender} for this node with the sealing keys of the configuration, "
                "or it was changed"
            ) from None


def read(content: bytes) -> Letter:
    """Decode a letter without opening it. BadLetter."""
    try:
        letter = msgspec.json.decode(content, type=Letter)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadLetter(f"it is damaged: {error}") from None
    if letter.format != FORMAT:
        raise BadLetter(f"its format {letter.format[:32]!r} is not {FORMAT!r}: written by another version?")
    if len(letter.ephemeral) != SEALING_KEY_OCTETS:
        raise BadLetter(f"its key must have {SEALING_KEY_OCTETS} octets, not {len(letter.ephemeral)}")
    return letter


def _letter_key(
    shell: Letter,
    once: tuple[X25519PrivateKey, bytes],
    lasting: tuple[X25519PrivateKey, bytes],
    sender: bytes,
    recipient: bytes,
) -> bytes:
    """Return the key of a letter from its two agreements."""
    try:
        agreed = b"".join(
            private.exchange(X25519PublicKey.from_public_bytes(public)) for private, public in (once, lasting)
        )
    except ValueError:
        raise BadLetter("a sealing key is not one that can be used (X25519)") from None
    names = msgspec.json.encode((FORMAT, shell.sender, shell.recipient))
    return HKDF(hashes.SHA256(), 32, None, names + sender + recipient + shell.ephemeral).derive(agreed)
