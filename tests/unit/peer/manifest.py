"""The manifest of docs/protocol.md: read, made of a tree, and turned into a tree's digest."""

import ctypes
import os
import stat
import time
from dataclasses import dataclass, field, replace

from primitives import LONGEST_RECORD, Malformed, Reader, chain, must, number, record, signed, string, xxh128

DIRECTORY, REGULAR, SYMLINK, FIFO, CHARACTER, BLOCK_DEVICE, HARD_LINK = range(1, 8)
TYPES = {stat.S_IFDIR: DIRECTORY, stat.S_IFREG: REGULAR, stat.S_IFLNK: SYMLINK, stat.S_IFIFO: FIFO,
         stat.S_IFCHR: CHARACTER, stat.S_IFBLK: BLOCK_DEVICE}
NOT_COPIED = ("trusted.SGI_ACL_FILE", "trusted.SGI_ACL_DEFAULT")


@dataclass
class Entry:
    type: int
    parent: int
    name: bytes
    link: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime_s: int = 0
    mtime_ns: int = 0
    size: int = 0
    data: int = 0
    device: int = 0
    inode: int = 0
    ctime_ns: int = 0
    target: bytes = b""
    xattrs: list = field(default_factory=list)

    def encode(self):
        body = bytes([1, self.type]) + number(self.parent) + string(self.name)
        if self.type == HARD_LINK:
            return record(body + number(self.link))
        body += number(self.mode) + number(self.uid) + number(self.gid) + signed(self.mtime_s)
        for value in (self.mtime_ns, self.size, self.data, self.device, self.inode, self.ctime_ns):
            body += number(value)
        body += string(self.target) + number(len(self.xattrs))
        return record(body + b"".join(string(name) + string(value) for name, value in self.xattrs))


def read_fields(reader, entry):
    entry.mode, entry.uid, entry.gid = (reader.number(32) for _ in range(3))
    entry.mtime_s, entry.mtime_ns = reader.signed(), reader.number(32)
    entry.size, entry.data, entry.device, entry.inode, entry.ctime_ns = (reader.number() for _ in range(5))
    entry.target = reader.string(4096)
    count = reader.number()
    must(count <= 16384, "too many xattrs")
    entry.xattrs = [(reader.string(255), reader.string(65536)) for _ in range(count)]
    names = [name for name, _ in entry.xattrs]
    must(names == sorted(set(names)) and all(name and b"\0" not in name for name in names), "xattr names")
    must(entry.mode <= 0o7777 and entry.mtime_ns < 10**9, "mode or mtime")
    must(2**32 - 1 not in (entry.uid, entry.gid), "no owner")
    must(entry.data <= entry.size < 1 << 63 and (entry.type == REGULAR or entry.size == 0), "size")
    must(entry.device == 0 or entry.type in (CHARACTER, BLOCK_DEVICE), "device")
    must((entry.target != b"") == (entry.type == SYMLINK) and b"\0" not in entry.target, "target")


@dataclass
class Manifest:
    header: tuple = ()
    entries: list = field(default_factory=list)
    origins: dict = field(default_factory=dict)
    stable_before_ns: int = 0
    warnings: list = field(default_factory=list)

    def path(self, index):
        names = []
        while index:
            names.insert(0, self.entries[index].name)
            index = self.entries[index].parent
        return b"/".join(names)

    def files(self):
        return [index for index, entry in enumerate(self.entries) if entry.type == REGULAR]

    def digest(self, digest_of):
        """`digest_of` gives that of the content of a file, by its number."""
        result = bytes(16)
        for index, entry in enumerate(self.entries):
            digest = digest_of(index) if entry.type == REGULAR else bytes(16)
            bytes_ = replace(entry, inode=0, ctime_ns=0, data=0).encode() + digest
            result = chain(result, index, len(bytes_), xxh128(bytes_))
        return result

    def stamp(self):
        result = bytes(16)
        for index, entry in enumerate(self.entries):
            bytes_ = replace(entry, data=0).encode()
            result = chain(result, index, len(bytes_), xxh128(bytes_))
        return result


def check_place(entries, entry):
    if not entries:
        return must(entry.type == DIRECTORY and entry.name == b"" and entry.parent == 0, "no root")
    must(entry.name not in (b"", b".", b"..") and b"/" not in entry.name and b"\0" not in entry.name, "name")
    must(entry.parent < len(entries) and entries[entry.parent].type == DIRECTORY, "parent")
    if len(entries) > 1:
        last = entries[-1]
        must((last.parent, last.name) < (entry.parent, entry.name), "order")
    if entry.type == HARD_LINK:
        must(entry.link < len(entries) and entries[entry.link].type not in (DIRECTORY, HARD_LINK), "link")


def decode(data):
    manifest, complete = Manifest(), False
    for reader in Reader(data).records(LONGEST_RECORD):
        must(not complete, "it goes on")
        kind = reader.byte()
        must((kind in (3, 4)) or manifest.header, "no header")
        if kind == 1:
            entry = Entry(reader.byte(), reader.number(32), reader.string(255))
            must(DIRECTORY <= entry.type <= HARD_LINK, "type")
            if entry.type == HARD_LINK:
                entry.link = reader.number(32)
            else:
                read_fields(reader, entry)
            check_place(manifest.entries, entry)
            manifest.entries.append(entry)
        elif kind == 2:
            must(reader.number() == len(manifest.entries) > 0, "the number of entries")
            manifest.stable_before_ns = reader.number()
            manifest.warnings = [reader.string(4096) for _ in range(min(reader.number(), 1001))]
            complete = True
        elif kind == 3:
            raise Malformed("the sender reports: " + reader.string(4096).decode(errors="replace"))
        elif kind == 4:
            must(not manifest.header and not manifest.entries, "a second header")
            manifest.header = (reader.string(64), reader.string(64), reader.string(64), reader.digest())
        elif kind == 5:
            index = reader.number(32)
            must(manifest.entries and index == len(manifest.entries) - 1, "an origin of another entry")
            must(manifest.entries[-1].type == REGULAR and index not in manifest.origins, "an origin")
            manifest.origins[index] = (reader.number(), reader.number(), reader.digest())
        else:
            raise Malformed("an unknown record")
        reader.end()
    must(complete, "no trailer")
    return manifest


def entry_of(path, parent, name, info):
    entry = Entry(TYPES[stat.S_IFMT(info.st_mode)], parent, name, mode=info.st_mode & 0o7777)
    entry.uid, entry.gid, entry.inode, entry.ctime_ns = info.st_uid, info.st_gid, info.st_ino, info.st_ctime_ns
    entry.mtime_s, entry.mtime_ns = divmod(info.st_mtime_ns, 10**9)
    if entry.type == REGULAR:
        entry.size, entry.data = info.st_size, min(info.st_size, info.st_blocks * 512)
    if entry.type in (CHARACTER, BLOCK_DEVICE):
        entry.device = info.st_rdev
    if entry.type == SYMLINK:
        entry.target = os.readlink(path)
    names = [each for each in os.listxattr(path, follow_symlinks=False) if each not in NOT_COPIED]
    entry.xattrs = sorted((os.fsencode(each), os.getxattr(path, each, follow_symlinks=False)) for each in names)
    return entry


def walk(root, host):
    """The bytes of a manifest of the tree, which is not on tmpfs."""
    now = time.time_ns()
    directory = os.open(root, os.O_RDONLY)
    must(ctypes.CDLL(None).syncfs(directory) == 0, "syncfs")
    os.close(directory)
    entries, paths, first, sockets = [entry_of(root, 0, b"", os.lstat(root))], [root], {}, 0
    at = 0
    while at < len(entries):  # breadth first: entries of directories come behind
        if entries[at].type == DIRECTORY:
            for name in sorted(os.listdir(paths[at])):
                path = os.path.join(paths[at], name)
                info = os.lstat(path)
                if stat.S_ISSOCK(info.st_mode):
                    sockets += 1
                    continue
                shared = not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1
                same = first.setdefault((info.st_dev, info.st_ino), len(entries)) if shared else len(entries)
                is_link = same != len(entries)
                entries.append(Entry(HARD_LINK, at, name, same) if is_link else entry_of(path, at, name, info))
                paths.append(path)
        at += 1
    header = bytes([4]) + string(host) + string(b"") + string(b"") + bytes(16)
    warnings = [b"%d sockets were left out" % sockets] if sockets else []
    trailer = bytes([2]) + number(len(entries)) + number(now - 20_000_000) + number(len(warnings))
    trailer += b"".join(map(string, warnings))
    return record(header) + b"".join(entry.encode() for entry in entries) + record(trailer)


def count_changed(root, manifest):
    changed = 0
    for index, entry in enumerate(manifest.entries):
        if entry.type == HARD_LINK:
            continue
        try:
            info = os.lstat(os.path.join(root, manifest.path(index)) if index else root)
            changed += (info.st_ino, info.st_ctime_ns) != (entry.inode, entry.ctime_ns)
        except FileNotFoundError:
            changed += 1
    return changed
