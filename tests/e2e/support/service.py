"""A service whose every lost or doubled write is found, and where it runs, seen from outside of all Engines."""

import contextlib
import os
import threading
import time

from support import processes, volumes
from support import scratch as containers
from support.wait import wait_until

# Counts on where it was, into a volume and, at each start, into its own layer; stopping it takes a large last write.
_SCRIPT = """
n=$(tail -n1 /data/log 2>/dev/null)
echo "from ${n:-0}" >>/starts
trap 'dd if=/dev/urandom of=/data/last bs=1M count=4 2>/dev/null; exit 0' TERM
while :; do n=$((${n:-0} + 1)); echo $n >>/data/log; sleep 0.05 & wait $!; done
"""

# It takes three seconds to stop, and tells that it has begun to.
SLOW_TO_STOP = _SCRIPT.replace("trap '", "trap 'touch /data/stopping; sleep 3; ")


class Counter:
    """A container of the host that counts, with a volume of Ferry's and an anonymous one."""

    def __init__(self, host, scratch, *arguments, more=0, image=containers.IMAGE, script=_SCRIPT):
        """more: so many bytes are in its volume, and in its layer, from the beginning."""
        self.name = scratch.name(host, stem="counter")
        self.volume = scratch.volume(host)
        containers.fill(host.volume_data(self.volume), {"content": bytes(range(256)) * (more // 256)})
        scratch.container(host, "--name", self.name, "-v", f"{self.volume}:/data", "-v", "/anonymous", *arguments,
                          command=("sh", "-c", script, self.name), image=image)
        host.docker("exec", self.name, "sh", "-c", f"echo of {self.name} >/anonymous/file; rm /bin/wget; head -c {more} /dev/urandom >/big")
        wait_until(lambda: self.count(host) > 0, 10, "it counts")

    def count(self, host):
        """How far it has come there; fails if one is lost or doubled."""
        read = host.docker("exec", self.name, "cat", "/data/log", check=False, timeout=20)
        if read.returncode != 0:
            return 0
        numbers = [int(line) for line in read.stdout.split()]
        assert numbers == list(range(1, len(numbers) + 1)), f"lost or doubled: {numbers[-20:]}"
        return len(numbers)

    def starts(self, host):
        return len(host.docker("exec", self.name, "cat", "/starts", check=False).stdout.splitlines())

    def check_whole(self, host, layer=True):
        """All of it is there, but for its layer perhaps, and it goes on counting."""
        before = wait_until(lambda: self.count(host), 20, "it counts")
        wait_until(lambda: self.count(host) > before, 20, "it goes on counting")
        root = containers.seen_in(host, self.name, "/")  # from outside: what an exec prints can get lost
        with open(os.path.join(root, "anonymous/file"), encoding="ascii") as file:
            assert file.read() == f"of {self.name}\n"
        assert os.path.exists(os.path.join(root, "data/content")), "it counts in the volume that it had"
        assert os.path.lexists(os.path.join(root, "bin/cat")) and os.path.lexists(os.path.join(root, "bin/wget")) != layer
        return before

    def running(self):
        """The processes that are it, on whatever host."""
        marked = [pid for pid in processes.all_pids()
                  if processes.command(pid).rstrip(b"\0").endswith(b"\0" + self.name.encode())
                  and processes.name(pid) in ("sh", "busybox")]
        return [pid for pid in marked if processes.parent(pid) not in marked]

    @contextlib.contextmanager
    def never_twice(self):
        """Fails if two of it have run at any instant meanwhile."""
        seen, over = [], threading.Event()

        def watch():
            while not over.is_set():
                running = self.running()
                if len(running) > 1:
                    seen.append(running)
                time.sleep(0.01)
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
        assert not seen, f"two of it have run: {seen[:5]}"


def runs(host, container):
    status, answer = host.api.request("GET", f"/containers/{container}/json")
    return status == 200 and answer["State"]["Running"]


def wait_step(host, ticket, step, deadline=30):
    def there():
        status = volumes.status(host, ticket)
        assert status.get("state") in ("importing", "exporting"), f"over before {step}: {status}"
        return status.get("service", {}).get("step") == step
    wait_until(there, deadline, lambda: f"{ticket} at {step}: {volumes.status(host, ticket)}", interval=0.01)
