"""One private key in one encrypted file.

A key file is JSON of a `SealedKey`: the public description in the clear, so that keys can be listed without
the passphrase, and the private key (PKCS#8 DER) under AES-256-GCM. The key of that file is HKDF-SHA256
(salt of its own) of a key-encryption key, which is scrypt of the passphrase; scrypt's salt and cost stand
in every file, so each file can be opened by itself, and are the same in all files of a store, so opening
many costs one scrypt. The description is bound to the ciphertext as associated data: an edited file does
not open.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from dnssecd.keyservice_protocol import Role

FORMAT = "dnssecd-key-1"
SCRYPT_N = 2**15
#: scrypt's costs that are taken: ours, half and twice it (32 to 64 MiB, a fraction of a second).
SCRYPT_N_TAKEN = (2**14, 2**15, 2**16)
SALT_OCTETS_MIN = 16
SALT_OCTETS_MAX = 64


class Kdf(msgspec.Struct, frozen=True):
    """scrypt's salt and cost (RFC 7914)."""

    salt: bytes
    n: int = SCRYPT_N
    r: int = 8
    p: int = 1


class Description(msgspec.Struct, frozen=True, gc=False):
    """What is known of a key without its private half; `dnskey` is RDATA, `created` epoch seconds.

    `cka_id` (hex) and `label` are those of a token's objects; empty in a software store.
    """

    id: str
    zones: tuple[bytes, ...]
    role: Role
    algorithm: int
    bits: int
    flags: int
    dnskey: bytes
    created: int
    cka_id: str = ""
    label: str = ""
    idempotency: str = ""


class SealedKey(msgspec.Struct, frozen=True):
    """A key file's content."""

    format: str
    key: Description
    kdf: Kdf
    salt: bytes
    nonce: bytes
    sealed: bytes


class CannotOpen(Exception):
    """Wrong passphrase, or a file that was changed."""


class KeyEncryption:
    """Key-encryption keys of one passphrase; scrypt runs once for each salt and cost met."""

    def __init__(self, passphrase: bytes) -> None:
        self._passphrase = passphrase
        self._keys: dict[Kdf, bytes] = {}

    def key(self, kdf: Kdf) -> bytes:
        """Return the key-encryption key for `kdf`."""
        if kdf not in self._keys:
            check_kdf(kdf)
            scrypt = Scrypt(salt=kdf.salt, length=32, n=kdf.n, r=kdf.r, p=kdf.p)
            self._keys[kdf] = scrypt.derive(self._passphrase)
        return self._keys[kdf]


def check_kdf(kdf: Kdf) -> None:
    """CannotOpen, naming the field, for parameters that this service does not write: they cost memory and time."""
    if kdf.n not in SCRYPT_N_TAKEN:
        raise CannotOpen(f"kdf.n must be one of {SCRYPT_N_TAKEN}, not {kdf.n}")
    if (kdf.r, kdf.p) != (8, 1):
        raise CannotOpen(f"kdf.r and kdf.p must be 8 and 1, not {kdf.r} and {kdf.p}")
    if not SALT_OCTETS_MIN <= len(kdf.salt) <= SALT_OCTETS_MAX:
        raise CannotOpen(f"kdf.salt must have {SALT_OCTETS_MIN} to {SALT_OCTETS_MAX} octets")


def new_kdf(random: Callable[[int], bytes] = os.urandom) -> Kdf:
    """Parameters for a store that has none yet."""
    return Kdf(random(16))


def seal(
    key: Description,
    private: bytes,
    encryption: KeyEncryption,
    kdf: Kdf,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return the content of a key file for `private` (PKCS#8 DER)."""
    shell = SealedKey(FORMAT, key, kdf, random(32), random(12), b"")
    cipher = AESGCM(_file_key(shell, encryption))
    return msgspec.json.encode(
        msgspec.structs.replace(shell, sealed=cipher.encrypt(shell.nonce, private, _bound(shell)))
    )


def read(content: bytes) -> SealedKey:
    """Decode a key file; CannotOpen when it is none."""
    try:
        sealed = msgspec.json.decode(content, type=SealedKey)
    except msgspec.DecodeError as error:
        raise CannotOpen(f"not a key file: {error}") from None
    if sealed.format != FORMAT:
        raise CannotOpen(f"format {sealed.format[:32]!r} is not {FORMAT!r}: written by another version?")
    check_kdf(sealed.kdf)
    for field, octets, wanted in (("salt", sealed.salt, 32), ("nonce", sealed.nonce, 12)):
        if len(octets) != wanted:
            raise CannotOpen(f"{field} must have {wanted} octets, not {len(octets)}")
    return sealed


def open_sealed(sealed: SealedKey, encryption: KeyEncryption) -> bytes:
    """Return the private key (PKCS#8 DER); CannotOpen when passphrase or file are not what they were."""
    try:
        return AESGCM(_file_key(sealed, encryption)).decrypt(sealed.nonce, sealed.sealed, _bound(sealed))
    except (InvalidTag, ValueError):
        raise CannotOpen("the passphrase is another, or the file was changed") from None


class SealedSecret(msgspec.Struct, frozen=True):
    """A secret of the store itself, as a key file has a private key; `kind` says which and is bound to it."""

    format: str
    kind: str
    kdf: Kdf
    salt: bytes
    nonce: bytes
    sealed: bytes


def seal_secret(
    kind: str, secret: bytes, encryption: KeyEncryption, kdf: Kdf, random: Callable[[int], bytes] = os.urandom
) -> bytes:
    """Return the content of a file for a secret."""
    shell = SealedSecret(FORMAT, kind, kdf, random(32), random(12), b"")
    key = HKDF(hashes.SHA256(), 32, shell.salt, kind.encode()).derive(encryption.key(kdf))
    sealed = AESGCM(key).encrypt(shell.nonce, secret, msgspec.json.encode(shell))
    return msgspec.json.encode(msgspec.structs.replace(shell, sealed=sealed))


def open_secret(kind: str, content: bytes, encryption: KeyEncryption) -> bytes:
    """Return the secret in a file; CannotOpen when the passphrase is another, or it is not that file."""
    try:
        found = msgspec.json.decode(content, type=SealedSecret)
    except msgspec.DecodeError as error:
        raise CannotOpen(f"not a file of the key service: {error}") from None
    if (found.format, found.kind) != (FORMAT, kind):
        raise CannotOpen(f"it is no {kind}, or was written by another version")
    key = HKDF(hashes.SHA256(), 32, found.salt, kind.encode()).derive(encryption.key(found.kdf))
    try:
        bound = msgspec.json.encode(msgspec.structs.replace(found, sealed=b""))
        return AESGCM(key).decrypt(found.nonce, found.sealed, bound)
    except (InvalidTag, ValueError):
        raise CannotOpen("the passphrase is another, or the file was changed") from None


def _bound(sealed: SealedKey) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(sealed, sealed=b""))


def _file_key(sealed: SealedKey, encryption: KeyEncryption) -> bytes:
    kek = encryption.key(sealed.kdf)
    return HKDF(hashes.SHA256(), 32, sealed.salt, sealed.key.id.encode()).derive(kek)
