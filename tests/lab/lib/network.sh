# One bridge in the hub's network namespace, one veth to each host. The machine's own namespace is not involved.
# shellcheck shell=bash

# network_address NAME: the hub is .1, hosts a to z are .11 to .36.
network_address() {
    if [ "$1" = hub ]; then
        echo 10.98.0.1
    else
        echo "10.98.0.$(($(printf %d "'$1") - 86))"
    fi
}

network_bridge() {
    host_do hub ip link add lab0 type bridge
    host_do hub ip address add "$(network_address hub)/24" dev lab0
    host_do hub ip link set lab0 up
}

network_attach() {
    host_do hub ip link del "veth-$1" 2>/dev/null || true # the kernel takes a while to end a dead host's namespace
    host_do hub ip link add "veth-$1" type veth peer name eth0 netns "$(host_pid "$1")"
    host_do hub ip link set "veth-$1" master lab0 up
    host_do "$1" sysctl -q -w net.ipv6.conf.eth0.disable_ipv6=1
    host_do "$1" ip address add "$(network_address "$1")/24" dev eth0
    host_do "$1" ip link set eth0 up
}

# network_cut A B: each side sends what is meant for the other to a link address that nobody has. The packets vanish
# without an error, as with a pulled cable; nothing else changes.
network_cut() {
    [ "$1" != "$2" ] || die "cut needs two hosts"
    network_misdirect "$1" "$2"
    network_misdirect "$2" "$1"
}

network_misdirect() {
    host_do "$1" ip neighbour replace "$(network_address "$2")" lladdr 02:00:00:00:00:01 nud permanent dev eth0
}

network_heal() {
    host_do "$1" ip neighbour del "$(network_address "$2")" dev eth0 2>/dev/null || true
    host_do "$2" ip neighbour del "$(network_address "$1")" dev eth0 2>/dev/null || true
}
