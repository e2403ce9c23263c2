# The builder: an engine of the lab's own that builds Ferry's image and pushes the plugin. Up only while it is needed;
# its images and build cache are kept.
# shellcheck shell=bash

# builder_start NET: "machine" (to build: apt-get must reach its mirror) or "hub" (to push).
builder_start() {
    local net=builder
    [ "$1" = machine ] || net=$1
    host_destroy builder
    mkdir -p "$CACHE/builder"
    host_create builder "$(base_dir "$TOOL_SUITE")" machine "$CACHE/builder:/var/lib/docker" "$CACHE:/cache"
    cat /etc/resolv.conf >"$(host_root builder)/etc/resolv.conf"
    names_write builder
    engine_start builder "$net"
}

builder_stop() {
    engine_stop builder
    host_destroy builder
}

builder_images() {
    host_do builder docker image inspect debian:trixie-slim >/dev/null 2>&1 ||
        host_do builder docker import --change 'CMD ["bash"]' - debian:trixie-slim <"$CACHE/trixie-slim.tar" >/dev/null
}
