"""PostgreSQL and Redis of Debian move while clients write: whatever they were told is stored is there."""

import contextlib
import threading

import pytest
from support import service, tickets, volumes
from support.wait import wait_until

IMAGE = "databases"
# As the entrypoints of the well-known images do it: the volume is initialised at the first start.
POSTGRES = """
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
data=/var/lib/postgresql/data
mkdir -p $data /run/postgresql; chown postgres: $data /run/postgresql; chmod 700 $data
[ -s $data/PG_VERSION ] || setpriv --reuid postgres --regid postgres --init-groups initdb -D $data -A trust >/dev/null
exec setpriv --reuid postgres --regid postgres --init-groups postgres -D $data -c listen_addresses=
"""
REDIS = "exec redis-server --dir /data --appendonly yes --appendfsync always --port 0 --unixsocket /run/redis.sock --save ''"


@pytest.fixture(scope="module")
def image(running_lab):
    running_lab.run("databases", "a", "b", timeout=1200)
    return IMAGE


@pytest.fixture
def started(a, b, scratch, image):
    """started(volume's destination, script, arguments…): the name of a container of a."""
    made = []

    def start(destination, script, *arguments):
        name, volume = scratch.name(a, stem="database"), scratch.volume(a, labels=["kind=database"])
        scratch.forget_later(b, volume)
        made.append(name)
        a.docker("run", "-d", "--network", "none", "--name", name, "-v", f"{volume}:{destination}", "--restart", "unless-stopped",
                 "--stop-timeout", "60", *arguments, image, "bash", "-c", script)
        return name
    yield start
    for name in made:
        for host in (a, b):
            host.docker("rm", "-f", "-v", name, check=False)
    wait_until(lambda: all(volumes.remove(a, name)[0] == 204 for name in volumes.names(a) if "-elsewhere-" in name), 30,
               "nothing is held at a any more")


class Client:
    """Writes one number after the other until that fails, and knows which ones it was told are stored."""

    def __init__(self, write):
        self.stored, self._write, self._over = 0, write, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with contextlib.suppress(AssertionError):
            while not self._over.is_set():
                self._write(self.stored + 1)
                self.stored += 1

    def finish(self):
        self._over.set()
        self._thread.join()
        assert self.stored > 0
        return self.stored


def move(a, b, scratch, name, client, way):
    wait_until(lambda: client.stored > 5, 60, "the client writes")
    home = b if way == "from=a" else a
    status = volumes.wait_state(home, tickets.start(home, scratch, way, f"container={name}"), tickets.ENDED, 120)
    stored = client.finish()
    assert status["state"] == "done", status["migration"]["error"]
    assert not service.runs(a, name) and service.runs(b, name)
    return stored


@pytest.mark.slow
@pytest.mark.parametrize("way", ["from=a", "to=b"])
def test_postgresql(a, b, scratch, started, way):
    name = started("/var/lib/postgresql/data", POSTGRES, "--env", "PGUSER=postgres", "--shm-size", "128m",
                   "--stop-signal", "INT")

    def sql(host, text, check=True):
        return host.docker("exec", "-u", "postgres", name, "psql", "-qAtX", "-c", text, check=check).stdout.strip()
    wait_until(lambda: a.docker("exec", "-u", "postgres", name, "pg_isready", check=False).returncode == 0, 120, "PostgreSQL runs")
    a.docker("exec", "-u", "postgres", name, "pgbench", "-q", "-i", "-s", "3", "postgres")
    sql(a, "CREATE TABLE told (n int PRIMARY KEY)")
    a.docker("exec", "-d", "-u", "postgres", name, "pgbench", "-c", "2", "-T", "600", "postgres")
    stored = move(a, b, scratch, name, Client(lambda n: sql(a, f"INSERT INTO told VALUES ({n})")), way)
    wait_until(lambda: b.docker("exec", "-u", "postgres", name, "pg_isready", check=False).returncode == 0, 60, "it answers")
    numbers = [int(line) for line in sql(b, "SELECT n FROM told ORDER BY n").split()]
    assert numbers[:stored] == list(range(1, stored + 1)) and len(numbers) <= stored + 1
    assert sql(b, "SELECT count(*) FROM pgbench_accounts") == "300000"
    # Each transaction of pgbench adds the same to an account, a teller, a branch and the history.
    sums = [sql(b, f"SELECT sum({column}) FROM {table}") for column, table in (
        ("abalance", "pgbench_accounts"), ("tbalance", "pgbench_tellers"), ("bbalance", "pgbench_branches"), ("delta", "pgbench_history"))]
    assert len(set(sums)) == 1, f"torn transactions: {sums}"
    b.docker("exec", "-u", "postgres", name, "sh", "-c", "/usr/lib/postgresql/*/bin/pg_amcheck --heapallindexed --install-missing postgres",
             timeout=300)
    sql(b, "INSERT INTO told VALUES (-1)")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["from=a", "to=b"])
def test_redis(a, b, scratch, started, way):
    name = started("/data", REDIS)

    def redis(host, *words, check=True):
        answer = host.docker("exec", name, "redis-cli", "-s", "/run/redis.sock", *words, check=check)
        assert not check or "error" not in (answer.stdout + answer.stderr).lower(), answer
        return answer.stdout.strip()
    wait_until(lambda: redis(a, "ping", check=False) == "PONG", 60, "Redis runs")
    redis(a, "eval", "for i = 1, 50000 do redis.call('set', 'key:' .. i, string.rep('x', 100) .. i) end", "0")

    def write(n):
        assert redis(a, "rpush", "told", str(n)) == str(n)
    stored = move(a, b, scratch, name, Client(write), way)
    wait_until(lambda: redis(b, "ping", check=False) == "PONG", 60, "it answers")
    numbers = [int(line) for line in redis(b, "lrange", "told", "0", "-1").split()]
    assert numbers[:stored] == list(range(1, stored + 1)) and len(numbers) <= stored + 1
    assert redis(b, "dbsize") == "50001" and redis(b, "get", "key:50000") == "x" * 100 + "50000"
