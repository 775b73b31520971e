"""A key service without tokens loads nothing of PKCS#11."""

from __future__ import annotations

import subprocess
import sys


def test_a_key_service_loads_pkcs11_only_for_tokens() -> None:
    text = (
        "import sys, dnssecd.signer.__main__; "
        "print([name for name in sys.modules if name.startswith(('pkcs11', 'asn1crypto'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "[]\n"
