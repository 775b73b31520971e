"""Who may read the page."""

from __future__ import annotations

from base64 import b64encode

import pytest

from dnssecd.ops.http_host import is_host_allowed
from dnssecd.page.access import is_token_right

TOKEN = b"0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "host",
    [None, "localhost", "LOCALHOST:9534", "127.0.0.1:9534", "[::1]:9534", "192.0.2.1", "status.example.net"],
)
def test_addresses_and_known_names_are_served(host: str | None) -> None:
    assert is_host_allowed(host, ["status.example.net"])


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[evil"]
)
def test_a_name_of_a_stranger_is_not(host: str) -> None:
    """DNS rebinding: a browser of the operator's machine asks for the stranger's name."""
    assert not is_host_allowed(host, ["status.example.net"])


def basic(password: bytes) -> str:
    return "Basic " + b64encode(b"anyone:" + password).decode()


@pytest.mark.parametrize("header", [f"Bearer {TOKEN.decode()}", f"bearer  {TOKEN.decode()} ", basic(TOKEN)])
def test_the_token_is_taken_as_bearer_and_as_password(header: str) -> None:
    assert is_token_right(header, TOKEN)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN.decode()[:-1]}",
        f"Bearer {TOKEN.decode()}x",
        f"Digest {TOKEN.decode()}",
        TOKEN.decode(),
        basic(b""),
        basic(TOKEN[:-1]),
        "Basic !!!",
        "Basic " + b64encode(TOKEN).decode(),
        "Bearer ÿ☃",
    ],
)
def test_anything_else_is_refused(header: str | None) -> None:
    assert not is_token_right(header, TOKEN)
