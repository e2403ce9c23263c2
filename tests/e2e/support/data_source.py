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


def set_source(host, path):
    host.docker("plugin", "set", "ferry", f"data.source={path}")


def source(host):
    return host.plugin_mounts()["data"]
