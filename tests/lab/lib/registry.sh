# The hub: a host without an engine that carries the bridge and the registry that plugins are installed from.
# shellcheck shell=bash

# shellcheck disable=SC2034
REGISTRY=registry:5000

hub_ensure() {
    host_ready hub && return
    host_destroy hub
    say "network and registry"
    host_create hub "$(base_dir "$TOOL_SUITE")" new
    network_bridge
    ssh_keys
    od -An -tx1 -N32 /dev/urandom | tr -d ' \n' >"$RUN/key"
    registry_start
    touch "$(host_run hub)/ready"
}

registry_start() {
    local root
    root=$(host_root hub)
    mkdir -p "$root/var/lib/registry"
    cat >"$root/etc/registry.yml" <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/registry}}
http: {addr: "$(network_address hub):5000"}
YAML
    (host_exec hub setsid docker-registry serve /etc/registry.yml) 9<&- </dev/null >"$RUN/hosts/hub/registry.log" 2>&1 &
    disown
    wait_for 20 registry_answers || fail_with "the registry does not start" "$RUN/hosts/hub/registry.log"
}

registry_answers() { host_do hub curl -fsS -o /dev/null "http://$(network_address hub):5000/v2/" 2>/dev/null; }

# plugin_publish HASH: puts that build of Ferry into the registry. Pushing is done once per build; what it left in the
# registry is kept beside the build.
plugin_publish() {
    local image=$REGISTRY/ferry:$1 build storage
    build=$(plugin_dir "$1") storage=$(host_root hub)/var/lib/registry
    if [ ! -d "$build/registry" ]; then
        say "pushing Ferry to the registry"
        run_logged "$RUN/push.log" "cannot push Ferry" plugin_push "$image" "/cache/${build#"$CACHE"/}"
        rm -rf "$build/registry.tmp"
        cp -a "$storage" "$build/registry.tmp"
        mv "$build/registry.tmp" "$build/registry"
    else
        cp -a "$build/registry/." "$storage/"
    fi
    echo "$image" >"$RUN/plugin"
}

plugin_push() {
    builder_start hub
    host_do builder docker plugin rm -f "$1" || true
    host_do builder docker plugin create "$1" "$2"
    host_do builder docker plugin push "$1"
    host_do builder docker plugin rm -f "$1"
    builder_stop
}
