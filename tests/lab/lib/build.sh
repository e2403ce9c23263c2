# Ferry's image, built from the working tree with its Dockerfile and cached under the hash of what goes in.
# shellcheck shell=bash

# release, or asan for a plugin that ends with a report in the engine's log when it misuses memory, or tsan for one that
# reports data races there.
PLUGIN_PRESET=${FERRY_PLUGIN_PRESET:-release}

PLUGIN_INPUTS=(Dockerfile config.json rootfs CMakeLists.txt CMakePresets.json plugin)

plugin_dir() { echo "$CACHE/plugins/$1"; }

# plugin_context: the build context as a tar archive that is the same for the same content.
plugin_context() {
    local input present=()
    for input in "${PLUGIN_INPUTS[@]}"; do
        [ ! -e "$SOURCE/$input" ] || present+=("$input")
    done
    tar -C "$SOURCE" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw -c "${present[@]}"
}

# plugin_build: builds what is not built yet. Leaves the hash in PLUGIN_HASH.
plugin_build() {
    local context=$CACHE/context.tmp.$$.tar
    plugin_context >"$context"
    PLUGIN_HASH=$(sha256sum <"$context" | cut -c1-16)
    [ "$PLUGIN_PRESET" = release ] || PLUGIN_HASH+=-$PLUGIN_PRESET
    if [ ! -d "$(plugin_dir "$PLUGIN_HASH")" ]; then
        say "building Ferry"
        run_logged "$CACHE/build.log" "Ferry does not build" plugin_build_image "$context" "$CACHE/plugin.tmp.$$"
        mkdir -p "$CACHE/plugins"
        mv "$CACHE/plugin.tmp.$$" "$(plugin_dir "$PLUGIN_HASH")"
    fi
    rm -f "$context"
    touch "$(plugin_dir "$PLUGIN_HASH")"
    plugin_prune
}

# plugin_build_image CONTEXT TARGET: TARGET/rootfs and TARGET/config.json, as `docker plugin create` wants them.
plugin_build_image() {
    mkdir -p "$2/rootfs"
    if machine_engine; then
        plugin_image_tar docker <"$1" | tar -x -C "$2/rootfs"
    else
        builder_start machine
        builder_images
        plugin_image_tar host_do builder docker <"$1" | tar -x -C "$2/rootfs"
        builder_stop
    fi
    plugin_scrub "$2/rootfs"
    tar -xf "$1" -C "$2" config.json
}

# machine_engine: whether the machine has an engine with BuildKit of its own and the base image or a way to get it.
machine_engine() {
    timeout 10 docker buildx inspect >/dev/null 2>&1 || return 1
    docker image inspect debian:trixie-slim >/dev/null 2>&1 || timeout 120 docker pull -q debian:trixie-slim
}

# plugin_image_tar DOCKER…: the built image's file system; the context comes from stdin.
plugin_image_tar() { "$@" buildx build --progress plain --network host --build-arg "PRESET=$PLUGIN_PRESET" --output type=tar,dest=- -; }

# plugin_scrub ROOTFS: removes what says how this machine reaches its mirror.
plugin_scrub() {
    rm -rf "$1"/etc/apt "$1"/var/lib/apt/lists "$1"/var/cache/apt "$1"/var/log/apt
    : >"$1/etc/resolv.conf"
    rm -f "$1/etc/hostname"
}

plugin_prune() {
    local old
    for old in $(cd "$CACHE/plugins" && find . -mindepth 1 -maxdepth 1 -printf '%T@ %f\n' | sort -rn | tail -n +6 | cut -d' ' -f2); do
        remove_tree "$CACHE/plugins/$old"
    done
}

# build_plugin_into OUTDIR: for use outside the lab.
build_plugin_into() {
    up_begin
    up_prepare
    plugin_build
    if [ "$(cat "$1/.hash" 2>/dev/null)" != "$PLUGIN_HASH" ]; then
        rm -rf "${1:?}"
        mkdir -p "$(dirname "$1")"
        cp -a "$(plugin_dir "$PLUGIN_HASH")" "$1"
        rm -rf "$1/registry"*
        echo "$PLUGIN_HASH" >"$1/.hash"
    fi
    say "Ferry is in $1"
}
