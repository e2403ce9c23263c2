"""RESULT.md and RESULT.json: what was measured, on what, and whether it is enough."""

import json
import os
from statistics import median

from harness import targets
from harness.overhead import Overhead

_MB = 1e6


def write(directory, facts, works, results):
    """results: {work: {contender: [sample as JSON]}}. Returns the Markdown."""
    _replace(os.path.join(directory, "RESULT.json"), json.dumps({"facts": facts, "results": results}, indent=1) + "\n")
    text = markdown(facts, works, results)
    _replace(os.path.join(directory, "RESULT.md"), text)
    return text


def markdown(facts, works, results):
    parts = [_table(["", "value"], facts.items())]
    parts += [f"## {work.name}: {work.text}\n" + _section(work)(results[work.name]) for work in works
              if work.name in results]
    parts.append("## Targets\n" + _targets(facts, results))
    return "# Benchmarks\n" + "\n".join(parts)


def _section(work):
    return _overhead if work.name == Overhead.name else _work


def _overhead(places):
    rows = []
    for place in ("memory", "disk", "without Ferry"):
        for key, times in places[place].items():
            if key == "others_cpu_s":
                continue
            peer = places[place].get(key.replace("ferry", "local")) if "ferry" in key else None
            rows.append([place, key, len(times), *(f"{targets.percentile(times, share):.2f}" for share in (0.5, 0.9, 0.99, 1)),
                         f"{median(times) / median(peer):.2f}" if peer else "", f"{max(places[place]['others_cpu_s']):.1f}"])
    return _table(["where", "what", "samples", "p50 ms", "p90", "p99", "max", "× local", "others' CPU s, most"], rows)


def _work(samples):
    copy = targets.seconds({"": samples}, "", "cp") if "cp" in samples else None
    rows = []
    for name, runs in samples.items():
        times = [run["seconds"] for run in runs]
        middle = median(times)
        rows.append([name, f"{middle:.2f}", f"{min(times):.2f}", f"{max(times):.2f}",
                     f"{middle / copy:.2f}" if copy else "", f"{median(run['cpu_s'] for run in runs):.1f}",
                     f"{max(run['foreign_cpu_s'] for run in runs):.1f}",
                     f"{median(run['wire_bytes'] for run in runs) / _MB:.0f}"])
    text = _table(["", "median s", "min", "max", "× cp", "CPU s", "others' CPU s, most", "MB on the wire"], rows)
    return text + (_ferry(samples["ferry"]) if "ferry" in samples else "")


def _ferry(runs):
    rows = []
    for side in ("source", "destination"):
        idle, peak, cpu = ([run["facts"][f"{side}_{name}"] for run in runs]
                           for name in ("idle_bytes", "peak_bytes_above_idle", "cpu_s"))
        rows.append([side, f"{median(cpu):.2f}", f"{median(idle) / targets.MIB:.0f}", f"{max(peak) / targets.MIB:.0f}"])
    sent = median(run["facts"]["bytes_sent"] for run in runs) / _MB
    entries = {run["facts"]["entries_equal"] for run in runs}
    checked = f"{len(runs)} of {len(runs)} copies equal the source ({max(entries)} entries compared)."
    return ("\n" + _table(["Ferry", "CPU s", "MiB idle", "MiB above idle, peak"], rows) +
            f"\nbytes_sent in Status: {sent:.0f} MB. {checked}\n")


def _targets(facts, results):
    rows = []
    for target in targets.ALL:
        value, verdict = target.verdict(results)
        if value is not None and facts["scale"] != 1:
            verdict = "(another scale)"
        rows.append([target.work, target.text, target.bound, "" if value is None else f"{value:.2f}", verdict])
    return _table(["work", "what", "target", "measured", ""], rows)


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _replace(path, text):
    with open(path + ".new", "w", encoding="utf-8") as out:
        out.write(text)
    os.rename(path + ".new", path)
