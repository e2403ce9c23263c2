"""POSIX ACLs as raw extended attribute values (linux/posix_acl_xattr.h), so that no library is needed."""

import struct

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

_VERSION = 2
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF


def acl(owner, group, other, mask=None, users=(), groups=()):
    """users and groups are (id, permissions) pairs; with any of them the kernel demands a mask."""
    entries = [(USER_OBJ, owner, _NO_ID)]
    entries += [(USER, permissions, number) for number, permissions in sorted(users)]
    entries += [(GROUP_OBJ, group, _NO_ID)]
    entries += [(GROUP, permissions, number) for number, permissions in sorted(groups)]
    if mask is not None:
        entries += [(MASK, mask, _NO_ID)]
    entries += [(OTHER, other, _NO_ID)]
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
