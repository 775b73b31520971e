"""A bare python-pkcs11 signing loop, for comparison: MODULE LABEL PIN CKA_ID COUNT; prints seconds when told to go."""

from __future__ import annotations

import hashlib
import sys
import time

import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass

module, label, pin, identity, count = sys.argv[1:]
session = pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin=pin)
wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: bytes.fromhex(identity)}
(key,) = list(session.get_objects(wanted))
data = [b"%d" % number * 20 for number in range(int(count))]
print("ready", flush=True)
sys.stdin.readline()
started_at = time.monotonic()
for one in data:
    key.sign(hashlib.sha256(one).digest(), mechanism=Mechanism.ECDSA)
print(time.monotonic() - started_at, flush=True)
