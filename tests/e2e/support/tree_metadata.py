"""Modes, owners, times, extended attributes, capabilities and ACLs of the test tree."""

import os
import struct

from support.acl import ACCESS, DEFAULT, acl

# linux/capability.h: revision 2 with the effective bit, cap_net_raw permitted; revision 3 adds a root uid.
CAPABILITY_V2 = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
CAPABILITY_V3 = struct.pack("<IIIIII", 0x03000001, 1 << 13, 0, 0, 0, 100_000)

# 2**32 - 1 means "leave alone" to chown(2), so one below is the largest owner there is.
OWNERS = [(0, 0), (1, 2), (1000, 1000), (65534, 65534), (65535, 65536), (2**31 - 1, 2**31),
          (4294967293, 4294967294), (4294967294, 0)]

# ext4 with 256-byte inodes holds 1901-12-13 to 2446-05-10.
TIMES_NS = [0, 1, -1, 999_999_999, 10**9, -10**9, -10**9 - 1, -2**31 * 10**9, -2**31 * 10**9 + 1,
            2**31 * 10**9 + 123_456_789, 2**32 * 10**9 + 1, 15_032_385_535 * 10**9 + 999_999_999]


def build(builder):
    _modes(builder)
    _owners(builder)
    _times(builder)
    _xattrs(builder)
    _capabilities(builder)
    _acls(builder)


def _modes(builder):
    place = builder.directory("modes")
    for mode in (0o0, 0o1, 0o200, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o2644, 0o4755, 0o4000, 0o6711, 0o7777):
        builder.file(os.path.join(place, b"file-%04o" % mode), b"%o" % mode, mode)
        inner = os.path.join(place, b"directory-%04o" % mode)
        os.mkdir(inner)
        builder.file(os.path.join(inner, b"child"), b"child")
        os.chmod(inner, mode)
    # A set-group-id directory hands its group to what is made in it: these did not get it.
    inherit = os.path.join(place, b"setgid")
    os.mkdir(inherit)
    os.chown(inherit, 0, 4242)
    os.chmod(inherit, 0o2775)
    os.chown(builder.file(os.path.join(inherit, b"other-group")), 7, 8)
    os.mkdir(os.path.join(inherit, b"not-setgid"))
    os.chown(os.path.join(inherit, b"not-setgid"), 0, 0)
    os.chmod(os.path.join(inherit, b"not-setgid"), 0o755)


def _owners(builder):
    place = builder.directory("owners")
    for uid, gid in OWNERS:
        path = builder.file(os.path.join(place, b"file-%d-%d" % (uid, gid)), b"owned")
        os.chown(path, uid, gid)
        os.chmod(path, 0o6755)  # after chown(2), which clears set-id bits
        link = os.path.join(place, b"symlink-%d-%d" % (uid, gid))
        os.symlink(b"target", link)
        os.chown(link, uid, gid, follow_symlinks=False)
        inner = os.path.join(place, b"directory-%d-%d" % (uid, gid))
        os.mkdir(inner)
        os.chown(inner, uid, gid)
    fifo = os.path.join(place, b"fifo")
    os.mkfifo(fifo)
    os.chown(fifo, 12345, 54321)


def _times(builder):
    place = builder.directory("times")
    for number, when in enumerate(TIMES_NS):
        builder.time(builder.file(os.path.join(place, b"file-%02d" % number), b"timed"), when)
        link = os.path.join(place, b"symlink-%02d" % number)
        os.symlink(b"x", link)
        builder.time(link, when)
        inner = os.path.join(place, b"directory-%02d" % number)
        os.mkdir(inner)
        builder.file(os.path.join(inner, b"child"))
        builder.time(inner, when)


def _xattrs(builder):
    place = builder.directory("xattrs")
    for name, kind in ((b"file", "file"), (b"directory", "directory")):
        path = os.path.join(place, name)
        builder.file(path, b"x") if kind == "file" else os.mkdir(path)
        os.setxattr(path, "user.text", b"value")
        os.setxattr(path, "user.empty", b"")
        os.setxattr(path, "user.binary", bytes(range(256)))
        os.setxattr(path, b"user.\xff\xfe name", b"odd name")
        os.setxattr(path, "trusted.kept", b"t\0t")
        os.setxattr(path, "security.ferry-test", b"s\0")
        os.setxattr(path, "trusted.overlay.opaque", b"y")
    # One value of nearly what an ext4 block holds, many small ones, the longest name.
    os.setxattr(builder.file(os.path.join(place, b"big")), "user.big", builder.random.randbytes(3900))
    many = builder.file(os.path.join(place, b"many"))
    for number in range(60):
        os.setxattr(many, f"user.number-{number:02}", b"%d" % number)
    os.setxattr(builder.file(os.path.join(place, b"long-name")), "user." + "n" * 250, b"v")
    os.setxattr(builder.file(os.path.join(place, b"no-permissions"), b"", 0), "user.on", b"mode 0")
    link = os.path.join(place, b"symlink")
    os.symlink(b"file", link)  # to a file that has other attributes: following it shows at once
    os.setxattr(link, "trusted.on-symlink", b"link", follow_symlinks=False)
    for name in (b"fifo", b"null", b"block", b"socket"):
        os.setxattr(os.path.join(builder.root, b"special", name), "trusted.on", name, follow_symlinks=False)


def _capabilities(builder):
    place = builder.directory("capabilities")
    for name, value, owner in ((b"v2", CAPABILITY_V2, 0), (b"v3", CAPABILITY_V3, 0), (b"owned", CAPABILITY_V2, 1234)):
        path = builder.file(os.path.join(place, name), b"#!/bin/true\n", 0o755)
        os.chown(path, owner, owner)
        os.setxattr(path, "security.capability", value)  # last: writing and chown(2) drop it


def _acls(builder):
    place = builder.directory("acls")
    wide = acl(7, 5, 0, mask=7, users=[(1000, 6), (4294967294, 7)], groups=[(50, 4)])
    narrow = acl(6, 6, 4, mask=0, users=[(1, 7)])
    for name, value in ((b"file-wide", wide), (b"file-narrow", narrow)):
        os.setxattr(builder.file(os.path.join(place, name), b"acl", 0o640), ACCESS, value)
    both = os.path.join(place, b"directory")
    os.mkdir(both)
    builder.file(os.path.join(both, b"made-before"), b"", 0o666)
    os.mkdir(os.path.join(both, b"directory-made-before"), 0o777)
    os.setxattr(both, ACCESS, wide)
    # Set after the children exist: they have no ACL, and a receiver that makes the parent first
    # and fills it then would give them one.
    os.setxattr(both, DEFAULT, wide)
    inherited = os.path.join(place, b"inheriting")
    os.mkdir(inherited)
    os.setxattr(inherited, DEFAULT, acl(7, 7, 5, mask=5, groups=[(77, 7)]))
    builder.file(os.path.join(inherited, b"file"), b"", 0o604)
    os.mkdir(os.path.join(inherited, b"directory"))


def finish_root(builder):
    """The volume's root is an entry like any other, and the easiest to forget."""
    os.chown(builder.root, 4321, 1234)
    os.chmod(builder.root, 0o3751)
    os.setxattr(builder.root, "user.on-root", b"root")
    os.setxattr(builder.root, "trusted.on-root", b"\0")
    os.setxattr(builder.root, DEFAULT, acl(7, 5, 1, mask=7, users=[(1000, 7)]))
    when = builder.any_time()
    os.utime(builder.root, ns=(when, when))
