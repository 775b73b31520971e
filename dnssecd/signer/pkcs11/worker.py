"""An HSM worker process: one `C_Initialize`, one session, one call at a time.

python-pkcs11 initialises modules for a single thread, and a vendor's library may hang or crash: a process
can be killed and replaced, a thread cannot. The worker gets its calls on a socket inherited as
descriptor 3 and ends when that closes, or when the key service dies.
"""

from __future__ import annotations

import os
import socket
import sys

import pkcs11

from dnssecd.signer.child import frame_bodies, guard_child
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11.token import TokenFault, TokenSession

# The call was wrong or cannot be done, but the session is as good as before.
_HARMLESS = (
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.KeySizeRange,
    pkcs11.DeviceMemory,
    pkcs11.AttributeValueInvalid,
    pkcs11.AttributeTypeInvalid,
    pkcs11.TemplateInconsistent,
    pkcs11.TokenWriteProtected,
    pkcs11.SessionReadOnly,
    pkcs11.FunctionNotSupported,
)


def main() -> int:
    """Serve calls until the socket closes; arguments: the parent's process id, the socket's descriptor."""
    parent, descriptor = map(int, sys.argv[1:])
    if not guard_child(parent):
        return 1
    with socket.socket(fileno=descriptor) as connection:
        serve(connection)
    # Not an orderly exit: a module's finaliser may hang or crash, and there is nothing left to save.
    os._exit(0)


def serve(connection: socket.socket) -> None:
    """Answer calls in order."""
    session: TokenSession | None = None
    for body in frame_bodies(connection):
        call = m.decode_call(body)
        try:
            if isinstance(call, m.OpenCall):
                session = TokenSession(call)
                answer: m.AnyAnswer = m.Opened(session.token, session.algorithms)
            else:
                assert session is not None
                answer = answer_call(session, call)
        except Exception as error:
            answer = failed(error)
        connection.sendall(m.encode(answer))


def answer_call(session: TokenSession, call: m.AnyCall) -> m.AnyAnswer:
    """Do what one call asks for."""
    match call:
        case m.SignCall():
            return m.Signed(session.sign(call.key_id, call.preimages))
        case m.FindCall():
            detail = session.find(call.key_id, call.cka_id, call.dnskey)
            return m.Found(not detail, detail)
        case m.GenerateCall():
            return m.Generated(
                session.generate(call.key_id, call.cka_id, call.label, call.algorithm, call.bits)
            )
        case m.DestroyCall():
            session.destroy(call.key_id, call.cka_id, call.dnskey)
            return m.Done()
        case m.SearchCall():
            return m.Candidates(session.search(call.cka_id, call.label, call.algorithm, call.public_key))
    raise AssertionError(f"unexpected call {type(call).__name__}")


def failed(error: Exception) -> m.Failed:
    """Describe an error; PKCS#11 errors carry no secrets, others are only named."""
    if isinstance(error, TokenFault):
        return m.Failed(error.kind, str(error), True)
    if isinstance(error, pkcs11.PKCS11Error):
        kind = type(error).__name__
        return m.Failed(kind, str(error) or kind, not isinstance(error, _HARMLESS))
    return m.Failed(type(error).__name__, "unexpected error in the HSM worker", True)


if __name__ == "__main__":
    sys.exit(main())
