#!/usr/bin/python3
"""A stranger on the network: runs in a host's network namespace and knows no key.

    wire_probe.py plain ADDRESS PORT              speaks HTTP
    wire_probe.py junk ADDRESS PORT               sends random bytes
    wire_probe.py tls12|tls13 ADDRESS PORT        speaks TLS with a certificate's trust in anybody
    wire_probe.py rogue tls|http|silent PORT CERT KEY   listens in a peer's place until its stdin ends

Prints one JSON object: {"handshake": bool, "received": hex}.
"""

import json
import os
import socket
import ssl
import sys
import threading

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
VERSIONS = {"tls12": ssl.TLSVersion.TLSv1_2, "tls13": ssl.TLSVersion.TLSv1_3}


def read_some(connection):
    received = b""
    try:
        while len(received) < 1 << 20 and (piece := connection.recv(65536)):
            received += piece
    except OSError:  # a timeout, a reset, a TLS alert: nothing more comes
        pass
    return received


def ask(kind, address, port):
    with socket.create_connection((address, int(port)), 5) as connection:
        connection.settimeout(3)
        if kind in VERSIONS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version = context.maximum_version = VERSIONS[kind]
            try:
                connection = context.wrap_socket(connection)
            except OSError:
                return False, b""
            connection.sendall(REQUEST)
            return True, read_some(connection)
        try:
            connection.sendall(REQUEST if kind == "plain" else os.urandom(300_000))
        except OSError:
            pass
        return False, read_some(connection)


class Rogue:
    """Takes what an importer is ready to tell to somebody without the key."""

    def __init__(self, kind, port, certificate, key):
        self.kind, self.handshake, self.received = kind, False, b""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("0.0.0.0", int(port)))

    def run(self):
        threading.Thread(target=self._accept, daemon=True).start()
        print("listening", flush=True)
        sys.stdin.read()
        return self.handshake, self.received

    def _accept(self):
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection):
        connection.settimeout(4)
        try:
            if self.kind == "tls":
                connection = self._context.wrap_socket(connection, server_side=True)
                self.handshake = True
            self.received += connection.recv(65536)
            if self.kind != "silent":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            self.received += read_some(connection)
        except OSError:
            pass


def main(arguments):
    if arguments[0] == "rogue":
        handshake, received = Rogue(*arguments[1:]).run()
    else:
        handshake, received = ask(*arguments)
    print(json.dumps({"handshake": handshake, "received": received.hex()}))


main(sys.argv[1:])
