# One command at a time changes what is up or cached. While it runs it is in the cgroup "work", so that what a killed
# one leaves running is known to the next.
# shellcheck shell=bash

# lock: waits for other commands; kills what a killed one has left running.
lock() {
    local told=
    mkdir -p "$CACHE" "$RUN"
    exec 9<"$CACHE"
    until flock -n 9; do
        if ! recorded_pid "$RUN/owner" >/dev/null; then
            cgroup_kill work
        elif [ -z "$told" ]; then
            told=yes
            say "waiting for another lab command (pid $(recorded_pid "$RUN/owner"))"
        fi
        sleep 0.2
    done
    mkdir -p "$RUN" # a `down` that was waited for has removed it
    process_id $$ >"$RUN/owner"
    cgroup_kill work
    rm -rf --one-file-system "$CACHE"/*.tmp.*
}

# work_begin: from here on, whatever this command starts is found again. Call after lock.
work_begin() {
    cgroup_setup
    cp /proc/self/cgroup "$RUN/cgroup-before-work"
    cgroup_join work
    trap work_end EXIT
}

work_end() {
    local id controllers path dir
    while IFS=: read -r id controllers path; do
        dir=/sys/fs/cgroup/${controllers#name=}
        [ "$id" != 0 ] || [ -e /sys/fs/cgroup/cgroup.controllers ] || continue
        [ -e "$dir$path/cgroup.procs" ] || path=
        echo $$ >"$dir$path/cgroup.procs" || true
    done <"$RUN/cgroup-before-work"
    cgroup_kill work
    cgroup_remove work
}
