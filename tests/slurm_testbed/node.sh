#!/bin/bash
# node.sh down|crash|up|readonly|writable NAME: let a node die or lose its local disk, or bring it back.
#
# crash kills its slurmd and every process of its jobs at once, as a power cut does, and tells no one:
# slurmctld notices HSD_SLURM_NODE_TIMEOUT + 15 to 25 seconds later. down is a crash that slurmctld
# is told of, so jobs there end in NODE_FAIL (and are requeued where they may) within a second.
# readonly is a local disk with errors, as Linux then mounts it: SLURM notices nothing.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
recall
usage="usage: node.sh down|crash|up|readonly|writable NAME, where NAME is ${PREFIX}1 to $PREFIX$NODES"
[ $# = 2 ] || die "$usage"
[ -d "$RUN/spool/$2" ] || die "no node $2 in $RUN; $usage"
daemon=slurmd.$2

# The processes of a node share its name space; without name spaces they know its name. (Its slurmd
# comes first: what is killed last must not start anything new.)
processes() {
    local folder
    for folder in /proc/[0-9]*; do
        if [ "$NAMESPACES" = 1 ]; then
            [ "$(readlink "$folder/ns/uts" 2>/dev/null)" = "$space" ] || continue
        else
            tr '\0' '\n' 2>/dev/null <"$folder/environ" | grep -qx "SLURMD_NODENAME=$1" || continue
        fi
        [ -z "$(ticks "${folder##*/}")" ] || echo "${folder##*/}"
    done
}

crash() {
    local slurmd _ left
    alive "$daemon" || die "$1 is down already"
    read -r slurmd _ <"$RUN/pids/$daemon"
    space=$(readlink "/proc/$slurmd/ns/uts")
    left=$slurmd
    for _ in $(seq 100); do # (a step that was just being started shows only now)
        # shellcheck disable=SC2086
        kill -KILL $left 2>/dev/null || true
        left=$(processes "$1")
        if [ -z "$left" ] && ! alive "$daemon"; then break; fi
        sleep 0.05
    done
    rm -f "$RUN/pids/$daemon"
}

down() {
    crash "$1"
    scontrol update "nodename=$1" state=down reason=node.sh
}

answers() { [ -z "$(sinfo -h -N -p gpu -n "$1" -t down,unk,no_respond -o %N)" ]; }

up() {
    alive "$daemon" || start_node "$1"
    wait_for 60 "$daemon" answers "$1"
}

remount() {
    local slurmd _
    [ "$NAMESPACES" = 1 ] || die "without name spaces $2 has no disk of its own"
    alive "$daemon" || die "$2 is down"
    read -r slurmd _ <"$RUN/pids/$daemon"
    nsenter --target "$slurmd" --mount mount -o "remount,$1" "$RUN/local"
}

alone
export SLURM_CONF=$RUN/etc/slurm.conf
case $1 in
    down | crash | up) "$1" "$2" ;;
    readonly) remount ro "$2" ;;
    writable) remount rw "$2" ;;
    *) die "$usage" ;;
esac
