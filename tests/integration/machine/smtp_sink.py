"""Takes each mail on 127.0.0.1 port 25 and appends it to a file: `smtp_sink.py FILE`."""

import socketserver
import sys


class Sink(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                with open(sys.argv[1], "ab") as mails:
                    while (text := self.rfile.readline()) not in (b".\r\n", b""):
                        mails.write(text)
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")


socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer(("127.0.0.1", 25), Sink) as server:
    server.serve_forever()
