# The Docker Engine of a host.
# shellcheck shell=bash

engine_log() { echo "$(host_root "$1")/var/log/dockerd.log"; }
engine_pid() { recorded_pid "$RUN/hosts/$1/engine"; }

engine_command() {
    case $2 in
        stop) engine_stop "$1" ;;
        start) engine_start "$1" ;;
        kill) engine_kill "$1" ;;
        restart) engine_stop "$1" && engine_start "$1" ;;
        *) die "engine HOST stop|start|kill|restart" ;;
    esac
}

# engine_start HOST [NET_HOST]: returns when the engine answers. NET_HOST: use that host's network instead.
engine_start() {
    local name=$1 net=${2:-$1} pid
    ! engine_pid "$name" >/dev/null || return 0
    engine_end_remains "$name"
    (
        cgroup_join "$name"
        ulimit -n 1048576 2>/dev/null || true
        exec setsid nsenter --target "$(host_pid "$net")" --net nsenter --target "$(host_pid "$name")" --mount --uts --cgroup -- \
            env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
            dockerd --experimental --bridge none --iptables=false --ip6tables=false --ip-forward=false \
            --insecure-registry "$REGISTRY"
    ) 9<&- </dev/null >>"$(engine_log "$name")" 2>&1 &
    pid=$!
    disown
    process_id "$pid" >"$(host_run "$name")/engine" || true
    wait_for 90 engine_settled "$name" "$pid" || true
    engine_answers "$name" || fail_with "the engine of $name does not start" "$(engine_log "$name")"
}

engine_answers() { host_do "$1" timeout 10 docker version >/dev/null 2>&1; }
engine_settled() { engine_answers "$1" || process_gone "$2"; }

# engine_processes HOST COMM: pids of the host's processes of that name.
engine_processes() {
    local pid
    for pid in $(cgroup_processes "$1"); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$2" ] || echo "$pid"
    done
}

# engine_end_remains HOST: of an engine that was killed; its containers and their shims stay.
engine_end_remains() {
    local pid
    for pid in $(engine_processes "$1" dockerd) $(engine_processes "$1" containerd); do
        kill -KILL "$pid" 2>/dev/null || true
        wait_for 10 process_gone "$pid"
    done
    rm -f "$(host_root "$1")"/run/{docker.pid,docker.sock,docker/containerd/containerd.pid}
}

engine_stop() {
    local pid
    pid=$(engine_pid "$1") || return 0
    kill -TERM "$pid"
    wait_for 60 process_gone "$pid" || die "the engine of $1 does not stop"
    engine_end_remains "$1"
}

# engine_kill HOST: a hard crash. dockerd starts its containerd such that the kernel ends that with it; shims, containers
# and plugins go on running.
engine_kill() {
    local pid
    if pid=$(engine_pid "$1"); then
        kill -KILL "$pid"
        wait_for 10 process_gone "$pid"
    fi
    local remains
    for remains in $(engine_processes "$1" containerd); do
        kill -KILL "$remains" 2>/dev/null || true
        wait_for 10 process_gone "$remains"
    done
}
