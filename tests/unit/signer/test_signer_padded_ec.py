"""EC keys as GnuTLS writes them: files of Knot's key directory, made by `keymgr -D DIR ZONE generate algorithm=N`.

Of such keys about every second one has the octet of zeros that other readers refuse.
"""

from __future__ import annotations

import base64

import pytest

from dnssecd.signer import private_formats
from dnssecd.signer.algorithms import dnskey_rdata, key_tag
from dnssecd.signer.errors import BadRequest

P256 = b"""-----BEGIN PRIVATE KEY-----
MIGUAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBHoweAIBAQQhAJNlRUvEFfJnJswW
QfPuQlx3MZicCYgMW5v6cyIqlzHloAoGCCqGSM49AwEHoUQDQgAEdZGMARdHSmMe
FDzir3wj5OTHqwFjcmwfYImOf8+PEvOJNEb3ecG9dqPr75OQVXXAZaCmEPZDXfq3
rq1Ku3Ukrg==
-----END PRIVATE KEY-----
"""
P384 = b"""-----BEGIN PRIVATE KEY-----
MIHAAgEAMBAGByqGSM49AgEGBSuBBAAiBIGoMIGlAgEBBDEAxHr3/iGH1WHan9+0
TdB32U0DAimkcznjqbfBb/ms3WCNDVKRgP7KjtGpilJ5i4f8oAcGBSuBBAAioWQD
YgAEuuKv8dcB3bAIYD6bfZ+YFpq8iYrDLT7owH++C2++9F7lJoS8qpE0SxYuQGuF
yjCf2tBQaqd1b01K+HqsKJrZB6wMqXJBM2mtXX8gMIWuusaFkgvJj4J15azfJtJV
3SL2
-----END PRIVATE KEY-----
"""


def der(pem: bytes) -> bytes:
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


@pytest.mark.parametrize(("content", "number", "tag"), [(P256, 13, 3216), (P384, 14, 35363)])
def test_a_secret_with_an_octet_of_zeros_before_it_is_read(content: bytes, number: int, tag: int) -> None:
    for form in (content, der(content)):
        private = private_formats.load(form, number)
        assert key_tag(dnskey_rdata(257, number, private.public_key())) == tag


def test_a_file_that_is_cut_or_altered_is_refused() -> None:
    whole = der(P256)
    for octet in range(len(whole)):
        with pytest.raises(BadRequest):
            private_formats.load(whole[:octet], 13)
    secret = whole.index(b"\x04\x21\x00") + 5
    with pytest.raises(BadRequest):
        private_formats.load(whole[:secret] + bytes([whole[secret] ^ 1]) + whole[secret + 1 :], 13)


def test_a_key_on_another_curve_is_refused() -> None:
    with pytest.raises(BadRequest):
        private_formats.load(P384, 13)
    with pytest.raises(BadRequest):
        private_formats.load(P256, 14)
