"""Removal of secrets from texts, by their form. Zone workers use it as well, so it loads nothing else."""

import re

REDACTED = "[redacted]"
TEXT_MAX = 8_192

_SECRET_TEXT = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|^(?:PrivateKey|Private-key-format|PrivateExponent|Prime[12]|Exponent[12]|Coefficient):[^\n]*$",
    re.S | re.M,
)


def redact_text(text: str) -> str:
    """Return a text without parts that have the form of a secret, of at most TEXT_MAX characters."""
    text = _SECRET_TEXT.sub(REDACTED, text)
    return text if len(text) <= TEXT_MAX else text[:TEXT_MAX] + " …"
