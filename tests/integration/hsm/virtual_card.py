"""An OpenPGP card (jcecard) in the virtual reader of vsmartcard-vpcd: PORT STATE_DIRECTORY."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import time
from pathlib import Path

from jcecard.atr import DEFAULT_ATR
from jcecard.main import OpenPGPCard

POWER_OFF, POWER_ON, RESET, GET_ATR = 0, 1, 2, 4
#: SELECT DATA: OpenSC sends it, the card does not know it.
SELECT_DATA = 0xA5


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def serve(connection: socket.socket, card: OpenPGPCard) -> None:
    while True:
        message = read(connection, struct.unpack("!H", read(connection, 2))[0])
        answer = None
        if message == bytes((POWER_OFF,)):
            card.power_off()
        elif message == bytes((POWER_ON,)):
            card.power_on()
        elif message == bytes((RESET,)):
            card.reset()
        elif message == bytes((GET_ATR,)):
            answer = card.get_atr()
        elif len(message) > 1 and message[1] == SELECT_DATA:
            answer = b"\x90\x00"
        else:
            answer = card.process_apdu(message)
        if answer is not None:
            connection.sendall(struct.pack("!H", len(answer)) + answer)


def main() -> None:
    logging.disable(logging.CRITICAL)
    port, storage = int(sys.argv[1]), Path(sys.argv[2])
    card = OpenPGPCard(atr=DEFAULT_ATR, storage_path=storage)
    for _ in range(100):
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.settimeout(None)
                serve(connection, card)
        except (OSError, EOFError):
            time.sleep(0.2)


main()
