"""Fresh file systems on images in memory.

ext4 does not reuse inodes that were deleted within the last minutes, so a copy into a file system that held another
one is several times slower than it should be: every run gets a new one.
"""

import os
import subprocess

from harness import world

GIB = 1 << 30
MAKE = {
    # not lazily: the kernel would write inode tables and journal during the run
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q"],
}


class Disk:
    """Mounted at path until drop(). size is what it may hold; memory is taken only by what is written."""

    def __init__(self, name, kind, size):
        self.path = os.path.join(world.DIRECTORY, name)
        self._image = os.path.join(world.DIRECTORY, f"{world.PREFIX}{name}.img")
        with open(self._image, "xb") as image:
            image.truncate(size)
        subprocess.run([*MAKE[kind], self._image], check=True)
        os.makedirs(self.path)
        # -o loop frees the device with the mount
        subprocess.run(["mount", "-o", "loop", self._image, self.path], check=True)

    def sync(self):
        subprocess.run(["sync", "-f", self.path], check=True)

    def drop(self):
        subprocess.run(["umount", self.path], check=True)
        os.rmdir(self.path)
        os.unlink(self._image)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()


def warm(directory):
    """Reads all that is there, so that every contender finds it in the page cache."""
    # through cat, because tar reads no content for /dev/null
    subprocess.run(["bash", "-o", "pipefail", "-c", 'tar -C "$0" -Scf - . | cat >/dev/null', directory], check=True)


def available_memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
