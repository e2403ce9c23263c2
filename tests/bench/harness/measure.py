"""One timed run of one contender on fresh file systems."""

import contextlib
import os
import time
from dataclasses import asdict, dataclass, field

from harness import disk, plugin, processor
from harness.contenders import OTHER, VOLUME, Place
from support import tree_compare
from support.wait import Stopwatch

_HEADROOM = 2 * disk.GIB
# rsync compares mtimes in whole seconds, and Ferry trusts no ctime that is only milliseconds old
_SETTLED_S = 1.1


class Wrong(Exception):
    """A copy that is not one, or a run that cannot be made here."""


@dataclass
class Sample:
    """seconds: to the end of sync -f; cpu_s: of the whole machine, kernel threads included, but for foreign_cpu_s, that
    of other programs; wire_bytes: both ways."""
    seconds: float
    cpu_s: float
    foreign_cpu_s: float
    wire_bytes: int
    facts: dict = field(default_factory=dict)

    @property
    def is_disturbed(self):
        return processor.is_disturbed(self.foreign_cpu_s, self.seconds)

    def json(self):
        return asdict(self)


@dataclass(frozen=True)
class Bench:
    """What stays the same for a whole run of the benchmarks. patience: how many seconds a run may wait until other
    programs have ended; 0: runs neither wait nor are repeated because of others."""
    network: object
    sshd: object
    program: plugin.Program
    logs: str
    fs: str
    scale: float
    patience: float

    def size(self, work):
        return int(work.size * self.scale) * (2 if work.other else 1)

    def new_disk(self, name, work):
        # four times: for two copies of it, and an inode for each 16 KiB
        return disk.Disk(name, self.fs, 4 * disk.GIB + 4 * self.size(work))

    @contextlib.contextmanager
    def source(self, work):
        """The disk and the filled volume that all contenders copy."""
        _need_memory(2 * self.size(work), f"the source of {work.name}")
        with self.new_disk("source", work) as source:
            volume = plugin.make_source(self.program, source.path, os.path.join(self.logs, "source.log"), VOLUME)
            work.fill(volume, self.scale)
            if work.other:
                log = os.path.join(self.logs, "source.log")
                work.other(plugin.make_source(self.program, source.path, log, OTHER), self.scale)
            source.sync()
            yield source, volume

    def run(self, work, contender, source, volume):
        return processor.least_disturbed(lambda: self._once(work, contender, source, volume), self.patience)

    def _once(self, work, contender, source, volume):
        images = contender.images + (1 if work.change else 0)  # files may be written anew beside the old ones
        _need_memory((images + 0.5) * self.size(work), f"{contender.name} with {work.name}")
        with contextlib.ExitStack() as stack:
            scratch = stack.enter_context(self.new_disk("scratch", work)) if contender.scratch else None
            destination = stack.enter_context(self.new_disk("destination", work))
            place = Place(source, volume, destination, scratch, self.network, self.sshd, self.program, self.logs,
                          deadline=60 + 300 * self.size(work) / disk.GIB, update=work.change is not None)
            session = stack.enter_context(contender.session(place))
            changed = self._change(work, source, volume, session) if work.change else {}
            disk.warm(volume)
            for each in filter(None, (source, destination, scratch)):
                each.sync()
            if scratch:
                disk.warm(scratch.path)
            if self.patience:
                processor.wait_until_idle(self.patience)
            with self.network.limited(work.link):
                sample = self._timed(session, destination)
            sample.facts.update(changed)
            if contender.checked:
                sample.facts["entries_equal"] = _check(volume, session.copy, work, contender)
            return sample

    def _change(self, work, source, volume, session):
        """What happens between the first copy and the second one."""
        time.sleep(_SETTLED_S)
        changed = work.change(volume, self.scale)
        source.sync()
        time.sleep(_SETTLED_S)
        disk.warm(session.copy)
        return {"changed_bytes": changed}

    def _timed(self, session, destination):
        wire, before = self.network.wire_bytes(), processor.read()
        watch = Stopwatch()
        session.act()
        destination.sync()
        seconds = watch.seconds
        used = processor.read() - before
        sample = Sample(seconds, used.busy - used.foreign, used.foreign, self.network.wire_bytes() - wire)
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
