"""Compares two trees in everything that a copy has to keep, by directory fds and without following links."""

import os
import stat
from dataclasses import dataclass, field

from support import tree_extents
from support.tree_content import deep_recursion

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
          stat.S_IFCHR: "character device", stat.S_IFBLK: "block device", stat.S_IFSOCK: "socket"}


@dataclass
class Result:
    differences: list = field(default_factory=list)
    entries: int = 0


def compare(a, b, ignore_sockets=False):
    with deep_recursion():
        comparison = _Comparison(ignore_sockets)
        comparison.roots(a, b)
        return comparison.result


def shown(name):
    """Any bytes on one line."""
    return repr(name)[2:-1]


class _Comparison:
    def __init__(self, ignore_sockets):
        self.ignore_sockets = ignore_sockets
        self.result = Result()
        self._linked = ({}, {})  # inode in A -> (inode in B, first path), and the other way round

    def roots(self, a, b):
        fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (a, b)]
        try:
            self._metadata(b"", *(os.fstat(fd) for fd in fds))
            self._xattrs(b"", *(f"/proc/self/fd/{fd}/." for fd in fds))
            self._children(b"", *fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _report(self, path, text):
        self.result.differences.append(f"{shown(path) or '(root)'}: {text}")

    def _children(self, path, a, b):
        names_a, names_b = self._names(a, skip_sockets=self.ignore_sockets), self._names(b)
        for name in sorted(names_a - names_b):
            self._report(_join(path, name), "only in A")
        for name in sorted(names_b - names_a):
            self._report(_join(path, name), "only in B")
        for name in sorted(names_a & names_b):
            self._entry(_join(path, name), name, a, b)

    @staticmethod
    def _names(fd, skip_sockets=False):
        with os.scandir(fd) as entries:
            return {os.fsencode(e.name) for e in entries if not (skip_sockets and _is_socket(e))}

    def _entry(self, path, name, a, b):
        info_a, info_b = (os.stat(name, dir_fd=fd, follow_symlinks=False) for fd in (a, b))
        kinds = [stat.S_IFMT(info.st_mode) for info in (info_a, info_b)]
        if kinds[0] != kinds[1]:
            self.result.entries += 1
            self._report(path, f"type {_KINDS[kinds[0]]} in A, {_KINDS[kinds[1]]} in B")
            return
        self._metadata(path, info_a, info_b)
        self._xattrs(path, *(b"/proc/self/fd/%d/" % fd + name for fd in (a, b)))
        if kinds[0] == stat.S_IFDIR:
            self._directory(path, name, a, b)
            return
        self._links(path, info_a, info_b)
        if kinds[0] == stat.S_IFLNK:
            targets = [os.readlink(name, dir_fd=fd) for fd in (a, b)]
            if targets[0] != targets[1]:
                self._report(path, f"target {shown(targets[0])} in A, {shown(targets[1])} in B")
        elif kinds[0] == stat.S_IFREG and info_a.st_size == info_b.st_size:
            self._file(path, name, a, b)

    def _directory(self, path, name, a, b):
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        child_a = os.open(name, flags, dir_fd=a)
        try:
            child_b = os.open(name, flags, dir_fd=b)
            try:
                self._children(path, child_a, child_b)
            finally:
                os.close(child_b)
        finally:
            os.close(child_a)

    def _metadata(self, path, a, b):
        self.result.entries += 1
        kind = stat.S_IFMT(a.st_mode)
        aspects = [("mode", oct(stat.S_IMODE(a.st_mode)), oct(stat.S_IMODE(b.st_mode))),
                   ("uid", a.st_uid, b.st_uid), ("gid", a.st_gid, b.st_gid),
                   ("mtime_ns", a.st_mtime_ns, b.st_mtime_ns)]
        if kind == stat.S_IFREG:  # a directory's size is the file system's affair
            aspects.append(("size", a.st_size, b.st_size))
        if kind in (stat.S_IFCHR, stat.S_IFBLK):
            aspects.append(("rdev", a.st_rdev, b.st_rdev))
        for aspect, in_a, in_b in aspects:
            if in_a != in_b:
                self._report(path, f"{aspect} {in_a} in A, {in_b} in B")

    def _xattrs(self, path, *places):
        a, b = ({os.fsencode(name): os.getxattr(place, name, follow_symlinks=False)
                 for name in os.listxattr(place, follow_symlinks=False)} for place in places)
        for name in sorted(a.keys() | b.keys()):
            if a.get(name) != b.get(name):
                states = (_value(a.get(name)), _value(b.get(name)))
                self._report(path, f"xattr {shown(name)} {states[0]} in A, {states[1]} in B")

    def _links(self, path, a, b):
        """The mapping between the inodes of A and of B has to be one to one."""
        for known, here, there in ((self._linked[0], a, b), (self._linked[1], b, a)):
            inode, first = known.setdefault((here.st_dev, here.st_ino), ((there.st_dev, there.st_ino), path))
            if inode != (there.st_dev, there.st_ino):
                side = "A, not in B" if known is self._linked[0] else "B, not in A"
                self._report(path, f"hard link to {shown(first)} in {side}")

    def _file(self, path, name, a, b):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NOCTTY
        with os.fdopen(os.open(name, flags, dir_fd=a), "rb", buffering=0) as file_a:
            with os.fdopen(os.open(name, flags, dir_fd=b), "rb", buffering=0) as file_b:
                for difference in tree_extents.differences(file_a, file_b):
                    self._report(path, difference)


def _join(path, name):
    return path + b"/" + name if path else name


def _is_socket(entry):
    return stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)


def _value(value):
    if value is None:
        return "absent"
    return f"{shown(value[:40])}{'...' if len(value) > 40 else ''} ({len(value)} bytes)"
