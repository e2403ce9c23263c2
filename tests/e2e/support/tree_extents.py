"""Content and holes of two open files of the same size."""

import errno
import os

CHUNK = 1 << 20
BLOCK = 4096
# Smaller holes may be filled by a copy that works in larger units; that is no loss to speak of.
HOLE_THAT_COUNTS = 64 << 10
ALLOCATION_SLACK = 64 << 10


def differences(file_a, file_b):
    size = os.fstat(file_a.fileno()).st_size
    data_a, data_b = (data_ranges(file.fileno(), size) for file in (file_a, file_b))
    at = _first_difference(file_a, file_b, _union(data_a, data_b))
    if at is not None:
        yield f"content differs at byte {at}"
    for start, end in _holes(data_a, size):
        if any(begin < end and finish > start for begin, finish in data_b):
            yield f"hole of {end - start} bytes at {start} in A is data in B"
            break
    allocated_a, allocated_b = (os.fstat(file.fileno()).st_blocks * 512 for file in (file_a, file_b))
    if allocated_b > allocated_a + ALLOCATION_SLACK + allocated_a // 256:
        yield f"allocated {allocated_a} bytes in A, {allocated_b} in B"


def data_ranges(fd, size):
    ranges, at = [], 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but hole up to the end
                break
            raise
        at = os.lseek(fd, start, os.SEEK_HOLE)
        ranges.append((start, min(at, size)))
    return ranges


def _holes(data, size):
    """The holes that count, cut to whole blocks (a file's last block counts to its end)."""
    edges = [0] + [edge for pair in data for edge in pair] + [size]
    for start, end in zip(edges[::2], edges[1::2]):
        start = -(-start // BLOCK) * BLOCK
        if end != size:
            end = end // BLOCK * BLOCK
        if end - start >= HOLE_THAT_COUNTS:
            yield start, end


def _union(a, b):
    merged = []
    for start, end in sorted(a + b):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def _first_difference(file_a, file_b, ranges):
    for start, end in ranges:
        for at in range(start, end, CHUNK):
            wanted = min(CHUNK, end - at)
            pieces = [_read(file.fileno(), wanted, at) for file in (file_a, file_b)]
            if pieces[0] != pieces[1]:
                same = next((i for i, (x, y) in enumerate(zip(*pieces)) if x != y), min(map(len, pieces)))
                return at + same
    return None


def _read(fd, wanted, at):
    piece = os.pread(fd, wanted, at)
    while piece and len(piece) < wanted:
        more = os.pread(fd, wanted - len(piece), at + len(piece))
        if not more:
            break
        piece += more
    return piece
