"""Processor time of the whole machine, and whose it was: other programs that run meanwhile make a time worthless."""

import os
import time
from dataclasses import dataclass

from harness import world

_TICKS = os.sysconf("SC_CLK_TCK")
_KTHREADD = 2
# Of one processor. Less is what kernel, clock and the harness itself do.
_IDLE = 0.1
_REPETITIONS = 3


@dataclass(frozen=True)
class Reading:
    busy: float
    foreign: float

    def __sub__(self, earlier):
        return Reading(self.busy - earlier.busy, self.foreign - earlier.foreign)


def read():
    """Seconds since some moment: of everything, and of what is neither the kernel's own threads nor of this world."""
    busy = _busy()
    kernel = sum(own for _, parent, own, _ in _processes(world.MACHINE_PROC) if parent == _KTHREADD)
    return Reading(busy, busy - kernel - sum(own + children for _, _, own, children in _processes("/proc")))


def read_with_lab():
    """The same for a measurement in the lab, outside of any world: what is this process's and the lab's is not foreign."""
    busy = _busy()
    ours = 0
    for pid, parent, own, children in _processes("/proc"):
        if parent == _KTHREADD:
            ours += own
        elif pid == os.getpid() or _in_lab(pid):
            ours += own + children
    return Reading(busy, busy - ours)


def _in_lab(pid):
    try:
        with open(f"/proc/{pid}/cgroup", encoding="ascii", errors="replace") as file:
            return "/ferry-lab/" in file.read()
    except OSError:
        return False


def wait_until_idle(seconds):
    """Until nothing else runs, or for so long; whether it is idle."""
    end = time.monotonic() + seconds
    while True:
        before, began = _busy(), time.monotonic()
        time.sleep(0.3)
        if _busy() - before < _IDLE * (time.monotonic() - began):
            return True
        if time.monotonic() > end:
            return False


def is_disturbed(foreign, seconds):
    return foreign > max(0.1, _IDLE * seconds)


def least_disturbed(measure_once, patience):
    """What measure_once returns, with foreign_cpu_s and seconds. What other programs have disturbed says nothing, so with
    patience it is measured again; if need be, the best of those."""
    best = measure_once()
    for _ in range(_REPETITIONS if patience else 0):
        if not is_disturbed(best.foreign_cpu_s, best.seconds):
            break
        best = min(best, measure_once(), key=lambda each: each.foreign_cpu_s / each.seconds)
    return best


def _busy():
    """Of all processors: user, nice, system, irq and softirq; proc_stat(5)."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(word) for word in file.readline().split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / _TICKS


def _processes(proc):
    """(pid, parent, seconds of its own, seconds of children that it has waited for) of each process."""
    for name in os.listdir(proc):
        if not name.isdigit():
            continue
        try:
            with open(f"{proc}/{name}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        own, children = ((int(fields[user]) + int(fields[user + 1])) / _TICKS for user in (11, 13))
        yield int(name), int(fields[1]), own, children
