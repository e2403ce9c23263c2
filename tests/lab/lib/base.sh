# What hosts are made of: Debian bases, one per suite, and the busybox image. Cached; made under another name first.
# shellcheck shell=bash

# Engine and what tests use inside a host. An engine's client, CRIU and so on are named differently over the suites.
BASE_PACKAGES="docker.io,ca-certificates,openssh-server,openssh-client,iproute2,iputils-ping,procps,kmod,iptables"
BASE_PACKAGES+=",busybox-static,attr,acl,libcap2-bin,rsync,zstd,e2fsprogs,xfsprogs,curl,jq"
declare -A SUITE_PACKAGES=(
    [trixie]="docker-cli,docker-buildx,docker-compose,docker-registry,criu"
    [bookworm]="docker-compose"
    [sid]="docker-cli,docker-compose,criu"
)

WITHOUT_DOCS=()
for directory in doc man locale; do WITHOUT_DOCS+=(--dpkgopt="path-exclude=/usr/share/$directory/*"); done
unset directory

# require_packages: what the lab needs of the machine itself. Quick when it is there.
require_packages() {
    [ -n "$(debian_mirror)" ] || run_logged "$RUN/apt.log" "cannot read the package lists" apt-get update -q
    command -v mmdebstrap >/dev/null && return
    say "installing mmdebstrap"
    run_logged "$RUN/apt.log" "cannot install mmdebstrap" install_packages mmdebstrap
}

install_packages() {
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

# debian_mirror: the one that the machine's apt uses.
debian_mirror() {
    # shellcheck disable=SC2016 # the words in dollars are apt's
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(SITE)' 'Created-By: Packages' 'Component: main' |
        sed -n 's/^Debian|Debian|//p' | head -n 1
}

# apt_options: the machine's own settings on how the mirror is reached.
apt_options() { apt-config dump | grep -E '^Acquire::(http::Proxy|https::Proxy|Check-Valid-Until|Check-Date) ' || true; }

# bootstrap SUITE TARGET OPTION…: a minimal Debian as a directory or, if TARGET ends in .tar, an archive.
bootstrap() {
    local suite=$1 target=$2 mirror options=()
    shift 2
    mirror=$(debian_mirror)
    [ -n "$mirror" ] || die "apt has no source for Debian; run apt-get update"
    while read -r option; do options+=(--aptopt="$option"); done < <(apt_options)
    # in a mount namespace of its own, so that nothing stays mounted if it is killed
    unshare --mount --propagation private mmdebstrap --mode=root --variant=minbase "${options[@]}" "$@" "$suite" "$target" "$mirror"
}

base_dir() { echo "$CACHE/base-$1"; }

# base_version SUITE: changes when the recipe does.
base_version() { { echo "$BASE_PACKAGES ${SUITE_PACKAGES[$1]}"; declare -f base_make; } | sha256sum | cut -c1-12; }

base_ensure() {
    ! { [ -d "$(base_dir "$1")" ] && host_ready hub; } || return 0 # in use: not the moment to replace it
    [ "$(cat "$(base_dir "$1")/.lab-version" 2>/dev/null)" != "$(base_version "$1")" ] || return 0
    say "making the base for $1 (once)"
    run_logged "$CACHE/base-$1.log" "no base for $1" base_make "$1" "$CACHE/base-$1.tmp.$$"
    rm -rf "$(base_dir "$1")"
    mv "$CACHE/base-$1.tmp.$$" "$(base_dir "$1")"
}

base_make() {
    bootstrap "$1" "$2" --include="$BASE_PACKAGES,${SUITE_PACKAGES[$1]}" "${WITHOUT_DOCS[@]}"
    rm -rf "$2"/etc/ssh/ssh_host_* "$2"/var/lib/apt/lists/* "$2"/var/cache/apt/*
    echo '# no name server in the lab' >"$2/etc/resolv.conf"
    base_version "$1" >"$2/.lab-version"
}

# slim_ensure: what stands in for debian:trixie-slim where it cannot be pulled.
slim_ensure() {
    [ ! -e "$CACHE/trixie-slim.tar" ] || return 0
    say "making debian:trixie-slim (once)"
    run_logged "$CACHE/trixie-slim.log" "no debian:trixie-slim" bootstrap trixie "$CACHE/trixie-slim.tmp.$$.tar" "${WITHOUT_DOCS[@]}"
    mv "$CACHE/trixie-slim.tmp.$$.tar" "$CACHE/trixie-slim.tar"
}

# databases_ensure: the root file system of the image `databases`.
databases_ensure() {
    [ ! -e "$CACHE/databases.tar" ] || return 0
    say "making the image databases (once)"
    run_logged "$CACHE/databases.log" "no image databases" bootstrap trixie "$CACHE/databases.tmp.$$.tar" \
        --include=postgresql,postgresql-contrib,redis-server "${WITHOUT_DOCS[@]}"
    mv "$CACHE/databases.tmp.$$.tar" "$CACHE/databases.tar"
}

# databases_load HOST…: the image, made of the same file on each.
databases_load() {
    local host
    require_packages
    databases_ensure
    for host in "$@"; do
        host_do "$host" docker image inspect databases >/dev/null 2>&1 ||
            host_do "$host" docker import - databases:latest <"$CACHE/databases.tar" >/dev/null
    done
}

# busybox_ensure: the root file system of the image `busybox`.
busybox_ensure() {
    [ ! -e "$CACHE/busybox.tar" ] || return 0
    local root=$CACHE/busybox.tmp.$$ applet
    mkdir -p "$root"/{bin,etc,root,tmp,var,usr}
    chmod 1777 "$root/tmp"
    cp "$(base_dir "$TOOL_SUITE")/bin/busybox" "$root/bin/"
    for applet in $("$root/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    tar -C "$root" --numeric-owner -cf "$root.tar" .
    mv "$root.tar" "$CACHE/busybox.tar"
    rm -rf "$root"
}
