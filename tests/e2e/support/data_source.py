"""Ferry installed with another place for its data than the default."""

import contextlib


@contextlib.contextmanager
def customised_source(host, path):
    """A fresh install whose data.source is path (which exists on the host); the default one afterwards."""
    host.docker("plugin", "rm", "-f", "ferry")
    try:
        host.install_plugin(enable=False)
        set_source(host, path)
        host.docker("plugin", "enable", "ferry")
        host.wait_served()
        yield
    finally:
        # Also a plugin that refuses to serve is removed by this.
        host.plugin("reinstall")
        host.wait_served()


@contextlib.contextmanager
def on_a_small_disk(host, key):
    """A fresh install of the plugin with that key, which keeps its data on a file system of 100 MB; its path on the host.

    A plugin sees mounts as they were at its start, and filling the machine's own disk would disturb everybody else on it.
    """
    small = "/srv/e2e-small"
    host.exec("mkdir", "-p", small)
    host.exec("mount", "-t", "tmpfs", "-o", "size=100m", "e2e-small", small)
    try:
        with customised_source(host, small):
            host.set_key_in(small, key)
            yield small
    finally:
        host.exec("umount", "-l", small)


def set_source(host, path):
    host.docker("plugin", "set", "ferry", f"data.source={path}")


def source(host):
    return host.plugin_mounts()["data"]
