"""Hosts of the lab (tests/lab) with real Engines and the plugin that is shipped, for one measurement."""

import contextlib
import os
import signal
import subprocess
import sys

from harness import disk
from harness.measure import Wrong
from support.lab import TOOL, Lab

DATA_ROOT = "/var/lib/docker"
_SIZE = 4 * disk.GIB
# In a tmpfs that is the host's own: `lab down` ends it, with the loop devices upon it.
_IMAGES = "/dev/shm"


@contextlib.contextmanager
def up(count=1):
    """The first hosts, which nobody else uses. They go down at the end of the block, and also when this process is killed."""
    os.environ["FERRY_PLUGIN_PRESET"] = "release"
    lab = Lab()
    if "nothing is up" not in lab.run("status").stdout:  # not even a signal may take down what is somebody else's
        raise Wrong("the lab is up for somebody else; `tests/lab/lab down` ends it")
    with _signals_as_exceptions(), _down_in_the_end() as keep:
        done = lab.run("up", str(count), check=False, timeout=3000)
        if done.returncode != 0 or "lab: starting a" not in done.stdout:
            keep()  # it has started nothing that is still there
            raise Wrong("the lab does not come up, or is up for somebody else; `tests/lab/lab down` ends it\n"
                        + done.stdout + done.stderr)
        for host in lab.hosts[:count]:
            host.remember()
        yield lab


@contextlib.contextmanager
def _signals_as_exceptions():
    def stop(number, _frame):
        sys.exit(128 + number)
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _down_in_the_end():
    """Yields what to call if there is nothing to take down."""
    # A process that waits for the end of a pipe, which comes with this process's end, whatever that is.
    script = 'read -r word; [ "$word" = keep ] || exec "$0" down'
    waiting = subprocess.Popen(["sh", "-c", script, os.path.abspath(TOOL)], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield lambda: waiting.stdin.write(b"keep\n")
    finally:
        waiting.stdin.close()
        waiting.wait()


def new_data_root(host, fs, size=_SIZE):
    """The Engine starts anew without volumes and plugins, on a fresh file system in memory."""
    host.engine("stop")
    image = f"{_IMAGES}/{len(os.listdir(host.path(_IMAGES)))}.img"
    # over what is mounted there already: that goes with the host
    host.exec("sh", "-ec", f"truncate -s {size} {image}; {' '.join(disk.MAKE[fs])} {image}; "
              f"mount -o loop {image} {DATA_ROOT}")
    host.engine("start")


def install_ferry(host):
    host.install_plugin()
    host.wait_served()
