# Every process of the lab lives in a cgroup "ferry-lab/NAME" of each hierarchy (NAME: a host, or "work" for the
# running command itself). That is how `down` finds them all, whatever forked, daemonised or outlived a SIGKILL.
# shellcheck shell=bash

# cgroup_parents: the directory in each hierarchy below which "ferry-lab" is made. On cgroup v1 that is the caller's
# own cgroup, so that limits on it keep to hold; on cgroup v2, where an inner cgroup may not hold processes, the top.
cgroup_parents() {
    local id controllers path mount
    while IFS=: read -r id controllers path; do
        mount=/sys/fs/cgroup/${controllers#name=}
        if [ "$id" = 0 ]; then
            [ ! -e /sys/fs/cgroup/cgroup.controllers ] || echo /sys/fs/cgroup
        elif [ -d "$mount$path" ]; then
            echo "${mount}${path%/}"
        elif [ -d "$mount" ]; then
            echo "$mount"
        fi
    done </proc/self/cgroup
}

# cgroup_setup: decides once per lab where its cgroups are, so that every later caller uses the same.
cgroup_setup() {
    local parent
    if ! cgroup_bases_exist; then
        cgroup_parents >"$RUN/cgroups.new"
        mv "$RUN/cgroups.new" "$RUN/cgroups"
    fi
    while read -r parent; do
        cgroup_make "$parent/ferry-lab"
    done <"$RUN/cgroups"
}

cgroup_bases_exist() {
    local parent
    [ -s "$RUN/cgroups" ] || return 1
    while read -r parent; do
        [ -d "$parent" ] || return 1
    done <"$RUN/cgroups"
}

# cgroup_make DIR: a cgroup that may hold processes (cpuset starts empty on v1) and lend all controllers (v2).
cgroup_make() {
    local parent=${1%/*} file controller
    mkdir -p "$1"
    for file in cpuset.cpus cpuset.mems; do
        if [ -e "$1/cgroup.clone_children" ] && [ -e "$1/$file" ] && [ -z "$(<"$1/$file")" ]; then
            cat "$parent/$file" >"$1/$file"
        fi
    done
    if [ -e "$parent/cgroup.subtree_control" ]; then
        for controller in $(<"$parent/cgroup.controllers"); do
            echo "+$controller" >"$parent/cgroup.subtree_control" || true
        done 2>/dev/null
    fi
}

# cgroup_join NAME: moves the calling (sub)shell into NAME's cgroups.
cgroup_join() {
    local parent dir
    while read -r parent; do
        dir=$parent/ferry-lab/$1
        [ -d "$dir" ] || cgroup_make "$dir"
        [ ! -d "$dir/init" ] || dir=$dir/init # cgroup v2: where the holder has put itself
        echo "$BASHPID" >"$dir/cgroup.procs"
    done <"$RUN/cgroups"
}

# cgroup_dirs [NAME]: the cgroup directories of NAME, or of the whole lab.
cgroup_dirs() { find /sys/fs/cgroup -type d -path "*/ferry-lab${1:+/$1}" -prune 2>/dev/null || true; }

cgroup_files() {
    local dirs
    mapfile -t dirs < <(cgroup_dirs "${2:-}")
    [ ${#dirs[@]} -eq 0 ] || find "${dirs[@]}" -name "$1" 2>/dev/null || true
}

# cgroup_processes [NAME]: their pids.
cgroup_processes() { cgroup_files cgroup.procs "${1:-}" | xargs -r cat 2>/dev/null | sort -un || true; }

# cgroup_kill [NAME]: kills what is in them, paused containers too, and waits until it is gone.
cgroup_kill() {
    wait_for 20 cgroup_kill_once "${1:-}" || warn "processes that do not die: $(cgroup_processes "${1:-}" | xargs)"
}

cgroup_kill_once() {
    local file pids
    for file in $(cgroup_files freezer.state "$1"); do echo THAWED >"$file"; done 2>/dev/null
    for file in $(cgroup_files cgroup.freeze "$1"); do echo 0 >"$file"; done 2>/dev/null
    mapfile -t pids < <(cgroup_processes "$1" | grep -vx 0)
    [ ${#pids[@]} -gt 0 ] || return 0
    kill -KILL "${pids[@]}" 2>/dev/null || true
    return 1
}

# cgroup_remove [NAME]: removes the empty directories.
cgroup_remove() { wait_for 5 cgroup_remove_once "${1:-}" || warn "cgroups left: $(cgroup_dirs "${1:-}" | xargs)"; }

cgroup_remove_once() {
    local dirs
    mapfile -t dirs < <(cgroup_dirs "$1")
    [ ${#dirs[@]} -gt 0 ] || return 0
    find "${dirs[@]}" -depth -type d -exec rmdir {} + 2>/dev/null
}
