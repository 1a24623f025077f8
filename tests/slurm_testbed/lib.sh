# What start.sh, stop.sh and node.sh share: settings, messages, processes. Sourced, bash.
# Everything the cluster writes is below $RUN; nothing below /etc, /run or /var is touched.
# shellcheck shell=bash disable=SC2034
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
RUN=${HSD_SLURM_RUN:-/tmp/hsd-slurm} # short: the path of a unix socket has at most 108 bytes
VERSION=${SLURM_TESTBED:-} # 22.05 or 24.11; empty: of this machine's own packages
ROOTS=${HSD_PROVE_CACHE:-/var/cache/hsd-prove} # where the root folder of another version is kept
ROOT="" # that folder; empty: this machine's own packages

CLUSTER=${HSD_SLURM_CLUSTER:-hsdtest}
PREFIX=${HSD_SLURM_NODE_PREFIX:-hsd-gpu} # nodes: hsd-gpu1, hsd-gpu2, ...
NODES=${HSD_SLURM_NODES:-4}
CPUS=${HSD_SLURM_CPUS:-16} # that each node claims, whatever this machine has
MEMORY_MB=${HSD_SLURM_MEMORY_MB:-64000}
GPUS=${HSD_SLURM_GPUS:-4} # fake A100s per node, at least 1
PORT=${HSD_SLURM_PORT:-26817} # +0 slurmctld, +1 slurmdbd, +2 MariaDB, +11.. slurmd
ACCOUNTING=${HSD_SLURM_ACCOUNTING:-1} # 0: without MariaDB and slurmdbd, no sacct
CRED_EXPIRE=${HSD_SLURM_CRED_EXPIRE:-10} # s that a requeued job waits before it starts
KILL_WAIT=${HSD_SLURM_KILL_WAIT:-5} # s between SIGTERM and SIGKILL
GRACE=${HSD_SLURM_GRACE:-10} # s that a preempted job gets
NODE_TIMEOUT=${HSD_SLURM_NODE_TIMEOUT:-20} # s of silence after which a node is down
USERS=${HSD_SLURM_USERS:-$(id -un) ${SUDO_USER:-}} # who may submit
# Which processes a step's signals reach, and what is killed at its end:
#   cgroup     as on a real cluster: the signal reaches the task alone, SIGKILL every process.
#              Needs the freezer of cgroup v1, writable (many containers and VMs have it).
#   linuxproc  every process of the task's tree.
#   auto       cgroup where it can be had, else linuxproc.
PROCTRACK=${HSD_SLURM_PROCTRACK:-auto}

say() { printf 'hsd-slurm: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Of a cluster that was started, its own settings count, not today's environment.
# shellcheck disable=SC1091
recall() {
    if [ -r "$RUN/etc/settings.sh" ]; then . "$RUN/etc/settings.sh"; fi
    use_root
}

# The commands of the cluster's own version come first; its daemons are in $ROOT/usr/sbin.
use_root() { if [ -n "$ROOT" ]; then PATH=$ROOT/bin:$PATH; fi; }

# One of start.sh, stop.sh and node.sh at a time. The lock is this folder, so it needs no file.
alone() {
    if [ "${HSD_SLURM_ALONE:-0}" = 1 ]; then return; fi
    exec 9<"$HERE"
    flock -w 360 9 || die "another start.sh, stop.sh or node.sh does not end"
}

# The start time of a process in clock ticks: with the pid it names a process for good. Nothing for
# one that has ended, reaped or not (a zombie waits for init, which may take seconds).
ticks() {
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    case $1 in Z | X) ;; *) echo "${20}" ;; esac
}

# alive NAME: the daemon that `spawn NAME` started still runs.
alive() {
    local pid started
    [ -s "$RUN/pids/$1" ] || return 1
    read -r pid started <"$RUN/pids/$1"
    [ -n "$started" ] && [ "$(ticks "$pid")" = "$started" ]
}

# spawn NAME COMMAND...: start a daemon in its foreground mode and a session of its own.
spawn() {
    local name=$1 pid
    shift
    setsid "$@" >>"$RUN/log/$name.out" 2>&1 </dev/null 9<&- & # (setsid execs in place)
    pid=$!
    echo "$pid $(ticks $pid)" >"$RUN/pids/$name"
}

# wait_for SECONDS NAME COMMAND...: until COMMAND succeeds; fails at once when NAME has ended.
wait_for() {
    local end=$((SECONDS + $1)) name=$2 why=
    shift 2
    until "$@" >/dev/null 2>&1; do
        alive "$name" || why="$name ended while it started"
        [ $SECONDS -lt $end ] || why="$name: gave up waiting for: $*"
        if [ -n "$why" ]; then
            tail -n 20 "$RUN/log/$name.out" "$RUN/log/$name.log" >&2 2>/dev/null
            die "$why"
        fi
        sleep 0.1
    done
}

# end NAME SECONDS: end a daemon by its pid; kill it when it takes longer.
end() {
    local pid _
    alive "$1" || { rm -f "$RUN/pids/$1"; return; }
    read -r pid _ <"$RUN/pids/$1"
    kill -TERM "$pid" 2>/dev/null
    for _ in $(seq $(($2 * 20))); do
        alive "$1" || break
        sleep 0.05
    done
    if alive "$1"; then
        say "$1 (pid $pid) does not end: killed"
        kill -KILL "$pid"
    fi
    rm -f "$RUN/pids/$1"
}

# The part of a cgroup v1 hierarchy that is this cluster's.
cgroup_of() { echo "/sys/fs/cgroup/$1/hsd-slurm-$CLUSTER"; }
cgroup_usable() { # CONTROLLER FILE
    [ "$(id -u)" = 0 ] && mkdir -p "$(cgroup_of "$1")" 2>/dev/null && [ -w "$(cgroup_of "$1")/$2" ]
}

# start_node NAME: its slurmd. With NAMESPACES it has a host name and an /etc/hosts of its own (so
# hostname, `scontrol show hostnames` and torch's rendezvous behave as on several hosts), a
# node-local disk at $RUN/local, and its slurm.conf at /etc/slurm (submitit's clean_env() drops
# SLURM_CONF). They end with the daemon: there is nothing to clean up.
start_node() {
    if [ "$NAMESPACES" = 0 ]; then
        spawn "slurmd.$1" "$ROOT/usr/sbin/slurmd" -D -N "$1" -d "$ROOT/usr/sbin/slurmstepd"
        return
    fi
    # shellcheck disable=SC2016
    spawn "slurmd.$1" unshare --uts --mount sh -c '
        hostname "$1" && mount --bind "$2/etc/hosts" /etc/hosts &&
        mount -t tmpfs -o size=64m tmpfs "$2/local" &&
        if [ -d /etc/slurm ]; then mount --bind "$2/etc" /etc/slurm; fi &&
        for c in $3; do
            mount --bind "/sys/fs/cgroup/$c/hsd-slurm-$4/$1" "$2/cg/$c" || exit
        done
        exec "$5/usr/sbin/slurmd" -D -N "$1" -d "$5/usr/sbin/slurmstepd"' \
        sh "$1" "$RUN" "$CONTROLLERS" "$CLUSTER" "$ROOT"
}
