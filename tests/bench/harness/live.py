"""Services that move while a client writes, and the ways to move them: how long the client is without an answer."""

import json
import os
import shlex
import shutil
import subprocess
import time

from harness.measure import Wrong
from support import tickets, volumes
from support.wait import wait_until

_HERE = os.path.dirname(os.path.realpath(__file__))
_SETTLE_S = 3  # of load before a move begins, and of answers after it has ended
_LAST = 900  # seconds, of anything


class Service:
    """One container, `name`, with one volume. Its state is made once, as the local volume `template` of a."""

    image = "databases"
    arguments = ()

    def __init__(self, scale):
        self.scale = scale

    def run(self, host, volume, check=True):
        host.docker("run", "-d", "--name", self.name, "--network", "host", "--restart", "unless-stopped",
                    "-v", f"{volume}:{self.directory}", *self.arguments, self.image, *self.command(), timeout=_LAST, check=check)

    def inside(self, host, *command, check=True):
        return host.docker("exec", self.name, *command, timeout=_LAST, check=check).stdout.strip()


class Postgresql(Service):
    """PostgreSQL under pgbench, and a table to which the client adds a row with each transaction."""

    name, client, directory = "postgresql", "postgresql", "/var/lib/postgresql/data"
    arguments = ("--stop-signal", "INT", "--stop-timeout", "120", "--shm-size", "1g", "-e", "PGUSER=postgres")
    _script = """
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
data=/var/lib/postgresql/data
mkdir -p /run/postgresql; chown postgres: $data /run/postgresql; chmod 700 $data
as="setpriv --reuid postgres --regid postgres --init-groups"
if [ ! -s $data/PG_VERSION ]; then
    $as initdb -k -D $data -A trust >/dev/null
    echo 'host all all samenet trust' >>$data/pg_hba.conf
fi
exec $as postgres -D $data -c listen_addresses='*' -c max_wal_size=2GB
"""

    def text(self):
        return f"PostgreSQL, pgbench -s {self.scale}, under pgbench -c 4 -R 200"

    def command(self):
        return "bash", "-c", self._script

    def sql(self, host, text):
        return self.inside(host, "psql", "-h", "127.0.0.1", "-qAtX", "-c", text)

    def fill(self, host):
        self.inside(host, "pgbench", "-h", "127.0.0.1", "-q", "-i", "-s", str(self.scale), "postgres")
        self.sql(host, "CREATE TABLE ledger (n bigint PRIMARY KEY)")

    def wait_ready(self, host):
        wait_until(lambda: self.inside(host, "pg_isready", "-h", "127.0.0.1", check=False).endswith("accepting connections"), 120,
                   "PostgreSQL answers", interval=0.2)

    def load(self, host):
        host.docker("exec", "-d", self.name, "pgbench", "-h", "127.0.0.1", "-c", "4", "-R", "200", "-T", "3600", "postgres")

    def check(self, host, numbers):
        """Everything that was acknowledged is there, and nothing is torn."""
        there = {int(line) for line in self.sql(host, "SELECT n FROM ledger").split()}
        lost = sorted(set(numbers) - there)
        if lost:
            raise Wrong(f"{len(lost)} acknowledged commits are lost: {lost[:10]}")
        sums = [self.sql(host, f"SELECT sum({column}) FROM {table}") for column, table in (
            ("abalance", "pgbench_accounts"), ("tbalance", "pgbench_tellers"), ("bbalance", "pgbench_branches"),
            ("delta", "pgbench_history"))]
        if len(set(sums)) != 1:
            raise Wrong(f"torn transactions: {sums}")
        self.inside(host, "sh", "-c", "exec /usr/lib/postgresql/*/bin/pg_amcheck -h 127.0.0.1 --heapallindexed --install-missing postgres")
        failures = self.sql(host, "SELECT sum(checksum_failures) FROM pg_stat_database")
        if failures not in ("", "0"):
            raise Wrong(f"{failures} pages have a wrong checksum")


class Counter(Service):
    """harness/counter.cpp: a log that grows, and pages that are written to through mmap(2)."""

    name, client, directory, image = "counter", "counter", "/state", "counter"

    def text(self):
        return f"a log and {self.scale // 4} MiB of pages that are written to through mmap, beside {self.scale * 16} MiB at rest"

    def command(self):
        return "/bin/counter", self.directory, str(self.scale * 64)

    def fill(self, host):
        self.inside(host, "sh", "-c", f"dd if=/dev/urandom of={self.directory}/old bs=1M count={self.scale * 16} 2>/dev/null")

    def wait_ready(self, host):
        wait_until(lambda: host.can_connect(host, 7000), 60, "it answers", interval=0.2)

    def load(self, host):
        """The client is."""

    def check(self, host, numbers):
        done = self.inside(host, *self.command(), "check", str(max(numbers)), check=False)
        if not done.isdigit():
            raise Wrong(f"{self.name}: {done}")


class Client:
    """harness/ledger_client.py in a's network, from where it reaches both."""

    def __init__(self, service, a, b):
        self._program = a.start_in_network("/usr/bin/python3", os.path.join(_HERE, "ledger_client.py"), service.client,
                                           a.address, b.address)

    def finish(self):
        """[[number, when it was acknowledged]]"""
        out, _ = self._program.communicate(timeout=60)
        return json.loads(out)

    def kill(self):
        self._program.kill()
        self._program.wait()


class Way:
    """How a service gets from a to b: `move` returns when it runs there."""

    driver = "local"
    destination = "b"

    def __init__(self, service, a, b):
        self.service, self.a, self.b = service, a, b

    def undo(self):
        """What it leaves beside container and volume."""


class Restart(Way):
    name, driver, destination = "docker restart", "ferry", "a"
    text = "`docker restart` at its host, which moves nothing"

    def move(self, volume):
        self.a.docker("restart", self.service.name, timeout=_LAST)
        return {}


class Ferry(Way):
    name, driver = "ferry", "ferry"
    text = "`docker volume create -d ferry -o from=a -o container=NAME ticket`"
    ticket = "live"

    def move(self, volume):
        volumes.must_create(self.b, self.ticket, options=["from=a", f"container={self.service.name}"])
        status = volumes.wait_state(self.b, self.ticket, tickets.ENDED, _LAST)
        if status["state"] != "done":
            raise Wrong(f"ferry: {status['migration']['error']}")
        return {"downtime_ms": status["migration"]["downtime_ms"], "rounds": status["migration"]["rounds"],
                "steps": status["service"]["steps"]}

    def undo(self):
        for host in (self.b, self.a):
            for name in volumes.names(host):
                if name == self.ticket or "-elsewhere-" in name:
                    volumes.remove(host, name)


class Rsync(Way):
    name = "stop, rsync, run"
    text = "`docker stop`, rsync -aHAXS over ssh into a new volume, `docker run`"

    def move(self, volume):
        self.b.docker("volume", "create", volume)
        self._before(volume)
        self.a.docker("stop", self.service.name, timeout=_LAST)
        self._rsync(volume)
        self.service.run(self.b, volume)
        return {}

    def _before(self, volume):
        """While the service runs."""

    def _rsync(self, volume, check=True):
        place = f"/var/lib/docker/volumes/{volume}/_data/"
        self.b.exec("rsync", "-aHAXS", "--numeric-ids", "--delete", f"a:{place}", place, timeout=_LAST, check=check)


class TwoRsyncs(Rsync):
    name = "rsync, stop, rsync, run"
    text = "the same, with an rsync before the service is stopped"

    def _before(self, volume):
        self._rsync(volume, check=False)  # 24: some files have vanished meanwhile


class Tar(Way):
    name = "stop, tar, scp, untar, run"
    text = "`docker stop`, tar in a helper container, scp, tar in another one, `docker run`"

    def move(self, volume):
        self.a.docker("stop", self.service.name, timeout=_LAST)
        helper = ["run", "--rm", "--network", "none", "-v", f"{volume}:/volume", "-v", "/var/lib/docker:/host"]
        self.a.docker(*helper, "busybox", "tar", "-cf", "/host/volume.tar", "-C", "/volume", ".", timeout=_LAST)
        self.b.exec("scp", "-q", "a:/var/lib/docker/volume.tar", "/var/lib/docker/volume.tar", timeout=_LAST)
        self.b.docker(*helper, "busybox", "tar", "-xf", "/host/volume.tar", "-C", "/volume", timeout=_LAST)
        self.service.run(self.b, volume)
        return {}

    def undo(self):
        for host in (self.a, self.b):
            host.exec("rm", "-f", "/var/lib/docker/volume.tar")


WAYS = (Restart, Ferry, Rsync, TwoRsyncs, Tar)
SERVICES = (Postgresql, Counter)
TEMPLATE = "template"


def make_counter_image(a, b):
    """busybox and the program, compiled so that it needs nothing else; the same image on both."""
    script = f"""
set -e
cd "$(mktemp -d)"; trap 'rm -r "$PWD"' EXIT
mkdir bin
g++ -std=c++20 -O2 -static -o bin/counter {shlex.quote(os.path.join(_HERE, "counter.cpp"))}
tar -cf - bin
"""
    layer = subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.PIPE).stdout
    with open(a.path("root/counter.tar"), "wb") as out:
        out.write(layer)
    a.exec("sh", "-ec", """
cd "$(mktemp -d)"; mkdir root; docker create --name of-busybox --network none busybox true >/dev/null
docker export of-busybox | tar -x -C root; docker rm of-busybox >/dev/null
tar -x -C root </root/counter.tar; rm /root/counter.tar
tar -c -C root . | docker import - counter:latest >/dev/null; rm -r "$PWD"
docker save -o /root/image.tar counter
""")
    os.rename(shutil.copy(a.path("root/image.tar"), b.path("root/copied.tar")), b.path("root/image.tar"))
    b.docker("load", "-i", "/root/image.tar")


def make_template(service, host):
    host.docker("volume", "create", TEMPLATE)
    service.run(host, TEMPLATE)
    service.wait_ready(host)
    service.fill(host)
    host.docker("stop", service.name, timeout=_LAST)
    host.docker("rm", service.name)
    return int(host.exec("du", "-sk", f"/var/lib/docker/volumes/{TEMPLATE}/_data").stdout.split()[0]) * 1024


def measure(way, number):
    """One move. {downtime_s, total_s, …}: of the client's longest wait, and of the command."""
    service, a, b = way.service, way.a, way.b
    volume = f"{service.name}-{number}"
    a.docker("volume", "create", "-d", way.driver, "--label", "kind=bench", volume)
    a.docker("run", "--rm", "--network", "none", "-v", f"{TEMPLATE}:/from:ro", "-v", f"{volume}:/to", "busybox",
             "sh", "-c", "cp -a /from/. /to/ && sync", timeout=_LAST)
    client = None
    try:
        service.run(a, volume)
        service.wait_ready(a)
        service.load(a)
        client = Client(service, a, b)
        time.sleep(_SETTLE_S)
        began = time.monotonic()
        facts = way.move(volume)
        ended = time.monotonic()
        there = getattr(way, way.destination)
        service.wait_ready(there)
        time.sleep(_SETTLE_S)
        stored = client.finish()
        times = [when for _, when in stored]
        if not times or times[0] > began or times[-1] < ended:
            raise Wrong(f"the client has had no answers: {len(times)}")
        gaps = [(after - before, before) for before, after in zip(times, times[1:], strict=False) if after > began]
        service.check(there, [number for number, _ in stored])
        return {"downtime_s": max(gaps)[0], "total_s": ended - began, "acknowledged": len(stored), **facts}
    finally:
        if client:
            client.kill()
        for host in (b, a):
            host.docker("rm", "-f", "-v", service.name, check=False)
        way.undo()
        for host in (b, a):
            wait_until(lambda h=host: h.docker("volume", "rm", "-f", volume, check=False).returncode == 0, 60, "the volume goes")
