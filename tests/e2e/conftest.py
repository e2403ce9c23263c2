import os
import subprocess
import tempfile

import pytest


@pytest.fixture(scope="session")
def disk_directory():
    """On a disk, because a tmpfs in /tmp may hold neither user xattrs nor all of the times."""
    path = tempfile.mkdtemp(prefix="ferry-e2e-", dir=os.environ.get("FERRY_E2E_TMP", "/var/tmp"))
    yield path
    subprocess.run(["rm", "-rf", path], check=True)
