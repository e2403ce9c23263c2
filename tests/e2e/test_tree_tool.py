"""The judge is judged: each aspect of a tree is changed alone, and the comparer has to name it."""

import contextlib
import os
import shutil
import stat
import subprocess
import sys

import pytest
from support import acl, tree_compare, tree_make

TOOL = os.path.join(os.path.dirname(__file__), "support", "tree.py")
SEED = 11


@pytest.fixture(scope="module")
def original(disk_directory):
    path = os.path.join(disk_directory, "original")
    tree_make.make_tree(path, seed=SEED, small=True)
    return path


@pytest.fixture
def twin(disk_directory):
    path = os.path.join(disk_directory, "twin")
    tree_make.make_tree(path, seed=SEED, small=True)
    yield path
    # rm, because shutil.rmtree fails on paths longer than PATH_MAX
    subprocess.run(["rm", "-rf", path], check=True)


@contextlib.contextmanager
def times_kept(*paths):
    infos = [os.lstat(path) for path in paths]
    yield
    for path, info in zip(paths, infos):
        if os.path.lexists(path):
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def overwrite_one_byte(path):
    with open(path, "r+b") as file:
        last = os.path.getsize(path) - 1
        file.seek(last)
        byte = file.read(1)[0]
        file.seek(last)
        file.write(bytes([byte ^ 1]))


def fill_hole(path):
    with open(path, "r+b") as file:
        file.seek(300_000 // 4096 * 4096)
        file.write(bytes(64 << 10))


def shift_mtime(path, nanoseconds):
    info = os.lstat(path)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + nanoseconds), follow_symlinks=False)


def retarget(path, target):
    info = os.lstat(path)
    os.unlink(path)
    os.symlink(target, path)
    os.chown(path, info.st_uid, info.st_gid, follow_symlinks=False)


def unlink_copy(path):
    """The same file, but on its own instead of linked to the others."""
    subprocess.run(["cp", "-a", path, path + ".new"], check=True)
    os.rename(path + ".new", path)


def relink(path, other):
    os.unlink(path)
    os.link(other, path)


def deep(path):
    """Names below the working directory, so that PATH_MAX does not matter."""
    fd = os.open(os.path.join(path, "deep/levels"), os.O_RDONLY)
    while "d" in os.listdir(fd):
        below = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    return f"/proc/self/fd/{fd}/bottom"


WIDER = acl.acl(7, 5, 1, mask=7, users=[(1000, 6), (4294967294, 7)], groups=[(50, 4)])

# name: (path, the change, what the report must say about it). Times of the path and its parent are
# put back, so that only the named aspect differs.
MUTATIONS = {
    "content": ("files/random-4097", overwrite_one_byte, "content differs at byte 4096"),
    "content-of-last-byte-in-10GiB": ("sparse/large", overwrite_one_byte, "content differs at byte 10737418239"),
    "size": ("files/random-65537", lambda p: os.truncate(p, 65536), "size 65537 in A, 65536 in B"),
    "mode": ("modes/file-0644", lambda p: os.chmod(p, 0o645), "mode 0o644 in A, 0o645 in B"),
    "set-uid-bit": ("modes/file-4755", lambda p: os.chmod(p, 0o755), "mode 0o4755 in A, 0o755 in B"),
    "directory-mode": ("directories/no-permissions", lambda p: os.chmod(p, 0o700), "mode 0o0 in A, 0o700"),
    "uid": ("modes/file-0644", lambda p: os.chown(p, 5, 0), "uid 0 in A, 5 in B"),
    "large-gid": ("owners/fifo", lambda p: os.chown(p, 12345, 54322), "gid 54321 in A, 54322 in B"),
    "uid-of-symlink": ("symlinks/dangling", lambda p: os.chown(p, 5, -1, follow_symlinks=False), "uid 0 in A, 5"),
    "target": ("symlinks/long", lambda p: retarget(p, "y"), "target x/x/"),
    "rdev": ("special/char-zero", lambda p: (os.unlink(p), os.mknod(p, 0o20640, os.makedev(0, 2))), "rdev 1 in A, 2"),
    "type": ("special/block-large", lambda p: (os.unlink(p), os.mknod(p, 0o20640, os.makedev(4095, 1048575))),
             "type block device in A, character device in B"),
    "xattr-lost": ("xattrs/file", lambda p: os.removexattr(p, "trusted.kept"), "xattr trusted.kept t\\x00t (3 bytes)"),
    "xattr-empty-lost": ("xattrs/file", lambda p: os.removexattr(p, "user.empty"), "xattr user.empty  (0 bytes)"),
    "xattr-changed": ("xattrs/many", lambda p: os.setxattr(p, "user.number-59", b"60"), "xattr user.number-59 59"),
    "xattr-extra": ("xattrs/directory", lambda p: os.setxattr(p, "user.new", b""), "xattr user.new absent in A"),
    "xattr-big": ("xattrs/big", lambda p: os.setxattr(p, "user.big", bytes(3900)), "xattr user.big"),
    "xattr-of-symlink": ("xattrs/symlink", lambda p: os.removexattr(p, "trusted.on-symlink", follow_symlinks=False),
                         "xattr trusted.on-symlink"),
    "capability": ("capabilities/v2", lambda p: os.removexattr(p, "security.capability"), "security.capability"),
    "acl": ("acls/file-wide", lambda p: os.setxattr(p, acl.ACCESS, WIDER), "xattr system.posix_acl_access"),
    "acl-inherited-by-mistake": ("acls/directory/made-before", lambda p: os.setxattr(p, acl.ACCESS, acl.acl(
        6, 6, 6, mask=6, users=[(9, 6)])), "xattr system.posix_acl_access absent in A"),
    "default-acl": ("acls/directory", lambda p: os.removexattr(p, acl.DEFAULT), "xattr system.posix_acl_default"),
    "hard-link-lost": ("zz-after/file-1", unlink_copy, "hard link to"),
    "hole-filled": ("sparse/hole-in-the-middle", fill_hole, "hole of"),
    "missing": ("names/new\nline", os.unlink, "only in A"),
    "missing-directory": ("directories/empty", os.rmdir, "only in A"),
    "missing-socket": ("special/socket", os.unlink, "only in A"),
    "extra": ("names/zzz", lambda p: open(p, "x").close(), "only in B"),
    "root-mode": ("", lambda p: os.chmod(p, 0o755), "(root): mode 0o3751"),
    "root-xattr": ("", lambda p: os.removexattr(p, "trusted.on-root"), "(root): xattr trusted.on-root"),
    "root-default-acl": ("", lambda p: os.removexattr(p, acl.DEFAULT), "(root): xattr system.posix_acl_default"),
    "root-owner": ("", lambda p: os.chown(p, 0, -1), "(root): uid 4321"),
}

TIMES = ["files/random-1", "times/file-02", "symlinks/absolute", "special/fifo", "special/null",
         "directories/read-only", ""]


def test_equal_trees_are_equal(original, twin):
    result = tree_compare.compare(original, twin)
    assert result.differences == []
    assert result.entries > 700


def apply(root, name, change):
    path = os.path.join(root, name).rstrip("/")
    kept = [os.path.dirname(path)] if name else []
    if os.path.lexists(path):
        kept.insert(0, path)
    with times_kept(*kept):
        change(path)


@pytest.fixture(scope="module")
def differences(original, disk_directory):
    """Of a twin with all the mutations at once; each is at a place or in an aspect of its own."""
    path = os.path.join(disk_directory, "mutated")
    tree_make.make_tree(path, seed=SEED, small=True)
    for name, change, _ in MUTATIONS.values():
        apply(path, name, change)
    return tree_compare.compare(original, path).differences


def of_path(differences, name):
    start = f"{tree_compare.shown(os.fsencode(name)) or '(root)'}: "
    return [line for line in differences if line.startswith(start)]


@pytest.mark.parametrize("case", MUTATIONS)
def test_a_change_is_reported(differences, case):
    name, _, expected = MUTATIONS[case]
    assert any(expected in line for line in of_path(differences, name)), differences


def test_nothing_else_is_reported(differences):
    names = [name for name, _, _ in MUTATIONS.values()]
    assert len(differences) == sum(len(of_path(differences, name)) for name in set(names))
    # One line each, but an ACL's mask is also the group bits of the mode.
    assert len(names) <= len(differences) <= len(names) + 2, differences


def test_one_nanosecond_is_a_difference(original, twin):
    for name in TIMES:
        path = os.path.join(twin, name)
        shift_mtime(path, 1)
        lines = tree_compare.compare(original, twin).differences
        # One line for each of the names that a hard-linked entry has.
        assert of_path(lines, name) and all("mtime_ns" in line for line in lines), lines
        shift_mtime(path, -1)
    assert tree_compare.compare(original, twin).differences == []


def test_a_hard_link_too_many_is_a_difference(original, twin):
    other = os.path.join(twin, "hardlinks", "twin-1")
    apply(twin, "hardlinks/twin-2", lambda path: relink(path, other))
    differences = tree_compare.compare(original, twin).differences
    assert any("hard link to" in line and "in B, not in A" in line for line in differences), differences


def test_what_differs_below_path_max_is_found(original, twin):
    path = deep(twin)
    with times_kept(path):
        overwrite_one_byte(path)
    differences = tree_compare.compare(original, twin).differences
    # bottom and hard are one file under two names.
    assert len(differences) == 2 and all("content differs at byte 4999" in line for line in differences)


def test_ignored_sockets_may_be_missing_but_not_appear(original, twin):
    apply(twin, "special/socket", os.unlink)
    assert tree_compare.compare(original, twin, ignore_sockets=True).differences == []
    apply(twin, "special/new-socket", lambda path: os.mknod(path, stat.S_IFSOCK | 0o600))
    assert tree_compare.compare(original, twin, ignore_sockets=True).differences == ["special/new-socket: only in B"]


def test_a_plain_copy_loses_what_it_is_known_to_lose(original, disk_directory):
    """shutil.copytree runs as root, and still every owner is lost."""
    copy = os.path.join(disk_directory, "copy")
    source = os.path.join(original, "owners")
    shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("fifo"))
    differences = tree_compare.compare(source, copy).differences
    for kind in ("uid", "gid", "fifo: only in A"):
        assert any(kind in line for line in differences), differences


def test_command_line(original, twin):
    def run(*arguments):
        return subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False)
    equal = run("compare", original, twin)
    assert (equal.returncode, equal.stdout.split()[1:]) == (0, ["entries", "equal"])
    os.chmod(os.path.join(twin, "files"), 0o700)
    different = run("compare", original, twin)
    assert different.returncode == 1
    assert different.stdout.splitlines()[0] == "files: mode 0o755 in A, 0o700 in B"
    assert run("make-tree", original).returncode != 0, "a directory that is not empty was accepted"
