"""Changes a tree that tree_make.make_tree has made (a large one) in every way that an update may have to follow."""

import contextlib
import os
import stat
import subprocess

from support import tree_make
from support.acl import ACCESS, DEFAULT, acl
from support.tree_content import GIB, KIB, MIB
from support.tree_metadata import CAPABILITY_V3


def change_everything(directory):
    root = os.fsencode(directory)

    def at(*parts):
        return os.path.join(root, *map(os.fsencode, parts))
    for part in (_hard_links, _content, _kinds, _names, _metadata, _holes, _root):
        part(at)


@contextlib.contextmanager
def keeping_time(path):
    """What happens to the file inside leaves its mtime as it was."""
    before = os.lstat(path)
    yield
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def write(path, data):
    with open(path, "wb") as out:
        out.write(data)


def patch(path, offset, data):
    with open(path, "r+b") as out:
        out.seek(offset)
        out.write(data)


def _read(path):
    with open(path, "rb") as file:
        return file.read()


def _remove(path):
    subprocess.run([b"rm", b"-rf", b"--", path], check=True)  # rm, because of paths longer than PATH_MAX


def _punch(path, offset, length):
    words = ["fallocate", "--punch-hole", "--offset", str(offset), "--length", str(length), "--"]
    subprocess.run([*words, path], check=True)


def _hard_links(at):
    os.unlink(at("hardlinks/file"))  # the other two names stay linked
    os.unlink(at("zz-after/empty-1"))
    write(at("zz-after/empty-1"), b"")  # equal, but no longer the same inode
    os.unlink(at("hardlinks/twin-2"))
    os.link(at("hardlinks/twin-1"), at("hardlinks/twin-2"))
    patch(at("hardlinks/twin-1"), 0, b"TWIN")  # under more than a hundred names
    os.link(at("files/compressible"), at("zz-after/linked-now"))
    os.unlink(at("aa-before/fifo-0"))
    os.mkfifo(at("aa-before/fifo-0"))
    os.unlink(at("aa-before/block-0"))
    os.link(at("special/null"), at("aa-before/block-0"))  # linked as before, but to another one


def _content(at):
    with keeping_time(at("files/random-65536")):
        write(at("files/random-65536"), b"\1" * 65536)
    with keeping_time(at("files/random-4194305")):
        patch(at("files/random-4194305"), 2 * MIB + 5, b"patched")
    patch(at("files/random-1048576"), MIB, b"appended" * 1000)
    os.truncate(at("files/random-1048577"), 5)
    os.truncate(at("files/random-4097"), 4096)
    write(at("files/random-0"), b"no longer empty")
    patch(at("files/repeating"), 0, b"the first of equal blocks differs")
    # The same in another inode.
    data, before = _read(at("files/random-65537")), os.stat(at("files/random-65537"))
    os.unlink(at("files/random-65537"))
    write(at("files/random-65537"), data)
    os.utime(at("files/random-65537"), ns=(before.st_atime_ns, before.st_mtime_ns))


def _kinds(at):
    os.unlink(at("files/random-4095"))
    os.mkdir(at("files/random-4095"))
    write(at("files/random-4095/file"), b"where a file was")
    _remove(at("directories/read-only"))
    write(at("directories/read-only"), b"where a directory was")
    os.unlink(at("symlinks/relative"))
    write(at("symlinks/relative"), b"where a symlink was")
    os.unlink(at("files/random-65535"))
    os.symlink(b"random-65536", at("files/random-65535"))
    os.unlink(at("symlinks/absolute"))
    os.symlink(b"/etc/hosts", at("symlinks/absolute"))
    _remove(at("directories/execute-only"))
    os.symlink(b"/", at("directories/execute-only"))  # whoever follows it writes or deletes outside
    os.unlink(at("special/char-zero"))
    os.mkfifo(at("special/char-zero"))
    os.unlink(at("special/char-large"))
    os.mknod(at("special/char-large"), stat.S_IFBLK | 0o600, os.makedev(8, 1))
    os.unlink(at("special/whiteout"))
    os.mkdir(at("special/whiteout"))


def _names(at):
    for old, new in (("random-4096", "between"), ("random-4097", "random-4096"), ("between", "random-4097")):
        os.rename(at("files", old), at("files", new))
    os.rename(at("directories/many"), at("directories/moved"))
    os.rename(at("names-of-directories"), at("directories/empty/moved-inside"))
    os.rename(at("deep/levels"), at("deep/moved"))
    _remove(at("deep/long"))
    _remove(at("order"))
    for name in sorted(os.listdir(at("names")))[::3]:
        os.unlink(at("names", name))
    # A directory and the one inside it change places.
    os.makedirs(at("outer/inner"))
    os.rename(at("directories/moved"), at("outer/inner/moved"))
    tree_make.make_tree(at("brought"), seed=9, small=True)


def _metadata(at):
    os.chmod(at("modes/file-4755"), 0o755)
    os.chmod(at("modes/directory-1777"), 0o2700)
    os.chown(at("owners/file-1000-1000"), 7, 8)
    os.chown(at("owners/symlink-1-2"), 9, 10, follow_symlinks=False)
    os.chown(at("owners/directory-0-0"), 11, 12)
    for name in ("file-00", "symlink-02", "directory-03"):
        os.utime(at("times", name), ns=(77, 1_234_567_890_123_456_789), follow_symlinks=False)
    for path in (at("files/compressible"), at("modes"), at("symlinks/dangling")):
        os.setxattr(path, "trusted.added", b"\0added", follow_symlinks=False)
    for name in os.listdir(at("xattrs")):
        if not os.path.islink(at("xattrs", name)):
            for attribute in os.listxattr(at("xattrs", name)):
                if attribute.startswith("user."):
                    os.removexattr(at("xattrs", name), attribute)
    os.removexattr(at("capabilities/v2"), "security.capability")
    with keeping_time(at("capabilities/owned")):
        os.setxattr(at("capabilities/owned"), "security.capability", CAPABILITY_V3)
    os.removexattr(at("acls/file-wide"), ACCESS)
    os.setxattr(at("acls/file-narrow"), ACCESS, acl(6, 4, 4, mask=4, users=[(5, 6)]))
    os.removexattr(at("acls/directory"), DEFAULT)


def _holes(at):
    _punch(at("files/zeros"), 0, 6 * MIB)  # the content stays
    _punch(at("sparse/comb"), 0, 2 * MIB)
    patch(at("sparse/all-hole"), 300_000, b"island" * 1000)
    patch(at("sparse/hole-in-the-middle"), 0, os.urandom(MIB))
    os.truncate(at("sparse/hole-at-end"), 64 * KIB + 1)
    os.truncate(at("sparse/large"), 11 * GIB)
    patch(at("sparse/large"), 5 * GIB, b"in the middle of a hole")
    os.truncate(at("sparse/large-all-hole"), 50 * GIB)


def _root(at):
    os.chown(at(), 77, 88)
    os.chmod(at(), 0o1755)
    os.setxattr(at(), "user.on-root", b"changed")
    os.removexattr(at(), "trusted.on-root")
    os.removexattr(at(), DEFAULT)
    os.utime(at(), ns=(1, 1_111_111_111_111_111_111))
