"""Ferry without a way to its engine: it serves and copies volumes, and says what it cannot know."""

import json
import re

import pytest
from support import scratch as containers
from support import volumes

EMPTY = "/srv/e2e-empty"


@pytest.fixture
def no_engine_socket(b):
    """The mount through which the plugin of b finds its engine leads to an empty directory; call to end that."""
    source = b.plugin_mounts()["run"]
    b.exec("mkdir", "-p", EMPTY)
    b.set_plugin(f"run.source={EMPTY}")
    ended = []

    def end():
        if not ended:
            ended.append(True)
            b.set_plugin(f"run.source={source}")
    yield end
    end()


@pytest.mark.slow
def test_it_serves_copies_and_says_what_it_cannot_know(a, b, scratch, no_engine_socket):
    plain = scratch.volume(b, labels=["x=1"])
    containers.run(b, f"{plain}:/data", "echo works > /data/x")
    assert containers.run(b, f"{plain}:/data", "cat /data/x").stdout == "works\n"
    assert re.search(r"engine", json.dumps(volumes.status(b, plain)), re.I), "Status does not tell what is missing"
    assert volumes.labels(b, plain) == {"x": "1"}

    source = scratch.volume(a, labels=["team=web"])
    containers.fill(a.volume_data(source), {"file": b"content"})
    copy = scratch.name(b)
    volumes.must_create(b, copy, options=[f"from=a/{source}"])
    volumes.wait_imported(b, copy)
    status = volumes.status(b, copy)
    assert status["labels"] == {"team": "web"} and status["labels_pending"]
    assert containers.run(b, f"{copy}:/data", "cat /data/file").stdout == "content"

    # It cannot ask for the labels of its own volumes either, and whoever imports one is told.
    unlabelled = scratch.name(a)
    volumes.must_create(a, unlabelled, options=[f"from=b/{plain}"])
    receipt = volumes.wait_imported(a, unlabelled)["migration"]
    assert any("labels did not come along" in warning for warning in receipt["warnings"]), receipt

    # Of a local volume Ferry cannot know here who writes to it: it must not call that idle.
    used, copy_of_used = scratch.volume(b, driver="local"), scratch.name(a)
    scratch.container(b, "-v", f"{used}:/data")
    created = volumes.create(a, copy_of_used, options=[f"from=b/{used}"])
    if created.ok:
        assert volumes.wait_imported(a, copy_of_used)["migration"]["consistency"] == "live"
    else:
        assert "Engine cannot be asked" in created.error, created

    no_engine_socket()
    volumes.wait_labels(b, copy, {"team": "web"}, deadline=60)
