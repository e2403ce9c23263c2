"""A world of its own for a run: processes, mounts and networks that the kernel takes down with its first process.

Nothing is mounted, listens or runs outside of it, so nothing is left behind, however a run ends.
"""

import ctypes
import glob
import os
import signal
import subprocess
import sys
import traceback

from support.wait import wait_until

DIRECTORY = "/run/ferry-bench"  # on a tmpfs that only this world sees
MACHINE_PROC = "/run/machine-proc"  # where all processes of the machine can be seen
PREFIX = f"ferry-bench-{os.getpid()}-"  # of image files, because loop devices are the machine's

_libc = ctypes.CDLL(None, use_errno=True)
_NEW_MOUNTS, _NEW_PIDS, _NEW_NETWORK = 0x00020000, 0x20000000, 0x40000000  # linux/sched.h
_PR_SET_PDEATHSIG = 1


def run(function):
    """Calls function in a new world. Returns what it returns, 1 if it raises, or 128 + N if signal N ended it."""
    _unshare(_NEW_PIDS)
    pid = os.fork()
    if pid == 0:
        os._exit(_inside(function))
    stopped = []

    def stop(number, _frame):
        stopped.append(number)
        os.kill(pid, signal.SIGKILL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    wait_until(lambda: not _images_in_use(), 120, lambda: f"the kernel lets go of {_images_in_use()}")
    if stopped:
        print(f"bench: ended by signal {stopped[0]}; nothing is left behind", file=sys.stderr)
        return 128 + stopped[0]
    return abs(status)


def _unshare(flags):
    if _libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), f"unshare: {os.strerror(ctypes.get_errno())}")


def _inside(function):
    """The first process: when it ends, the kernel kills all others of this world, and the mounts go with the last."""
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.setsid()  # a ^C is for the process that waits
        _unshare(_NEW_MOUNTS | _NEW_NETWORK)
        for words in (["mount", "--make-rprivate", "/"],
                      ["mount", "-t", "tmpfs", "-o", "size=100%,mode=755", "tmpfs", "/run"],
                      ["mount", "--bind", "-o", "X-mount.mkdir", "/proc", MACHINE_PROC],
                      ["mount", "-t", "proc", "proc", "/proc"],
                      ["ip", "link", "set", "lo", "up"]):
            subprocess.run(words, check=True)
        os.mkdir(DIRECTORY)
        return function()
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()


def _images_in_use():
    found = []
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read()
        except OSError:
            continue
        if PREFIX in text:
            found.append(text.strip())
    return found
