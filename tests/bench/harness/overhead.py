"""The work `overhead`: what the driver costs, beside the Engine's own `local` driver. It needs no copies and no world of
its own, but the lab."""

import subprocess
from contextlib import closing
from typing import NamedTuple

from harness import lab_host, processor
from harness.engine_calls import Engine, docker_volume_ls, durable_write
from support.wait import Stopwatch

DRIVERS = ("ferry", "local")
_PRESENT = 1000
_LISTED = 10_000
# of each kind in each round
_SAMPLES = 200
_LISTINGS = 20


class _Round(NamedTuple):
    seconds: float
    foreign_cpu_s: float
    times: dict


def _joined(first, second):
    """Of one place; what others used is of all rounds."""
    return {**first, **second, "others_cpu_s": first["others_cpu_s"] + second["others_cpu_s"]}


class Overhead:
    """measure() returns {place: {"WHAT DRIVER": [milliseconds]}} and, for each place, what other programs used meanwhile
    ("others_cpu_s", of each round)."""
    name = "overhead"
    text = "volumes made, removed and listed, over the API of an Engine with the plugin installed"

    def __init__(self, options, say):
        self._rounds, self._patience, self._fs = options.rounds, options.patience, options.fs
        self._present, self._listed, self._samples, self._listings = (
            max(2, int(count * options.scale)) for count in (_PRESENT, _LISTED, _SAMPLES, _LISTINGS))
        self._say = say

    def measure(self):
        self._say(f"{self.name}: {self.text}")
        with lab_host.up() as lab:
            host = lab.a
            with closing(Engine(host)) as engine:
                version = engine.version()
            return {"engine": version, "disk": self._on_disk(host), **self._in_memory(host)}

    def _on_disk(self, host):
        with closing(Engine(host)) as engine:
            self._fill(host, engine, DRIVERS)
            return self._sampled("on this machine's disk", lambda: self._change(host, engine, DRIVERS))

    def _in_memory(self, host):
        lab_host.new_data_root(host, self._fs)
        with closing(Engine(host)) as engine:
            self._fill(host, engine, ["local"])
            alone = self._sampled("without Ferry", lambda: self._change(host, engine, ["local"]))
            lab_host.install_ferry(host)
            self._fill(host, engine, ["ferry"])
            both = self._sampled("in memory", lambda: self._change(host, engine, DRIVERS))
            for number in range(self._present):
                engine.remove(f"local-{number}")
            self._fill(host, engine, ["ferry"], self._present, self._listed)
            both = _joined(both, self._sampled(f"{self._listed} listed", lambda: self._list(host, engine, "ferry")))
        lab_host.new_data_root(host, self._fs)
        with closing(Engine(host)) as engine:
            self._fill(host, engine, ["local"], count=self._listed)
            alone = _joined(alone, self._sampled(f"{self._listed} listed, without Ferry",
                                                 lambda: self._list(host, engine, "local")))
        return {"memory": both, "without Ferry": alone}

    def _fill(self, host, engine, drivers, first=0, count=None):
        for number in range(first, count or self._present):
            for driver in drivers:
                engine.create(driver, f"{driver}-{number}")
        subprocess.run(["sync", "-f", host.path(lab_host.DATA_ROOT)], check=True)

    def _change(self, host, engine, drivers):
        """Each is made and removed in turn, and nobody always comes first."""
        times = {f"{what} {driver}": [] for what in ("create", "rm") for driver in drivers}
        times |= {"ping engine": [], "write disk": []}
        for number in range(self._samples):
            order = drivers[::-1] if number % 2 else drivers
            for driver in order:
                times[f"create {driver}"].append(engine.create(driver, f"sample-{driver}-{number}"))
            for driver in order:
                times[f"rm {driver}"].append(engine.remove(f"sample-{driver}-{number}"))
        for _ in range(self._samples):
            times["ping engine"].append(engine.ping())
            times["write disk"].append(durable_write(host.path(lab_host.DATA_ROOT)))
        return times

    def _list(self, host, engine, driver):
        times = {f"ls {driver}": [], f"docker volume ls {driver}": []}
        for _ in range(self._listings):
            times[f"ls {driver}"].append(engine.list(self._listed))
            times[f"docker volume ls {driver}"].append(docker_volume_ls(host, self._listed))
        return times

    def _sampled(self, where, measure_once):
        found = {"others_cpu_s": []}
        for number in range(self._rounds):
            made = processor.least_disturbed(lambda: self._round(measure_once), self._patience)
            found["others_cpu_s"].append(made.foreign_cpu_s)
            for key, some in made.times.items():
                found.setdefault(key, []).extend(some)
            self._say(f"  {number + 1}/{self._rounds} {where}: " + ", ".join(
                f"{key} {sorted(some)[len(some) // 2]:.2f}" for key, some in made.times.items()) + " ms")
        return found

    def _round(self, measure_once):
        if self._patience:
            processor.wait_until_idle(self._patience)
        watch, before = Stopwatch(), processor.read_with_lab()
        times = measure_once()
        return _Round(watch.seconds, (processor.read_with_lab() - before).foreign, times)
