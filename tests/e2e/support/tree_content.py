"""Regular files, holes, hard links, symlinks, special files and directories of the test tree."""

import contextlib
import os
import resource
import socket
import stat
import sys

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def build(builder):
    _regular_files(builder)
    _sparse_files(builder)
    _special_files(builder)
    _hard_links(builder)
    _symlinks(builder)
    _directories(builder)
    _deep_paths(builder)


@contextlib.contextmanager
def deep_recursion():
    """A walk by directory fd holds one fd and one Python frame per level."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = sys.getrecursionlimit()
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.setrecursionlimit(max(limit, 20_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _regular_files(builder):
    place = builder.directory("files")
    sizes = [0, 1, 4095, 4096, 4097, 65535, 65536, 65537]
    if not builder.small:
        sizes += [MIB - 1, MIB, MIB + 1, 4 * MIB + 1]
    for size in sizes:
        builder.file(os.path.join(place, b"random-%d" % size), builder.random.randbytes(size))
    much = 256 * KIB if builder.small else 6 * MIB
    line = b"a line that a compressor likes; "
    builder.file(os.path.join(place, b"compressible"), line * (much // len(line)))
    # Allocated zeros: the content is that of a hole, and a receiver may make it one.
    builder.file(os.path.join(place, b"zeros"), bytes(much))
    # A block that repeats catches block digests that are keyed by content alone.
    builder.file(os.path.join(place, b"repeating"), builder.random.randbytes(64 * KIB) * 5 + b"tail")


def _sparse_files(builder):
    place = builder.directory("sparse")
    data = builder.random.randbytes(MIB)
    block = 64 * KIB
    layouts = {
        b"hole-at-start": (MIB, [(512 * KIB, block)]),
        b"hole-in-the-middle": (MIB, [(0, block), (MIB - block, block)]),
        b"hole-at-end": (MIB, [(0, block)]),
        b"all-hole": (MIB, []),
        b"all-hole-unaligned": (MIB + 77, []),
        b"one-byte-at-end": (MIB, [(MIB - 1, 1)]),
        b"unaligned-islands": (MIB + 5, [(1, 3), (200_001, 5000), (MIB + 2, 3)]),
        b"comb": (4 * MIB, [(at, 4 * KIB) for at in range(0, 4 * MIB, 128 * KIB)]),
        b"large": (10 * GIB, [(0, 10), (3 * GIB + 123, block), (7 * GIB, 4 * KIB), (10 * GIB - 4, 4)]),
        b"large-all-hole": (100 * GIB, []),
    }
    for name, (size, islands) in layouts.items():
        with open(os.path.join(place, name), "xb") as out:
            out.truncate(size)
            for offset, length in islands:
                out.seek(offset)
                out.write(data[:length])


def _special_files(builder):
    place = builder.directory("special")
    os.mkfifo(os.path.join(place, b"fifo"), 0o622)
    devices = {
        b"null": (stat.S_IFCHR, 1, 3), b"char-zero": (stat.S_IFCHR, 0, 1),
        b"char-large": (stat.S_IFCHR, 4095, 1048575), b"char-minor-256": (stat.S_IFCHR, 5, 256),
        b"block": (stat.S_IFBLK, 7, 0), b"block-large": (stat.S_IFBLK, 4095, 1048575),
        # What overlayfs takes for a deleted file; in a volume it is an ordinary node.
        b"whiteout": (stat.S_IFCHR, 0, 0),
    }
    for name, (kind, major, minor) in devices.items():
        os.mknod(os.path.join(place, name), kind | 0o640, os.makedev(major, minor))
    place_fd = os.open(place, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{place_fd}/socket")  # a short name, wherever the tree is
    os.close(place_fd)


def _hard_links(builder):
    first = builder.directory("hardlinks")
    others = [builder.directory(name) for name in ("aa-before", "zz-after")]
    special = os.path.join(builder.root, b"special")
    builder.file(os.path.join(first, b"file"), builder.random.randbytes(10_000))
    builder.file(os.path.join(first, b"empty"))
    os.symlink(b"nowhere", os.path.join(first, b"symlink"))
    for name, origin in ((b"file", first), (b"empty", first), (b"symlink", first),
                         (b"fifo", special), (b"null", special), (b"block", special)):
        for number, other in enumerate(others):
            os.link(os.path.join(origin, name), os.path.join(other, b"%s-%d" % (name, number)),
                    follow_symlinks=False)
    # Equal in all but the inode: must not become linked.
    builder.file(os.path.join(first, b"twin-1"), b"twin")
    builder.file(os.path.join(first, b"twin-2"), b"twin")
    for number in range(100):
        os.link(os.path.join(first, b"twin-1"), os.path.join(others[1], b"many-%03d" % number))


def _symlinks(builder):
    place = builder.directory("symlinks")
    targets = {
        b"absolute": b"/etc/passwd", b"relative": b"../files/random-1", b"dangling": b"does/not/exist",
        b"to-directory": b"../files", b"up": b"../../../../../../..", b"itself": b"itself", b"dot": b".",
        b"loop-1": b"loop-2", b"loop-2": b"loop-1", b"long": b"x/" * 2047 + b"y", b"bytes": b"\xff\xfe/\x80\n",
        b"trailing-slash": b"../files/", b"space": b" ", b"to-device": b"/dev/zero",
    }
    for name, target in targets.items():
        os.symlink(target, os.path.join(place, name))


def _directories(builder):
    place = builder.directory("directories")
    os.mkdir(os.path.join(place, b"empty"))
    many = os.path.join(place, b"many")
    os.mkdir(many)
    for number in range(60 if builder.small else 2000):
        builder.file(os.path.join(many, b"entry-%04d" % number), b"%d\n" % number)
    for name, mode in ((b"no-permissions", 0), (b"read-only", 0o555), (b"execute-only", 0o111)):
        inner = os.path.join(place, name)
        os.mkdir(inner)
        builder.file(os.path.join(inner, b"file"), b"inside " + name)
        os.mkdir(os.path.join(inner, b"directory"))
        os.chmod(inner, mode)


def _deep_paths(builder):
    """One path of 12,000 bytes (three times PATH_MAX) and one of more levels than the usual 1,024 fds."""
    place = builder.directory("deep")
    _nest(builder, os.path.join(place, b"long"), (b"%03d-" % level + b"n" * 196 for level in range(60)))
    levels = 80 if builder.small else 1200
    _nest(builder, os.path.join(place, b"levels"), (b"d" for _ in range(levels)))


def _nest(builder, start, names):
    os.mkdir(start)
    here = os.open(start, os.O_RDONLY | os.O_DIRECTORY)
    for name in names:
        os.mkdir(name, 0o755, dir_fd=here)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    out = os.open(b"bottom", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=here)
    os.write(out, builder.random.randbytes(5000))
    os.close(out)
    os.setxattr(f"/proc/self/fd/{here}/bottom", "user.where", b"far down")
    os.symlink(b"bottom", b"link", dir_fd=here)
    os.link(b"bottom", b"hard", src_dir_fd=here, dst_dir_fd=here)
    os.close(here)
