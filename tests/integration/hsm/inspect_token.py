"""Look into a token, or make a key in it, independently of the product: MODULE LABEL PIN [make CKA_ID KEYLABEL].

`make-asking` makes a key that wants the PIN for each signature. Also `delete CKA_ID`, and `delete-public CKA_ID`, which
leaves a private key alone, as OpenDNSSEC keeps RSA keys.
"""

from __future__ import annotations

import json
import sys

import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

module, label, pin, *rest = sys.argv[1:]
token = pkcs11.lib(module).get_token(token_label=label)
with token.open(rw=True, user_pin=pin) as session:
    if rest[:1] in (["make"], ["make-asking"]):
        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
        )
        parameters.generate_keypair(
            store=True,
            id=bytes.fromhex(rest[1]),
            label=rest[2],
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            private_template={Attribute.ALWAYS_AUTHENTICATE: True} if rest[0] == "make-asking" else {},
        )
    if rest[:1] == ["delete-public"]:
        wanted = {Attribute.ID: bytes.fromhex(rest[1]), Attribute.CLASS: ObjectClass.PUBLIC_KEY}
        for found in list(session.get_objects(wanted)):
            found.destroy()
    if rest[:1] == ["delete"]:
        for found in list(session.get_objects({Attribute.ID: bytes.fromhex(rest[1])})):
            found.destroy()
    print(
        json.dumps(
            [
                {
                    "id": key[Attribute.ID].hex(),
                    "label": key[Attribute.LABEL],
                    "private": key[Attribute.PRIVATE],
                    "sensitive": key[Attribute.SENSITIVE],
                    "extractable": key[Attribute.EXTRACTABLE],
                    "uses": [
                        use.name
                        for use in (Attribute.SIGN, Attribute.DECRYPT, Attribute.UNWRAP, Attribute.DERIVE)
                        if key[use]
                    ],
                }
                for key in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
            ]
        )
    )
