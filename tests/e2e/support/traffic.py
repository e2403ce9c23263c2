"""Bytes that a host has received from its network, as the kernel counts them."""


def received(host):
    with open(f"/proc/{host.engine_pid()}/net/dev", encoding="ascii") as file:
        lines = [line.split(":") for line in file if ":" in line]
    return sum(int(counters.split()[0]) for name, counters in lines if name.strip() != "lo")
