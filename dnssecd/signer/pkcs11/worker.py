"""An HSM worker process: one `C_Initialize`, one session, one call at a time.

python-pkcs11 initialises modules for a single thread, and a vendor's library may hang or crash: a process
can be killed and replaced, a thread cannot. The worker gets its calls on a socket inherited as
descriptor 3 and ends when that closes, or when the key service dies.
"""

from __future__ import annotations

import os
import socket
import sys

from dnssecd.signer.child import frame_bodies, serve_parent
from dnssecd.signer.pkcs11 import messages as m
from dnssecd.signer.pkcs11.token import TokenSession, failure


def main() -> int:
    """Serve calls until the socket closes; arguments as of `serve_parent`."""
    if not serve_parent(serve):
        return 1
    # Not an orderly exit: a module's finaliser may hang or crash, and there is nothing left to save.
    os._exit(0)


def serve(connection: socket.socket) -> None:
    """Answer calls in order."""
    session: TokenSession | None = None
    for body in frame_bodies(connection):
        call = m.decode_call(body)
        answer: m.AnyAnswer
        try:
            if isinstance(call, m.OpenCall):
                session = TokenSession(call)
                answer = session.describe()
            else:
                assert session is not None
                answer = answer_call(session, call)
        except Exception as error:
            answer = failure(error)
        connection.sendall(m.encode(answer))


def answer_call(session: TokenSession, call: m.AnyCall) -> m.AnyAnswer:
    """Do what one call asks for."""
    match call:
        case m.SignCall():
            return m.Signed(session.sign(call.key_id, call.preimages))
        case m.FindCall():
            return session.find(call.key_id, call.cka_id, call.dnskey)
        case m.GenerateCall():
            return session.generate(call)
        case m.DestroyCall():
            return session.destroy(call.key_id, call.cka_id, call.dnskey)
        case m.SearchCall():
            return m.Candidates(session.search(call))
        case m.InfoCall():
            return session.read_info()
    raise AssertionError(f"unexpected call {type(call).__name__}")


if __name__ == "__main__":
    sys.exit(main())
