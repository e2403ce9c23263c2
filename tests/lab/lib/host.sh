# A host: namespaces, a root file system, names, ssh. "hub" (bridge and registry) and "builder" are hosts too.
# shellcheck shell=bash

host_run() { echo "$RUN/hosts/$1"; }
host_pid() { recorded_pid "$RUN/hosts/$1/holder"; }
host_root() { echo "/proc/$(host_pid "$1")/root"; }
host_ready() { [ -e "$RUN/hosts/$1/ready" ] && host_pid "$1" >/dev/null; }

# all_names: whatever has a trace of any kind: hosts, hub, builder, also of a run that was killed.
all_names() {
    local dir
    {
        for dir in "$RUN"/hosts/* "$STATE"/*; do echo "${dir##*/}"; done
        mapfile -t dirs < <(cgroup_dirs)
        [ ${#dirs[@]} -eq 0 ] || find "${dirs[@]}" -mindepth 1 -maxdepth 1 -type d -printf '%f\n'
    } | grep -vx work | sort -u
}

# hosts: the names of those that exist, ready or not, without hub and builder.
hosts() { (cd "$RUN/hosts" 2>/dev/null && printf '%s\n' [a-z]) || true; }

require_host() {
    [[ "${1:-}" =~ ^[a-z]$ ]] || die "HOST is a, b, c…, not '${1:-}'"
    host_ready "$1" || die "host $1 is not up"
}

# host_create NAME BASE NET BIND…: NET is "new" or "machine". Starts the holder; waits until the root is in place.
host_create() {
    local name=$1 base=$2 net=$3 dir=$STATE/$1 pid namespaces=(--mount --uts --cgroup)
    shift 3
    [ "$net" = machine ] || namespaces+=(--net)
    mkdir -p "$dir"/{upper,work,root} "$(host_run "$name")" "${@/%:*/}"
    (
        cgroup_join "$name"
        exec setsid unshare "${namespaces[@]}" --propagation private "$LAB_DIR/lib/holder" "$name" "$dir" "$base" "$@"
    ) 9<&- </dev/null >"$(host_run "$name")/holder.log" 2>&1 &
    pid=$!
    disown
    process_id $pid >"$(host_run "$name")/holder" || true
    wait_for 20 host_settled "$pid" || true
    [ -e "/proc/$pid/root/run/lab-ready" ] || fail_with "host $name does not start" "$(host_run "$name")/holder.log"
}

host_settled() { [ -e "/proc/$1/root/run/lab-ready" ] || process_gone "$1"; }

# host_destroy NAME: ends everything in it and removes its files. Namespaces, mounts and interfaces go with the processes.
host_destroy() {
    host_kill_strays "$1"
    cgroup_kill "$1"
    cgroup_remove "$1"
    remove_tree "$STATE/$1"
    rm -rf "$(host_run "$1")"
}

# host_kill_strays NAME: what was brought into the host's namespaces by other means than `lab exec`.
host_kill_strays() {
    local pid namespace link
    pid=$(host_pid "$1") || return 0
    namespace=$(readlink "/proc/$pid/ns/mnt")
    host_detach_loops "$pid"
    for link in /proc/[0-9]*/ns/mnt; do
        [ "$(readlink "$link" 2>/dev/null)" = "$namespace" ] || continue
        link=${link#/proc/}
        kill -KILL "${link%%/*}" 2>/dev/null || true
    done
}

# host_detach_loops PID: loop devices over files of the host: on a file system of its own, or below its directories.
host_detach_loops() {
    local own state device number inode
    state=$(stat -c %Hd:%Ld "$STATE")
    own=$(comm -23 <(mount_devices "$1") <(mount_devices self))
    losetup --list --noheadings --raw --output NAME,BACK-MAJ:MIN,BACK-INO | while read -r device number inode; do
        grep -qx "$number" <<<"$own" ||
            { [ "$number" = "$state" ] && [ -n "$(find "$STATE" -xdev -inum "${inode:-0}" -print -quit)" ]; } || continue
        losetup --detach "$device" || true
    done
}

mount_devices() { awk '{print $3}' "/proc/$1/mountinfo" | sort -u; }

remove_tree() {
    rm -rf --one-file-system "$1" 2>/dev/null || {
        chattr -R -i -a "$1" 2>/dev/null || true # files that a test has made immutable
        rm -rf --one-file-system "$1"
    }
}

# host_exec HOST CMD…: does not return; the command takes the caller's place, with its exit code and streams.
host_exec() {
    local pid
    pid=$(host_pid "$1") || die "host $1 is not up"
    cgroup_join "$1"
    shift
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root USER=root LANG=C.UTF-8 \
        ${TERM:+TERM="$TERM"} nsenter --target "$pid" --mount --uts --net --cgroup -- "$@"
}

# host_do HOST CMD…: the same for the lab's own use.
host_do() { (host_exec "$@") 9<&-; }

# names_write HOST: its /etc/hosts. In place, since running plugins have the file itself mounted; before the engine
# starts, since that reads it only every few seconds.
names_write() {
    local name
    {
        echo "127.0.0.1 localhost"
        echo "$(network_address hub) registry"
        for name in $(hosts); do echo "$(network_address "$name") $name"; done
    } >"$(host_root "$1")/etc/hosts"
}

# ssh_keys: one identity of root and one host key for the whole lab, made in the hub.
ssh_keys() {
    local key
    mkdir -p "$RUN/ssh"
    for key in id_ed25519 ssh_host_ed25519_key; do
        host_do hub ssh-keygen -q -t ed25519 -N '' -C root@lab -f "/tmp/$key" </dev/null
        cp -p "$(host_root hub)/tmp/$key"{,.pub} "$RUN/ssh/"
    done
}

ssh_known_hosts() {
    local name
    for name in {a..z}; do
        echo "$name,$(network_address "$name") $(cut -d' ' -f1,2 "$RUN/ssh/ssh_host_ed25519_key.pub")"
    done
}

ssh_start() {
    local root home
    root=$(host_root "$1") home=$(host_root "$1")/root/.ssh
    mkdir -p "$home"
    chmod 700 "$home"
    cp -p "$RUN"/ssh/id_ed25519{,.pub} "$home/"
    cp -p "$RUN/ssh/id_ed25519.pub" "$home/authorized_keys"
    ssh_known_hosts >"$home/known_hosts"
    cp -p "$RUN"/ssh/ssh_host_ed25519_key{,.pub} "$root/etc/ssh/"
    host_do "$1" /usr/sbin/sshd -o UseDNS=no </dev/null
}
