# Ferry on a host: installed from the registry, as a user would.
# shellcheck shell=bash

plugin_command() {
    case $2 in
        kill) plugin_kill "$1" ;;
        disable) host_do "$1" docker plugin disable -f ferry >/dev/null ;;
        enable) host_do "$1" docker plugin enable ferry >/dev/null ;;
        reinstall) plugin_reinstall "$1" ;;
        *) die "plugin HOST kill|disable|enable|reinstall" ;;
    esac
}

plugin_install() {
    host_do "$1" docker plugin install --alias ferry --grant-all-permissions "$(<"$RUN/plugin")" ssh.source=/root/.ssh </dev/null >/dev/null ||
        fail_with "Ferry cannot be installed on $1" "$(engine_log "$1")"
}

plugin_reinstall() {
    host_do "$1" docker plugin disable -f ferry >/dev/null 2>&1 || true
    host_do "$1" docker plugin rm -f ferry >/dev/null 2>&1 || true
    plugin_install "$1"
}

# plugin_pid HOST: the pid of Ferry's process, from runc's state of it, or of any plugin that is Ferry if the engine is gone.
plugin_pid() {
    local id state pid
    id=$(host_do "$1" docker plugin inspect -f '{{.ID}}' ferry 2>/dev/null) || true
    for state in "$(host_root "$1")"/run/docker/runtime-runc/plugins.moby/${id:-*}/state.json; do
        pid=$(sed -n 's/.*"init_process_pid":\([0-9]*\).*/\1/p' "$state" 2>/dev/null) && [ -n "$pid" ] || continue
        [ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" = "/usr/bin/ferry " ] || continue
        echo "$pid"
        return
    done 2>/dev/null
    return 1
}

plugin_kill() {
    local pid
    pid=$(plugin_pid "$1") || die "Ferry does not run on $1"
    kill -KILL "$pid"
    wait_for 10 process_gone "$pid"
}

# key_write HOST VALUE: replaces the file that pairs hosts.
key_write() {
    local dir
    dir=$(host_root "$1")/var/lib/docker/ferry
    [ -d "$dir" ] || mkdir -m 700 "$dir"
    (umask 077 && printf '%s\n' "$2" >"$dir/.key.lab")
    sync -f "$dir/.key.lab"
    mv -f "$dir/.key.lab" "$dir/key"
}
