"""Primitives and digests of docs/protocol.md. Nothing here was made from Ferry's own code."""

import struct

import xxhash

EXTENT, BLOCK, PAGE = 16 << 20, 1 << 18, 1 << 12
LONGEST_RECORD = 1 << 22


class Malformed(Exception):
    pass


def must(fits, what):
    if not fits:
        raise Malformed(what)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        must(self.at + count <= len(self.data), "it ends too early")
        self.at += count
        return self.data[self.at - count:self.at]

    def byte(self):
        return self.take(1)[0]

    def number(self, bits=64, longest=10):
        value = 0
        for index in range(longest):
            part = self.byte()
            value |= (part & 0x7F) << (7 * index)
            if part < 0x80:
                must(value < 1 << bits, "a number out of its range")
                return value
        raise Malformed("a number of too many bytes")

    def signed(self):
        value = self.number()
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def string(self, longest):
        length = self.number()
        must(length <= longest, "a string longer than its bound")
        return self.take(length)

    def fixed64(self):
        return struct.unpack("<Q", self.take(8))[0]

    def digest(self):
        return self.take(16)

    def rest(self):
        return self.take(len(self.data) - self.at)

    def more(self):
        return self.at < len(self.data)

    def end(self):
        must(not self.more(), "bytes behind the last member")

    def records(self, longest):
        """The bodies of the records that are left, as readers."""
        while self.more():
            length = self.number(longest=5)
            must(length <= longest, "a record longer than its bound")
            yield Reader(self.take(length))


def number(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed(value):
    return number(2 * value if value >= 0 else -2 * value - 1)


def string(value):
    return number(len(value)) + value


def fixed64(value):
    return struct.pack("<Q", value)


record = string


def xxh128(data):
    return xxhash.xxh3_128_digest(data)  # canonical


def chain(previous, index, length, digest):
    return xxh128(previous + fixed64(index) + fixed64(length) + digest)


def page_digest(seed, page):
    return xxhash.xxh3_64_intdigest(page, seed=seed) or 1


def extent_size(size):
    extent = EXTENT
    while -(-size // extent) > 65536:
        extent *= 2
    return extent


def extents(size):
    """Where each extent of a file begins and ends."""
    step = extent_size(size)
    return [(begin, min(begin + step, size)) for begin in range(0, max(size, 1), step)]


def content_digest(data, begin=0):
    """Of bytes of a file that begin at `begin`, a multiple of BLOCK."""
    total = 0
    for at in range(0, len(data), BLOCK):
        block = data[at:at + BLOCK].rstrip(b"\0")
        if block:
            term = chain(bytes(16), begin + at, len(block), xxh128(block))
            total += int.from_bytes(term, "big")
    return (total % (1 << 128)).to_bytes(16, "big")


def sum_digests(digests):
    return (sum(int.from_bytes(each, "big") for each in digests) % (1 << 128)).to_bytes(16, "big")
