#!/usr/bin/python3
"""ledger_client.py postgresql|counter ADDRESS…: writes one number after the other to whichever of the addresses answers,
until its standard input ends; then prints as JSON each number that it was told is stored, and when (time.monotonic()).

A program of its own, because it runs in the network of a lab host. Speaks PostgreSQL's protocol itself
(https://www.postgresql.org/docs/15/protocol-flow.html, a simple query), since a driver's own waits would be measured.
"""

import json
import select
import socket
import struct
import sys
import time

PORTS = {"postgresql": 5432, "counter": 7000}
_CONNECT_S = 0.3
_ANSWER_S = 10
_PAUSE_S = 0.005  # between two attempts, and between two numbers


class Refused(Exception):
    pass


class Postgresql:
    def __init__(self, address):
        self._socket = socket.create_connection((address, PORTS["postgresql"]), _CONNECT_S)
        self._socket.settimeout(_ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        words = b"user\0postgres\0database\0postgres\0\0"
        self._socket.sendall(struct.pack("!ii", 8 + len(words), 3 << 16) + words)
        self._until_ready()

    def store(self, number):
        text = f"INSERT INTO ledger VALUES ({number})".encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!i", 4 + len(text)) + text)
        self._until_ready()

    def _until_ready(self):
        error = None
        while True:
            kind, size = struct.unpack("!ci", self._read(5))
            body = self._read(size - 4)
            if kind == b"E":
                error = body
                if body.startswith(b"SFATAL"):
                    raise Refused(body)
            if kind == b"Z":
                break
        if error:
            raise Refused(error)

    def _read(self, count):
        data = b""
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def close(self):
        self._socket.close()


class Counter:
    """harness/counter.cpp"""

    def __init__(self, address):
        self._socket = socket.create_connection((address, PORTS["counter"]), _CONNECT_S)
        self._socket.settimeout(_ANSWER_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def store(self, number):
        self._socket.sendall(struct.pack("=Q", number))
        answer = self._socket.recv(8, socket.MSG_WAITALL)
        if answer != struct.pack("=Q", number):
            raise ConnectionError("closed")

    def close(self):
        self._socket.close()


def is_over():
    return bool(select.select([sys.stdin], [], [], _PAUSE_S)[0])


def main(kind, *addresses):
    stored, number, turn, connection = [], 0, 0, None
    while not is_over():
        try:
            if connection is None:
                connection = {"postgresql": Postgresql, "counter": Counter}[kind](addresses[turn % len(addresses)])
            number += 1  # of one whose answer is lost nobody knows whether it is stored
            connection.store(number)
            stored.append([number, time.monotonic()])
        except (OSError, Refused):
            turn += 1
            if connection is not None:
                connection.close()
            connection = None
    json.dump(stored, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
