# Places, messages and process identity.
# shellcheck shell=bash disable=SC2034

CACHE=/var/cache/ferry-lab # what is slow to make; outlives `lab down`
STATE=/var/lib/ferry-lab   # directories of the hosts: file system, engine data
RUN=/run/ferry-lab         # process ids, log files, what is up
SUITE=${LAB_SUITE:-trixie}
TOOL_SUITE=trixie # of the registry and of the engine that builds
SOURCE=$(readlink -f "${LAB_SOURCE:-$LAB_DIR/../..}")

say() { printf 'lab: %s\n' "$*"; }
warn() { printf 'lab: %s\n' "$*" >&2; }
die() {
    warn "$*"
    exit 1
}

# process_id PID: "PID STARTTIME", which no later process with the same number has. Fails if there is no such process.
process_id() {
    local stat='' fields
    [ -r "/proc/$1/stat" ] || return 1
    { read -r -d '' stat <"/proc/$1/stat"; } 2>/dev/null || [ -n "$stat" ] || return 1
    read -ra fields <<<"${stat##*) }"
    [ "${fields[0]}" != Z ] || return 1
    echo "$1 ${fields[19]}"
}

# recorded_pid FILE: the pid of the process whose process_id is in FILE. Fails if it is gone.
recorded_pid() {
    local id
    [ -r "$1" ] && read -r id <"$1" || return 1
    [ -n "$id" ] && [ "$(process_id "${id% *}" || true)" = "$id" ] || return 1
    echo "${id% *}"
}

# wait_for SECONDS COMMAND…: until COMMAND succeeds. Fails after SECONDS.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# run_logged LOG MESSAGE COMMAND…: with its output in LOG; if it fails, prints MESSAGE and the end of LOG and exits.
run_logged() {
    local log=$1 message=$2
    shift 2
    ("$@") >"$log" 2>&1 9<&- &
    wait $! || fail_with "$message" "$log"
}

fail_with() {
    warn "$1; the end of $2:"
    tail -n 40 "$2" >&2
    exit 1
}

# in_background FUNCTION ARGUMENT…: calls it for each argument, all at once. background_wait exits if one has failed.
declare -A BACKGROUND=()
in_background() {
    local function=$1 argument
    shift
    for argument in "$@"; do
        ("$function" "$argument") 9<&- &
        BACKGROUND[$!]="$function $argument"
    done
}

background_wait() {
    local pid failed=
    for pid in "${!BACKGROUND[@]}"; do
        wait "$pid" || failed+=" (${BACKGROUND[$pid]})"
        unset "BACKGROUND[$pid]"
    done
    [ -z "$failed" ] || die "failed:$failed"
}

process_gone() { ! process_id "$1" >/dev/null; }
