"""What is between the hosts of the lab."""

import contextlib


@contextlib.contextmanager
def one_way(home, away):
    """A firewall of home lets nobody in, wherever to."""
    rule = ("INPUT", "-p", "tcp", "--syn", "-j", "DROP")
    home.exec("iptables", "-I", *rule)
    try:
        assert not away.can_connect(home) and home.can_connect(away)
        yield
    finally:
        home.exec("iptables", "-D", *rule)
