"""Who copies. A contender prepares itself untimed, for an update with the first copy, and then has one action that is
timed."""

import contextlib
import os
import subprocess
from dataclasses import dataclass, field
from typing import Callable

from harness import network, plugin

VOLUME = "work"
OTHER = "other"
_TICKET = "ticket"
_GCM = "-c aes128-gcm@openssh.com"


@dataclass(frozen=True)
class Place:
    """Where a run happens: the source's disk and volume, a fresh disk for the destination, and what is between them."""
    source_disk: object
    source: str
    destination: object
    scratch: object  # another fresh disk at the source, or None
    network: object
    sshd: object
    program: plugin.Program
    logs: str
    deadline: float
    update: bool


@dataclass
class Session:
    """act is what is timed; copy is where its result lies; facts tells afterwards what is known besides."""
    act: Callable[[], None]
    copy: str
    facts: Callable[[], dict] = field(default=dict)


@dataclass(frozen=True)
class Typed:
    """What somebody would type at the destination. images: how often the work fills memory with it; scratch: it needs
    a disk for an intermediate file at the source; prepare: what is typed before, untimed; update: what is typed when a
    first copy is there, if anything; slow: it takes part on slow networks, slow_only: only there; archives: it takes
    part in the work of that name, and only there."""
    name: str
    script: str
    prepare: str = ""
    images: int = 1
    scratch: bool = False
    checked: bool = False
    update: str = ""
    slow: bool = False
    slow_only: bool = False
    archives: str = ""

    searches = False
    beside = False

    @property
    def updates(self):
        return bool(self.update)

    @contextlib.contextmanager
    def session(self, place):
        copy = os.path.join(place.destination.path, "copy")
        os.mkdir(copy)
        variables = {"SOURCE": place.source, "COPY": copy, "DISK": place.destination.path, "SSH": place.sshd.client,
                     "SCRATCH": place.scratch.path if place.scratch else ""}

        def run(script):
            words = [*place.network.at_destination, "bash", "-e", "-o", "pipefail", "-c", script]
            subprocess.run(words, env={**os.environ, **variables}, check=True, timeout=place.deadline)
        if self.prepare:
            run(self.prepare)
        if place.update:
            run(self.script)
        timed = self.update if place.update else self.script
        yield Session(lambda: run(timed), copy)


class Ferry:
    """options: of `create`, besides those that say what and from where; way: "ssh" is through the sshd; searches: it
    takes part where other volumes of the destination may have something; beside: there is such a volume."""
    images = 1
    scratch = False
    checked = True
    updates = True
    archives = ""

    def __init__(self, name="ferry", way="", slow_only=False, searches=False, beside=False, **options):
        self.name = name
        self.searches = searches
        self.beside = beside
        self._ssh = way == "ssh"
        self.slow = True
        self.slow_only = slow_only
        self._options = {"from": f"ssh://root@{network.SOURCE}"} if self._ssh else {}
        self._options.update(options)

    @contextlib.contextmanager
    def session(self, place):
        run, login = ("/run", place.sshd.login) if self._ssh else ("", "")
        with _plugin(place, "source", place.source_disk, run=run) as source, \
                _plugin(place, "destination", place.destination, place.network.at_destination,
                        login=login) as destination:
            name, options = VOLUME, dict(self._options)
            if self.beside:
                destination.bring(OTHER, place.deadline, **self._options)
            if place.update:
                destination.bring(VOLUME, place.deadline, **self._options)
                name, options = _TICKET, {"volume": VOLUME, **self._options}
            sides = [_Side("source", source), _Side("destination", destination)]
            receipt = {}

            def act():
                receipt.update(destination.bring(name, place.deadline, **options))

            def facts():
                found = {"bytes_sent": receipt["bytes_sent"]}
                for side in sides:
                    found.update(side.facts())
                return found
            yield Session(act, plugin.volume_data(place.destination.path, VOLUME), facts)


class FerryArchive:
    """The source's volume as a tar archive on the disk of the sshd, from the other end of the cable: written there, or
    written to a disk of its own before and then read from it into a volume."""
    checked = True
    updates = searches = beside = slow = slow_only = False

    def __init__(self, name, archives):
        self.name = name
        self.archives = archives
        self._reads = archives == "archive-read"
        self.scratch = self._reads
        self.images = 2

    @contextlib.contextmanager
    def session(self, place):
        disk = place.scratch if self._reads else place.destination
        path = os.path.join(disk.path, "work.tar")
        address = f"sftp://root@{network.SOURCE}{path}"

        def far_away(name, disk):
            return _plugin(place, name, disk, place.network.at_destination, login=place.sshd.login)

        def write(exporter):
            exporter.migrate(_TICKET, place.deadline, to=address, volume=VOLUME)
        if self._reads:
            with far_away("source", place.source_disk) as exporter:
                write(exporter)
                exporter.remove(_TICKET)
            with far_away("destination", place.destination) as importer:
                side = _Side("destination", importer)
                yield Session(lambda: importer.migrate(VOLUME, place.deadline, **{"from": address}),
                              plugin.volume_data(place.destination.path, VOLUME), side.facts)
            return
        copy = os.path.join(disk.path, "copy")
        with far_away("source", place.source_disk) as exporter:
            side = _Side("source", exporter)

            def facts():
                found = side.facts()
                os.mkdir(copy)
                subprocess.run(["tar", "-C", copy, "--xattrs", "--acls", "-xpf", path], check=True)
                return found
            yield Session(lambda: write(exporter), copy, facts)
            exporter.remove(_TICKET)


def _plugin(place, name, disk, in_network=(), **ssh):
    return plugin.Plugin(name, place.program, disk.path, os.path.join(place.logs, f"{name}.log"), in_network, **ssh)


class _Side:
    """One plugin's processor time and peak of memory above what it had when it was idle."""

    def __init__(self, name, process):
        self._name = name
        self._process = process
        self._cpu = process.cpu_seconds()
        process.reset_peak()
        self._idle = process.memory()

    def facts(self):
        return {f"{self._name}_cpu_s": round(self._process.cpu_seconds() - self._cpu, 2),
                f"{self._name}_idle_bytes": self._idle,
                f"{self._name}_peak_bytes_above_idle": self._process.peak_memory() - self._idle}


def takes_part(contender, work):
    if work.archives or contender.archives:
        return work.archives and work.name == contender.archives
    if work.link:
        return contender.slow
    if work.other or contender.beside:
        return bool(work.other) and contender.searches
    return not contender.slow_only and (contender.updates or not work.change)


def _rsync(options, cipher=""):
    return f'rsync {options} -e "ssh -F $SSH {cipher}" "source:$SOURCE/" "$COPY/"'


ALL = (
    Ferry(searches=True),
    Ferry("ferry-beside", searches=True, beside=True),
    Ferry("ferry-plain", slow_only=True, compress="none"),
    Ferry("ferry-ssh", way="ssh"),
    Typed("cp", 'cp -a "$SOURCE/." "$COPY"'),
    Typed("rsync", _rsync("-aHAXS"), update=_rsync("-aHAXS")),
    Typed("rsync-z", _rsync("-aHAXSz"), slow=True, slow_only=True),
    Typed("rsync-gcm", _rsync("-aHAXSW", _GCM), update=_rsync("-aHAXS", _GCM)),
    # without --acls and --xattrs: as it is typed, and faster
    Typed("tar-gcm", f'ssh -F "$SSH" {_GCM} source "tar -C $SOURCE -Scf - ." | tar -C "$COPY" -xpf -'),
    FerryArchive("ferry-to-sftp", "archive-write"),
    FerryArchive("ferry-from-sftp", "archive-read"),
    Typed("tar-to-ssh", f'tar -C "$SOURCE" -Scf - . | ssh -F "$SSH" {_GCM} source "cat >$DISK/work.tar"',
          archives="archive-write"),
    Typed("tar-from-ssh", f'ssh -F "$SSH" {_GCM} source "cat $SCRATCH/work.tar" | tar -C "$COPY" -xpf -',
          prepare='tar -C "$SOURCE" -Scf "$SCRATCH/work.tar" .', images=2, scratch=True, archives="archive-read"),
    Typed("script", 'ssh -F "$SSH" source "tar -C $SOURCE -Scf $SCRATCH/work.tar ."; '
                    'scp -qF "$SSH" "source:$SCRATCH/work.tar" "$DISK/"; tar -C "$COPY" -xpf "$DISK/work.tar"',
          images=3, scratch=True),
)
