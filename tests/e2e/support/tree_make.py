"""Fills a directory with every file type, attribute and name that Linux and ext4 can hold.

The same seed makes an equal tree, all times and owners included, so that a test can compare what
arrived with a twin made elsewhere, even after the source is gone.
"""

import os
import random
import stat

from support import tree_content, tree_metadata, tree_names


class Builder:
    """What the parts of the tree need: a place, a random source, and who has a time of his own."""

    def __init__(self, root, seed, small):
        self.root = root
        self.small = small
        self.random = random.Random(seed)
        self.timed = set()  # (device, inode) of entries whose mtime must not be touched again

    def directory(self, name):
        path = os.path.join(self.root, os.fsencode(name))
        os.mkdir(path, 0o755)
        return path

    def file(self, path, data=b"", mode=0o644):
        with open(path, "xb") as out:
            out.write(data)
        os.chmod(path, mode)
        return path

    def time(self, path, mtime_ns):
        os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
        info = os.lstat(path)
        self.timed.add((info.st_dev, info.st_ino))

    def any_time(self):
        """Between 2001 and 2033, with every digit of the nanoseconds in use."""
        return self.random.randrange(10**18, 2 * 10**18)


def make_tree(directory, seed=1, small=False):
    root = os.fsencode(directory)
    os.makedirs(root, exist_ok=True)
    if os.listdir(root):
        raise SystemExit(f"{directory}: not empty")
    previous_umask = os.umask(0o022)
    try:
        builder = Builder(root, seed, small)
        for part in (tree_content, tree_names, tree_metadata):
            part.build(builder)
        _set_remaining_times(builder)
        tree_metadata.finish_root(builder)
    finally:
        os.umask(previous_umask)


def _set_remaining_times(builder):
    """Depth first and children before parents, because making a child changes its parent's mtime."""
    def visit(directory_fd):
        for name in sorted(os.listdir(os.fsencode(f"/proc/self/fd/{directory_fd}"))):
            info = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            if stat.S_ISDIR(info.st_mode):
                child_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory_fd)
                try:
                    visit(child_fd)
                finally:
                    os.close(child_fd)
            when = builder.any_time()
            if (info.st_dev, info.st_ino) not in builder.timed:
                os.utime(name, ns=(when, when), dir_fd=directory_fd, follow_symlinks=False)

    with tree_content.deep_recursion():
        root_fd = os.open(builder.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            visit(root_fd)
        finally:
            os.close(root_fd)
