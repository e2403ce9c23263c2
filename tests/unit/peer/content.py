"""Wants and frames of docs/protocol.md, at either end."""

import os
import stat

import zstandard
from primitives import (BLOCK, PAGE, Malformed, Reader, content_digest, extents, fixed64, must, number, page_digest,
                        record)

COMPLETE, CHANGED, VANISHED = 1, 2, 3


def data_ranges(file, begin, end):
    """What of a range of an open file is no hole."""
    ranges = []
    while begin < end:
        try:
            data = os.lseek(file, begin, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing more
            break
        if data >= end:
            break
        begin = min(os.lseek(file, data, os.SEEK_HOLE), end)
        ranges.append((data, begin))
    return ranges


def read_extent(file, begin, end):
    """Its bytes as the manifest has its size, holes and what is missing as zeros, and which pages have data."""
    content, pages = bytearray(end - begin), set()
    for first, last in data_ranges(file, begin, end):
        got = os.pread(file, last - first, first)
        content[first - begin:first - begin + len(got)] = got
        pages.update(range((first - begin) // PAGE, -(-(last - begin) // PAGE)))
    return bytes(content), pages


def held_pages(file, begin, end, seed):
    content, pages = read_extent(file, begin, end)
    held = [page_digest(seed, content[page * PAGE:(page + 1) * PAGE]) if page in pages else 0
            for page in range(-(-(end - begin) // PAGE))]
    while held and held[-1] == 0:
        held.pop()
    return held


def encode_wants(seed, compression, wants):
    """`wants`: (entry, extent, digests of held pages)."""
    out = fixed64(seed) + bytes([compression]) + number(len(wants))
    for entry, extent, held in wants:
        out += number(entry) + number(extent) + number(len(held)) + b"".join(map(fixed64, held))
    return out


def decode_wants(data, manifest):
    reader = Reader(data)
    seed, compression = reader.fixed64(), reader.byte()
    must(compression <= 2, "compression")
    wants = []
    for _ in range(reader.number()):
        entry, extent = reader.number(32), reader.number(32)
        must(entry in manifest.files() and extent < len(extents(manifest.entries[entry].size)), "no such extent")
        must(not wants or (entry, extent) > wants[-1][:2], "order")
        begin, end = extents(manifest.entries[entry].size)[extent]
        count = reader.number()
        must(count <= -(-(end - begin) // PAGE), "too many pages")
        wants.append((entry, extent, [reader.fixed64() for _ in range(count)]))
    reader.end()
    return seed, wants


def frame(kind, *parts):
    return record(bytes([kind]) + b"".join(parts))


def answer_whole(file, begin, end, content):
    for first, last in data_ranges(file, begin, end):
        while first < last:
            stop = min(last, first // BLOCK * BLOCK + BLOCK)
            yield frame(1, number(first), content[first - begin:stop - begin])
            first = stop


def answer_compared(begin, content, pages, held, seed):
    for page in range(-(-len(content) // PAGE)):
        bytes_ = content[page * PAGE:(page + 1) * PAGE]
        there = held[page] if page < len(held) else 0
        if page in pages:
            if page_digest(seed, bytes_) != there:
                yield frame(1, number(begin + page * PAGE), bytes_)
        elif there != 0:
            yield frame(4, number(begin + page * PAGE), number(len(bytes_)))


def answer(root, manifest, request):
    """The frames that answer the wants, piece by piece."""
    seed, wants = decode_wants(request, manifest)
    for index, extent, held in wants:
        entry = manifest.entries[index]
        begin, end = extents(entry.size)[extent]
        try:
            file = os.open(os.path.join(root, manifest.path(index)), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            yield frame(2, bytes([VANISHED]), bytes(16))
            continue
        try:
            info = os.fstat(file)
            if not stat.S_ISREG(info.st_mode) or info.st_ino != entry.inode:
                yield frame(2, bytes([VANISHED]), bytes(16))
                continue
            content, pages = read_extent(file, begin, end)
            yield from (answer_compared(begin, content, pages, held, seed) if held else
                        answer_whole(file, begin, end, content))
            info = os.fstat(file)
            same = (info.st_size, info.st_ctime_ns) == (entry.size, entry.ctime_ns)
            yield frame(2, bytes([COMPLETE if same else CHANGED]), content_digest(content, begin))
        finally:
            os.close(file)


def frames(data):
    """Readers of all frames, of those in compressed ones, too."""
    for reader in Reader(data).records(1 << 20):
        if reader.data[:1] == b"\5":
            size = zstandard.frame_content_size(reader.data[1:])
            must(0 <= size <= 1 << 20, "a compressed frame's size")
            plain = zstandard.ZstdDecompressor().decompress(reader.data[1:])
            for inner in Reader(plain).records((1 << 18) + 64):
                must(inner.data[:1] != b"\5", "compressed twice")
                yield inner
        else:
            yield reader


def receive(data, manifest, wants, write, punch, digest):
    """Carries out the answer to `wants`: write(entry, offset, bytes), punch(entry, offset, length), and digest(entry,
    begin, end), what is there then. Returns the digests by entry of what came."""
    todo, result, at = list(wants), {}, 0
    for reader in frames(data):
        kind = reader.byte()
        must(todo or kind == 3, "more than was asked for")
        if kind == 3:
            raise Malformed("the sender reports: " + reader.string(4096).decode(errors="replace"))
        index, extent, held = todo[0]
        begin, end = extents(manifest.entries[index].size)[extent]
        at = max(at, begin)
        if kind == 2:
            outcome, expected = reader.byte(), reader.digest()
            must(outcome == COMPLETE, f"outcome {outcome}")
            must(digest(index, begin, end) == expected, f"the digest of {manifest.path(index)!r}")
            result.setdefault(index, []).append(expected)
            todo.pop(0)
            at = 0
        elif kind in (1, 4):
            offset = reader.number()
            payload = reader.rest() if kind == 1 else b""
            length = len(payload) if kind == 1 else reader.number()
            must(length > 0 and at <= offset and offset + length <= end, "outside of the extent")
            must(not held or (offset % PAGE == 0 and (length % PAGE == 0 or offset + length == end)), "no pages")
            if kind == 1:
                must(offset // BLOCK == (offset + length - 1) // BLOCK, "more than a block")
                write(index, offset, payload)
            else:
                must(held, "a hole of what is not held")
                punch(index, offset, length)
            at = offset + length
        else:
            raise Malformed("an unknown frame")
        reader.end()
    must(not todo, "less than was asked for")
    return result
