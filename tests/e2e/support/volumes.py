"""Volumes as a user handles them: the docker command line, and what inspect shows."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from support.wait import Stopwatch, wait_until

# The engine's part of an error; what follows is the plugin's, and has to be one line.
_ENGINE_PREFIX = re.compile(r"^Error response from daemon: (?:create [^:]*: )?"
                            r"(?:error while creating volume '[^']*': )?(?:VolumeDriver\.\w+: )?")

# Some clients end with a hint of their own.
_CLIENT_HINT = re.compile(r"\n+(?:Run|See) 'docker [^\n]*\s*$")


@dataclass
class Created:
    ok: bool
    seconds: float
    error: str  # without the engine's prefix


def create(host, name, *arguments, driver="ferry", options=(), labels=()):
    """options and labels are strings as they follow -o and --label."""
    words = ["volume", "create", "-d", driver]
    for option in options:
        words += ["-o", option]
    for label in labels:
        words += ["--label", label]
    watch = Stopwatch()
    result = host.docker(*words, *arguments, *([name] if name is not None else []), check=False)
    error = _ENGINE_PREFIX.sub("", _CLIENT_HINT.sub("", result.stderr).strip())
    return Created(result.returncode == 0, watch.seconds, error)


def must_create(host, name, **keywords):
    created = create(host, name, **keywords)
    assert created.ok, f"create {name} on {host.name}: {created.error}"
    return name


def api_create(host, name, driver="ferry", options=None, labels=None):
    """For labels that no command line can carry. Returns (status, answer)."""
    body = {"Driver": driver, "DriverOpts": options or {}, "Labels": labels or {}}
    return host.api.request("POST", "/volumes/create", body if name is None else {"Name": name, **body})


def inspect(host, name):
    """None if there is no such volume."""
    status, answer = host.api.request("GET", "/volumes/" + quote(name, safe=""))
    if status == 404:
        return None
    assert status == 200, f"inspect {name}: {status} {answer}"
    return answer


def status(host, name):
    volume = inspect(host, name)
    return (volume or {}).get("Status") or {}


def migration(host, name):
    return status(host, name).get("migration") or {}


def labels(host, name):
    return (inspect(host, name) or {}).get("Labels") or {}


def options(host, name):
    return (inspect(host, name) or {}).get("Options") or {}


def names(host):
    status_code, answer = host.api.request("GET", "/volumes")
    assert status_code == 200, answer
    return {volume["Name"] for volume in answer["Volumes"] or []}


def remove(host, name, force=False):
    """Returns (status, answer); 204 is success."""
    return host.api.request("DELETE", f"/volumes/{quote(name, safe='')}?force={int(force)}")


def wait_imported(host, name, deadline=60):
    """The volume's Status once it is ready; a failure ends the wait."""
    last = {}

    def ready():
        nonlocal last
        last = status(host, name)
        if last.get("state") == "failed":
            raise AssertionError(f"import of {name} failed: {last.get('migration', {}).get('error')}")
        return last if last.get("state") == "ready" else None
    return wait_until(ready, deadline, lambda: f"import of {name} on {host.name}; last Status {last}")


def wait_state(host, name, states, deadline=60):
    last = {}

    def reached():
        nonlocal last
        last = status(host, name)
        return last if last.get("state") in states else None
    return wait_until(reached, deadline, lambda: f"{name} in {states}; last Status {last}", interval=0.02)


def wait_labels(host, name, expected, deadline=30):
    wait_until(lambda: labels(host, name) == expected, deadline,
               lambda: f"labels of {name} are {expected}; they are {labels(host, name)}")


def wait_in_the_middle(host, name, deadline=30, share=0.0):
    """Returns once more than that share of the content has arrived. Fails if the import was over before it was seen."""
    def begun():
        now = status(host, name)
        assert now.get("state") == "importing", f"not caught in the middle: {now}"
        done = now.get("migration") or {}
        total = done.get("bytes_total") or 0
        return done if share * total < (done.get("bytes_done") or 0) < total else None
    return wait_until(begun, deadline, lambda: f"content of {name} arrives", interval=0.005)
