"""A peer that was made from docs/protocol.md alone, without the network, to prove that the document is enough. What it
says and what Ferry says have to fit: tests/unit/sync/independent_peer_test.cpp.

As a sender:    manifest TREE | content TREE MANIFEST <wants | changed TREE MANIFEST
As a receiver:  wants MANIFEST OLD SEED COMPRESSION | receive MANIFEST SEED OLD NEW <frames
Of a tree:      digest TREE MANIFEST | stamp MANIFEST | origins MANIFEST TREE
"""

import os
import shutil
import sys

from content import answer, encode_wants, held_pages, receive
from manifest import BLOCK_DEVICE, CHARACTER, DIRECTORY, FIFO, HARD_LINK, REGULAR, SYMLINK, count_changed, decode, walk
from primitives import content_digest, extents, must, sum_digests

KINDS = {FIFO: 0o010000, CHARACTER: 0o020000, BLOCK_DEVICE: 0o060000}


def load(path):
    with open(path, "rb") as file:
        return file.read()


def digest_of_file(path):
    with open(path, "rb") as file:
        return content_digest(file.read())


def wanted(manifest, old, seed):
    """Everything, and what OLD has under the same path is compared; `seed` is drawn for one request."""
    wants = []
    for index in manifest.files():
        path = os.path.join(old, manifest.path(index))
        is_held = os.path.isfile(path) and not os.path.islink(path)
        file = os.open(path, os.O_RDONLY) if is_held else -1
        for extent, (begin, end) in enumerate(extents(manifest.entries[index].size)):
            wants.append((index, extent, held_pages(file, begin, end, seed) if is_held else []))
        if is_held:
            os.close(file)
    return wants


def give_metadata(path, entry):
    follow = entry.type != SYMLINK
    os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
    if follow:
        os.chmod(path, entry.mode)
    for name, value in entry.xattrs:
        os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, ns=(0, entry.mtime_s * 10**9 + entry.mtime_ns), follow_symlinks=False)


class Receiver:
    """Makes the tree NEW of what comes and what OLD has."""

    def __init__(self, manifest, old, new):
        self.manifest, self.old, self.new = manifest, old, new

    def path(self, index):
        return os.path.join(self.new, self.manifest.path(index)) if index else self.new

    def make(self):
        for index, entry in enumerate(self.manifest.entries):
            path = self.path(index)
            if entry.type == DIRECTORY and index:
                os.mkdir(path)
            elif entry.type == REGULAR:
                old = os.path.join(self.old, self.manifest.path(index))
                if os.path.isfile(old) and not os.path.islink(old):
                    shutil.copyfile(old, path)
                else:
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                os.truncate(path, entry.size)
            elif entry.type == SYMLINK:
                os.symlink(entry.target, path)
            elif entry.type in KINDS:
                os.mknod(path, KINDS[entry.type] | 0o600, entry.device)

    def write(self, index, offset, payload):
        with open(self.path(index), "r+b") as file:
            file.seek(offset)
            file.write(payload)

    def punch(self, index, offset, length):
        self.write(index, offset, bytes(length))  # equal, if not as short

    def digest(self, index, begin, end):
        with open(self.path(index), "rb") as file:
            file.seek(begin)
            return content_digest(file.read(end - begin), begin)

    def finish(self):
        for index, entry in reversed(list(enumerate(self.manifest.entries))):
            if entry.type == HARD_LINK:
                os.link(self.path(entry.link), self.path(index), follow_symlinks=False)
        for index, entry in reversed(list(enumerate(self.manifest.entries))):
            if entry.type != HARD_LINK:
                give_metadata(self.path(index), entry)


def main(command, *arguments):
    out = sys.stdout.buffer
    paths = [os.fsencode(each) for each in arguments]
    if command == "manifest":
        out.write(walk(paths[0], b"python"))
    elif command == "content":
        for each in answer(paths[0], decode(load(paths[1])), sys.stdin.buffer.read()):
            out.write(each)
    elif command == "changed":
        print(count_changed(paths[0], decode(load(paths[1]))))
    elif command == "wants":
        manifest, seed = decode(load(paths[0])), int(arguments[2])
        out.write(encode_wants(seed, int(arguments[3]), wanted(manifest, paths[1], seed)))
    elif command == "receive":
        manifest = decode(load(paths[0]))
        receiver = Receiver(manifest, paths[2], paths[3])
        receiver.make()
        wants = wanted(manifest, paths[2], int(arguments[1]))
        digests = receive(sys.stdin.buffer.read(), manifest, wants, receiver.write, receiver.punch, receiver.digest)
        receiver.finish()
        print(manifest.digest(lambda index: sum_digests(digests[index])).hex())
    elif command == "digest":
        manifest = decode(load(paths[1]))
        print(manifest.digest(lambda index: digest_of_file(os.path.join(paths[0], manifest.path(index)))).hex())
    elif command == "stamp":
        print(decode(load(paths[0])).stamp().hex())
    elif command == "origins":
        manifest = decode(load(paths[0]))
        for index, (_, _, digest) in manifest.origins.items():
            must(digest == digest_of_file(os.path.join(paths[1], manifest.path(index))), "an origin's digest")
        print(len(manifest.origins), manifest.header[2].decode(), manifest.header[3].hex())
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
