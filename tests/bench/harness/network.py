"""Two hosts' networks and the cable between them. This process is at the source."""

import contextlib
import subprocess

SOURCE = "192.0.2.1"  # RFC 5737: nobody's
_DESTINATION = "192.0.2.2"
_INTERFACE = "ferry-b"


class Network:
    def __init__(self):
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo up; exec sleep infinity"],
                                  stdout=subprocess.PIPE)
        holder.stdout.readline()  # it is in its namespace now
        self._pid = holder.pid
        _ip("link", "add", "ferry-a", "type", "veth", "peer", "name", _INTERFACE, "netns", str(self._pid))
        _ip("address", "add", f"{SOURCE}/24", "dev", "ferry-a")
        _ip("link", "set", "ferry-a", "up")
        for words in (["address", "add", f"{_DESTINATION}/24", "dev", _INTERFACE], ["link", "set", _INTERFACE, "up"],
                      ["link", "set", "lo", "up"]):
            subprocess.run([*self.at_destination, "ip", *words], check=True)

    @property
    def at_destination(self):
        """What comes before a command that is to run at the destination; the command keeps the process id."""
        return ["nsenter", f"--net=/proc/{self._pid}/ns/net"]

    @contextlib.contextmanager
    def limited(self, rate):
        """The source sends at that rate of tc(8) at most, e.g. "1gbit"; None: as fast as it can."""
        if rate:
            _tc("add", "root", "tbf", "rate", rate, "burst", "1mb", "latency", "50ms")
        try:
            yield
        finally:
            if rate:
                _tc("del", "root")

    def wire_bytes(self):
        """What has gone over the cable, both ways, with headers of segments as the kernel hands them over."""
        with open(f"/proc/{self._pid}/net/dev", encoding="ascii") as file:
            counters = next(line.split(":")[1].split() for line in file if line.strip().startswith(_INTERFACE))
        return int(counters[0]) + int(counters[8])


def _tc(action, *words):
    subprocess.run(["tc", "qdisc", action, "dev", "ferry-a", *words], check=True)


def _ip(*words):
    subprocess.run(["ip", *words], check=True)
