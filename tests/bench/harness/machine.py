"""What a result depends on besides Ferry."""

import contextlib
import mmap
import os
import platform
import subprocess
import time

from harness.disk import GIB


# A virtual machine may give free memory back to its host (free page reporting, mm/page_reporting.c). Touching such memory
# again costs several times as much as copying into it, so whoever runs after a pause would lose.
REPORTING = "/sys/module/page_reporting/parameters/page_reporting_order"
NO_SUCH_ORDER = "11"  # above MAX_PAGE_ORDER: no block is so large


@contextlib.contextmanager
def steady_memory():
    """Keeps the memory that this machine has, all of it, until the end of the block."""
    if not os.access(REPORTING, os.W_OK):
        yield
        return
    with open(REPORTING, encoding="ascii") as file:
        before = file.read().strip()
    try:
        _write(REPORTING, NO_SUCH_ORDER)
        _touch_free_memory()
        yield
    finally:
        _write(REPORTING, before)


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _touch_free_memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    size = available - 2 * GIB
    if size > 0:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def facts(root, command, options):
    with open("/proc/loadavg", encoding="ascii") as file:
        load = file.read().split()[0]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": _commit(root),
        "command": command,
        "scale": options.scale,
        "rounds": options.rounds,
        "file system": f"{options.fs} on loop devices in memory",
        "processors": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / GIB:.0f} GiB",
        "kernel": platform.release(),
        "load at the start": load,
        "peers": "; ".join(_version(words) for words in (["cp", "--version"], ["rsync", "--version"],
                                                         ["tar", "--version"], ["ssh", "-V"])),
    }


def _commit(root):
    words = ["git", "-C", root, "-c", "safe.directory=*"]
    found = subprocess.run([*words, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if found.returncode != 0:
        return "unknown"
    changed = subprocess.run([*words, "status", "--porcelain"], capture_output=True, text=True, check=False).stdout
    return found.stdout.strip() + (" with changes" if changed else "")


def _processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.split(":")[1].strip() for line in file if line.startswith("model name")), platform.machine())


def _version(words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).splitlines()[0]
