"""One timed run of one contender on fresh file systems."""

import contextlib
import os
from dataclasses import asdict, dataclass, field

from harness import disk, plugin
from harness.contenders import VOLUME, Place
from support import tree_compare
from support.wait import Stopwatch

_TICKS = os.sysconf("SC_CLK_TCK")
_HEADROOM = 2 * disk.GIB


class Wrong(Exception):
    """A copy that is not one, or a run that cannot be made here."""


@dataclass
class Sample:
    """seconds: to the end of sync -f; cpu_s: of the whole machine, kernel threads included; wire_bytes: both ways."""
    seconds: float
    cpu_s: float
    wire_bytes: int
    facts: dict = field(default_factory=dict)

    def json(self):
        return asdict(self)


@dataclass(frozen=True)
class Bench:
    """What stays the same for a whole run of the benchmarks."""
    network: object
    sshd: object
    binary: str
    logs: str
    fs: str
    scale: float

    def size(self, work):
        return int(work.size * self.scale)

    def new_disk(self, name, work):
        # four times: for two copies of it, and an inode for each 16 KiB
        return disk.Disk(name, self.fs, 4 * disk.GIB + 4 * self.size(work))

    @contextlib.contextmanager
    def source(self, work):
        """The disk and the filled volume that all contenders copy."""
        _need_memory(2 * self.size(work), f"the source of {work.name}")
        with self.new_disk("source", work) as source:
            volume = plugin.make_source(self.binary, source.path, os.path.join(self.logs, "source.log"), VOLUME)
            work.fill(volume, self.scale)
            source.sync()
            yield source, volume

    def run(self, work, contender, source, volume):
        _need_memory((contender.images + 0.5) * self.size(work), f"{contender.name} with {work.name}")
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(self.new_disk("scratch", work)) if contender.scratch else None
            destination = stack.enter_context(self.new_disk("destination", work))
            place = Place(source, volume, destination, scratch, self.network, self.sshd, self.binary, self.logs,
                          deadline=60 + 300 * self.size(work) / disk.GIB)
            session = stack.enter_context(contender.session(place))
            disk.warm(volume)
            for each in (source, destination):
                each.sync()
            sample = self._timed(session, destination)
            if contender.checked:
                sample.facts["entries_equal"] = _check(volume, session.copy, work, contender)
            return sample

    def _timed(self, session, destination):
        wire, cpu = self.network.wire_bytes(), _busy_seconds()
        watch = Stopwatch()
        session.act()
        destination.sync()
        seconds = watch.seconds
        sample = Sample(seconds, _busy_seconds() - cpu, self.network.wire_bytes() - wire)
        sample.facts.update(session.facts())
        return sample


def _check(volume, copy, work, contender):
    result = tree_compare.compare(volume, copy)
    if result.differences:
        shown = "\n".join(result.differences[:20])
        raise Wrong(f"{contender.name}'s copy of {work.name} has {len(result.differences)} differences:\n{shown}")
    return result.entries


def _need_memory(size, what):
    available = disk.available_memory()
    if available < size + _HEADROOM:
        raise Wrong(f"{what} needs {(size + _HEADROOM) / disk.GIB:.1f} GiB of memory for its images, and "
                    f"{available / disk.GIB:.1f} GiB are available; use a smaller --scale")


def _busy_seconds():
    """Of all processors: user, nice, system, irq and softirq; proc_stat(5)."""
    with open("/proc/stat", encoding="ascii") as file:
        fields = [int(word) for word in file.readline().split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / _TICKS
