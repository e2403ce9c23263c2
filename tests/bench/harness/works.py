"""What is copied: each work fills a directory, always with the same tree, but for bytes that are random.

A work with a change is an update: what is timed is the second copy, onto the first.
"""

import math
import os
import random
import stat
from dataclasses import dataclass
from typing import Callable

from harness.disk import GIB

_MIB = 1 << 20
_KIB = 1 << 10
_PAGE = 4 * _KIB
_YEAR_NS = 365 * 86400 * 10**9
_NOW_NS = 1_700_000_000 * 10**9


@dataclass(frozen=True)
class Work:
    """size: bytes of content at scale 1, which bounds the memory that a copy takes to about half as much again. change:
    what happens to the directory between first and second copy; it returns how many bytes it has changed. link: the
    network's rate, as tc(8) has it; on a slow one only contenders for slow networks take part. other: fills a volume
    that some have at the destination already; only Ferry takes part, which looks there for what need not be
    sent. archives: it is about archives, and those who make them."""
    name: str
    text: str
    size: int
    fill: Callable[[str, float], None]
    change: Callable[[str, float], int] | None = None
    link: str = ""
    other: Callable[[str, float], None] | None = None
    archives: bool = False


def big(directory, scale):
    with open(os.path.join(directory, "random"), "xb") as out:
        for size in _pieces(int(4 * GIB * scale)):
            out.write(os.urandom(size))


def big_compressible(directory, scale):
    """One file, so that it differs from `big` in nothing but its content."""
    left = int(4 * GIB * scale)
    with open(os.path.join(directory, "usr"), "xb") as out:
        while left > 0:
            for path in _regular_files("/usr"):
                with open(path, "rb") as file:
                    while left > 0 and (piece := file.read(min(_MIB, left))):
                        left -= out.write(piece)
                if left <= 0:
                    break


def small(directory, scale):
    """Directories that lie within each other at random, unequally filled; a symlink for every hundred files."""
    maker = _SmallFiles(directory)
    for _ in range(max(2, int(1000 * scale))):
        maker.directory()
    for number in range(int(100_000 * scale)):
        maker.file(number)
        if number % 100 == 99:
            maker.symlink(number)


def sparse(directory, scale):
    """A disk image: islands of 64 KiB, one sixteenth of the file."""
    chosen = random.Random(4)
    size = max(_MIB, int(4 * GIB * scale))
    with open(os.path.join(directory, "image"), "xb") as out:
        out.truncate(size)
        for start in range(0, size, _MIB):
            out.seek(start + chosen.randrange(0, 16) * 64 * _KIB)
            out.write(chosen.randbytes(64 * _KIB))
        out.truncate(size)


def medium(directory, scale):
    """Files that are large enough to be looked for in other volumes."""
    _fill_medium(directory, scale, 6)


def other_medium(directory, scale):
    """As many, of which none is like one of medium's."""
    _fill_medium(directory, scale, 7)


def nothing(_directory, _scale):
    return 0


def pages(directory, _scale):
    """One in a hundred of `big`'s, always the same ones."""
    path = os.path.join(directory, "random")
    count = os.path.getsize(path) // _PAGE
    chosen = random.Random(5).sample(range(count), max(1, count // 100))
    with open(path, "r+b", buffering=0) as file:
        return sum(os.pwrite(file.fileno(), os.urandom(_PAGE), page * _PAGE) for page in chosen)


ALL = (
    Work("big", "one file of 4 GiB, random", 4 * GIB, big),
    Work("big-compressible", "one file of 4 GiB, the content of this machine's /usr", 4 * GIB, big_compressible),
    Work("gigabit", "one file of 1 GiB, the content of this machine's /usr, over 1 Gbit/s", GIB,
         lambda directory, scale: big_compressible(directory, scale / 4), link="1gbit"),
    Work("small", "100,000 files in 1,000 directories, 0.4 GB, sizes log-normal, random", 700 * _MIB, small),
    Work("sparse", "one file of 4 GiB that is a hole but for 4,096 islands of 64 KiB", GIB // 4, sparse),
    Work("again", "a second copy of `small`, nothing changed", 700 * _MIB, small, nothing),
    Work("pages", "a second copy of `big`, 1 % of its 4 KiB pages changed at random", 4 * GIB, big, pages),
    Work("nothing-found", "20,000 files of 16 to 48 KiB, random, none of which another volume has", 700 * _MIB, medium,
         other=other_medium),
    Work("archive-write", "one file of 1 GiB, random, as a tar archive behind an sshd", GIB,
         lambda directory, scale: big(directory, scale / 4), archives=True),
    Work("archive-read", "a volume of that archive", GIB, lambda directory, scale: big(directory, scale / 4),
         archives=True),
)


class _SmallFiles:
    def __init__(self, root):
        self._random = random.Random(3)
        self._content = self._random.randbytes(16 * _MIB)
        self._directories = [root]
        self._shares = [1.0]
        self._sums = None
        self._last = None

    def directory(self):
        parent = self._random.choice(self._directories)
        path = os.path.join(parent, f"{self._word()}-{len(self._directories)}")
        os.mkdir(path)
        self._directories.append(path)
        self._shares.append(self._random.lognormvariate(0, 0.7))

    def file(self, number):
        path = os.path.join(self._any_directory(), f"{self._word()}-{number:06}.{self._random.choice(_SUFFIXES)}")
        # mean 4 KB, median 1.5 KB
        size = min(4 * _MIB, int(self._random.lognormvariate(math.log(1500), 1.4)))
        start = self._random.randrange(len(self._content) - size)
        with open(path, "xb") as out:
            out.write(self._content[start:start + size])
        if self._random.random() < 0.2:
            os.chmod(path, 0o755)
        os.chown(path, *self._random.choice(((0, 0), (1000, 1000), (999, 999))))
        when = _NOW_NS - self._random.randrange(3 * _YEAR_NS)
        os.utime(path, ns=(when, when))
        self._last = path

    def symlink(self, number):
        directory = self._any_directory()
        os.symlink(os.path.relpath(self._last, directory), os.path.join(directory, f"link-{number}"))

    def _any_directory(self):
        if self._sums is None:
            self._sums = [sum(self._shares[:index + 1]) for index in range(len(self._shares))]
        return self._random.choices(self._directories, cum_weights=self._sums)[0]

    def _word(self):
        return "".join(self._random.choices("abcdefghijklmnopqrstuvwxyz", k=self._random.randrange(3, 16)))


def _fill_medium(directory, scale, seed):
    chosen = random.Random(seed)
    content = chosen.randbytes(16 * _MIB)
    for number in range(max(2, int(20_000 * scale))):
        below = os.path.join(directory, f"{number // 100:04}")
        os.makedirs(below, exist_ok=True)
        path = os.path.join(below, f"{seed}-{number:06}")
        size = chosen.randrange(16 * _KIB, 48 * _KIB)
        start = chosen.randrange(len(content) - size)
        with open(path, "xb") as out:
            out.write(content[start:start + size])
        when = _NOW_NS - chosen.randrange(3 * _YEAR_NS)
        os.utime(path, ns=(when, when))


_SUFFIXES = ("c", "h", "js", "json", "md", "txt", "png", "py", "html", "dat")


def _pieces(size):
    while size > 0:
        yield min(_MIB, size)
        size -= _MIB


def _regular_files(root):
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted(files):
            path = os.path.join(directory, name)
            if stat.S_ISREG(os.lstat(path).st_mode):
                yield path
