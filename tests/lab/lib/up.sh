# `lab up`, `down`, `reload` and `status`.
# shellcheck shell=bash

lab_up() {
    local wanted missing
    [[ "$1" =~ ^([1-9]|1[0-9]|2[0-6])$ ]] || die "up N: 1 to 26 hosts, not '$1'"
    mapfile -t wanted < <(printf '%s\n' {a..z} | head -n "$1")
    up_begin
    up_check_suite
    up_clean_stale
    mapfile -t missing < <(up_missing "${wanted[@]}")
    [ ${#missing[@]} -eq 0 ] || up_hosts "${missing[@]}"
    up_engines "${wanted[@]}"
    say "up: $(hosts | xargs) (engine of $SUITE)"
}

up_begin() {
    lock
    work_begin
    trap up_end EXIT
    trap 'exit 130' INT TERM HUP
}

up_check_suite() {
    local up
    [ -n "${SUITE_PACKAGES[$SUITE]:-}" ] || die "LAB_SUITE is one of ${!SUITE_PACKAGES[*]}, not $SUITE"
    host_ready hub || return 0
    up=$(<"$RUN/suite")
    [ "$up" = "$SUITE" ] || die "up with LAB_SUITE=$up; first: lab down"
}

up_missing() {
    local name
    for name in "$@"; do host_ready "$name" || echo "$name"; done
}

# up_engines HOST…: starts those that somebody has stopped.
up_engines() {
    local name
    for name in "$@"; do
        engine_pid "$name" >/dev/null || { say "starting the engine of $name"; engine_start "$name"; }
    done
}

up_hosts() {
    local name
    up_prepare
    if [ ! -e "$RUN/plugin" ]; then
        plugin_build
    fi
    hub_ensure
    say "starting $*"
    for name in "$@"; do mkdir -p "$(host_run "$name")"; done # so that each knows all names
    for name in $(hosts); do ! host_ready "$name" || names_write "$name"; done
    in_background host_begin "$@"
    [ -e "$RUN/plugin" ] || plugin_publish "$PLUGIN_HASH"
    background_wait
    say "installing Ferry on $*"
    in_background host_finish "$@"
    background_wait
}

# up_clean_stale: what a run that was killed has left half-made. Without the hub all hosts are.
up_clean_stale() {
    local name
    if ! host_ready hub; then
        erase_hosts
        echo "$SUITE" >"$RUN/suite"
        return
    fi
    for name in builder $(hosts); do host_ready "$name" || host_destroy "$name"; done
}

# up_prepare: everything that is cached, side by side.
up_prepare() {
    require_packages
    in_background base_ensure "$TOOL_SUITE"
    [ "$SUITE" = "$TOOL_SUITE" ] || in_background base_ensure "$SUITE"
    in_background slim_ensure ""
    background_wait
    busybox_ensure
}

host_begin() {
    host_create "$1" "$(base_dir "$SUITE")" new "$STATE/$1/docker:/var/lib/docker"
    names_write "$1"
    network_attach "$1"
    ssh_start "$1"
    engine_start "$1"
    host_do "$1" docker import --change 'CMD ["sh"]' - busybox:latest <"$CACHE/busybox.tar" >/dev/null
    key_write "$1" "$(<"$RUN/key")"
}

host_finish() {
    plugin_install "$1"
    touch "$(host_run "$1")/ready"
}

# up_end: a failed `up` leaves only hosts that were complete before it, and nothing if there were none.
up_end() {
    local status=$? name
    trap - EXIT
    work_end
    if [ $status -ne 0 ]; then
        for name in builder $(hosts); do host_ready "$name" || host_destroy "$name"; done
        [ -n "$(hosts)" ] || erase
    fi
    exit "$status"
}

lab_down() {
    [ -e "$RUN" ] || [ -e "$STATE" ] || [ -n "$(cgroup_dirs)" ] || return 0
    lock
    erase
}

# erase_hosts: ends and removes all hosts, hub and builder.
erase_hosts() {
    local name
    for name in $(all_names); do host_destroy "$name"; done
    rm -rf "$STATE" "$RUN"/{hosts,ssh,key,plugin,suite}
}

# erase: removes everything but the cache.
erase() {
    erase_hosts
    cgroup_remove
    rm -rf "$RUN"
}

lab_reload() {
    local names
    host_ready hub || die "nothing is up"
    up_begin
    mapfile -t names < <(hosts)
    up_prepare
    plugin_build
    plugin_publish "$PLUGIN_HASH"
    say "installing $(<"$RUN/plugin") on ${names[*]}"
    in_background plugin_reinstall "${names[@]}"
    background_wait
}

lab_status() {
    local name engine
    host_ready hub || { say "nothing is up"; return; }
    printf 'engine of %s, plugin %s\n' "$(<"$RUN/suite")" "$(<"$RUN/plugin")"
    for name in $(hosts); do
        engine=stopped
        ! engine_pid "$name" >/dev/null || engine="pid $(engine_pid "$name")"
        printf '%s  %s  root %s  engine %s  ferry %s\n' "$name" "$(network_address "$name")" "$(host_root "$name")" \
            "$engine" "$(plugin_pid "$name" || echo 'not running')"
    done
}
