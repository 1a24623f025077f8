#!/bin/bash
# start.sh: a real Slurm on this one host, loopback only, from Debian packages.
#
#   munged -> mariadbd -> slurmdbd -> slurmctld -> one slurmd per node
#
# No systemd, no Docker, no GPU. As root it installs what is missing. Settings: the top of lib.sh.
# SLURM_TESTBED=24.11 starts the Slurm of Debian 13, 22.05 that of Debian 12.
# Afterwards: . /tmp/hsd-slurm/env.sh; sinfo
# Where a cluster runs already, only nodes that are down are started.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$HERE/programs.sh"
began=${EPOCHREALTIME/[.,]/}
lap() {
    local ms=$(((${EPOCHREALTIME/[.,]/} - began) / 1000))
    printf 'hsd-slurm: %3d.%02d s  %s\n' $((ms / 1000)) $((ms % 1000 / 10)) "$*" >&2
}

node_names() { seq -f "$PREFIX%g" "$NODES"; }

all_idle() { [ "$(sinfo -h -N -p gpu -t idle -o %N | wc -l)" = "$NODES" ]; }
all_there() { [ -z "$(sinfo -h -N -p gpu -t down,unk,no_respond -o %N)" ]; }

runs() {
    alive munged && alive slurmctld &&
        { [ ! -e "$RUN/pids/slurmdbd" ] || { alive slurmdbd && alive mariadbd; }; }
}

# A cluster that runs: its dead nodes come back.
complete() {
    local name dead=0 wanted=${SLURM_TESTBED:-}
    recall
    [ -z "$wanted" ] || [ "$wanted" = "$VERSION" ] ||
        die "SLURM $VERSION runs in $RUN, not $wanted: stop it, or set HSD_SLURM_RUN, _PORT and _CLUSTER"
    for name in $(node_names); do
        if ! alive "slurmd.$name"; then start_node "$name"; dead=1; fi
    done
    if [ $dead = 1 ]; then wait_for 60 "slurmd.${PREFIX}1" all_there; fi
    say "already running in $RUN"
}

# A port that another process holds would be found out late: slurmdbd is then told "Access denied for
# user 'slurm'" by the MariaDB of a cluster that was killed.
ports_are_free() {
    local pair port holder
    for pair in slurmctld=$PORT slurmdbd=$((PORT + 1)) MariaDB=$((PORT + 2)) \
        $(seq -f "slurmd=%.0f" $((PORT + 11)) $((PORT + 10 + NODES))); do
        port=${pair#*=}
        listens "$port" 2>/dev/null || continue
        holder=$(ss -Hltnp "sport = :$port" 2>/dev/null | grep -o '"[^"]*",pid=[0-9]*' | head -n 1)
        die "port $port, wanted for ${pair%=*}, is taken by ${holder:-another process}:" \
            "end that process, or set HSD_SLURM_PORT"
    done
}

make_folders() {
    local name number
    if [ -d "$RUN" ] && [ ! -e "$RUN/.hsd-slurm" ] &&
        [ -n "$(find "$RUN" -mindepth 1 ! -name apt.log ! -name root.log -print -quit)" ]; then
        die "$RUN exists and was not made by start.sh"
    fi
    mkdir -p "$RUN"
    : >"$RUN/.hsd-slurm"
    for name in ctld spool log munge db etc pids dev local cg; do rm -rf "${RUN:?}/$name"; done
    mkdir -p "$RUN"/{ctld,spool,log,munge,db,etc,pids,dev,local,cg}
    for name in $(node_names); do mkdir -p "$RUN/spool/$name"; done
    for number in $(seq 0 $((GPUS - 1))); do
        # slurmd wants a device (for a regular file it sets no CUDA_VISIBLE_DEVICES). 240 is a major
        # number for experiments, which no driver has. Who may not make one links to /dev/null.
        mknod "$RUN/dev/nvidia$number" c 240 "$number" 2>/dev/null ||
            ln -s /dev/null "$RUN/dev/nvidia$number"
    done
}

choose_isolation() {
    NAMESPACES=0 CONTROLLERS="" task_plugin=task/none constrain=no
    if [ "$(id -u)" = 0 ] && unshare --uts --mount true 2>/dev/null; then
        NAMESPACES=1
    else
        say "no name spaces (not root?): all nodes have this machine's host name, which keeps" \
            "jobs of several nodes from finding their first one"
    fi
    local cgroup=0
    if [ $NAMESPACES = 1 ] && cgroup_usable freezer freezer.state; then cgroup=1; fi
    case $PROCTRACK$cgroup in
        auto1) PROCTRACK=cgroup ;;
        auto0) PROCTRACK=linuxproc ;;
        cgroup0) die "HSD_SLURM_PROCTRACK=cgroup: no writable freezer of cgroup v1 here" ;;
        cgroup1 | linuxproc?) ;;
        *) die "HSD_SLURM_PROCTRACK=$PROCTRACK: auto, cgroup or linuxproc was expected" ;;
    esac
    [ "$PROCTRACK" = cgroup ] || return 0
    CONTROLLERS=freezer
    # Jobs are kept from the GPUs they were not given, so CUDA_VISIBLE_DEVICES counts from 0 in each
    # job, as on most real clusters. (With linuxproc it holds the GPU's own numbers.)
    if cgroup_usable devices devices.deny; then
        CONTROLLERS="freezer devices" task_plugin=task/cgroup constrain=yes
    fi
    local controller name
    for controller in $CONTROLLERS; do
        mkdir -p "$RUN/cg/$controller"
        for name in $(node_names); do mkdir -p "$(cgroup_of "$controller")/$name"; done
    done
}

node_lines() {
    local number
    for number in $(seq "$NODES"); do
        # All on one address, each with its port. Not 127.0.10.N: an srun in a job listens on its
        # node's address, but slurmstepd answers to where the request came from, which on loopback
        # always is 127.0.0.1, and the step would hang.
        echo "NodeName=$PREFIX$number NodeHostname=$PREFIX$number NodeAddr=127.0.0.1 Port=$((PORT + 10 + number))"
    done
}

accounting_lines() {
    if [ "$ACCOUNTING" = 1 ]; then
        echo AccountingStorageType=accounting_storage/slurmdbd
        echo AccountingStorageTRES=gres/gpu,gres/gpu:a100 # without it sacct knows no GPU-hours
        echo AccountingStorageEnforce=limits # so is an unknown account; tests set MaxSubmitJobs
    else
        echo AccountingStorageType=accounting_storage/none
    fi
}

plugin_line() { if [ -n "$ROOT" ]; then echo PluginDir="$(echo "$ROOT"/usr/lib/*/slurm-wlm)"; fi; }

# fill NAME: $HERE/NAME.in with its @WORDS@ replaced, into $RUN/etc/NAME.
fill() {
    local text word
    text=$(<"$HERE/$1.in")
    for word in "${!values[@]}"; do text=${text//@$word@/"${values[$word]}"}; done
    printf '%s\n' "$text" >"$RUN/etc/$1"
}

write_config() {
    declare -gA values=(
        [RUN]=$RUN [USER]=$(id -un) [CLUSTER]=$CLUSTER [HOST]=$(hostname) [PREFIX]=$PREFIX
        [PORT]=$PORT [DBD_PORT]=$((PORT + 1)) [SQL_PORT]=$((PORT + 2))
        [SQL_PASSWORD]=$(head -c 18 /dev/urandom | base64 | tr -dc A-Za-z0-9)
        [CRED_EXPIRE]=$CRED_EXPIRE [KILL_WAIT]=$KILL_WAIT [GRACE]=$GRACE [NODE_TIMEOUT]=$NODE_TIMEOUT
        [PROCTRACK]=$PROCTRACK [TASK_PLUGIN]=$task_plugin [CONSTRAIN]=$constrain
        [CPUS]=$CPUS [MEMORY_MB]=$MEMORY_MB [GPUS]=$GPUS [LAST_GPU]=$((GPUS - 1)) [NODES]=$NODES
        # (67043328 is the last possible one.) Ranks meet at a port that is made of the job's id, and
        # clusters that run at once on one machine share its ports.
        [FIRST_JOB]=$((($(date +%s) + 61 * PORT) % 60000000 + 1))
        [PLUGIN_LINE]=$(plugin_line) [NODE_LINES]=$(node_lines) [ACCOUNTING_LINES]=$(accounting_lines)
    )
    fill slurm.conf
    fill gres.conf
    fill cgroup.conf
    (umask 077 && fill slurmdbd.conf && fill database.sql)
    : >"$RUN/etc/plugstack.conf"
    { echo "127.0.0.1 localhost $(hostname)"; node_names | sed 's/^/127.0.0.1 /'; } >"$RUN/etc/hosts"
    {
        printf 'export SLURM_CONF=%s\nexport HSD_SLURM_RUN=%s\n' "$RUN/etc/slurm.conf" "$RUN"
        # shellcheck disable=SC2016
        [ -z "$ROOT" ] || printf 'export PATH=%s/bin:$PATH\n' "$ROOT"
    } >"$RUN/env.sh"
    printf '%s\n' "VERSION=$VERSION" "ROOT=$ROOT" "CLUSTER=$CLUSTER" "PREFIX=$PREFIX" "NODES=$NODES" "ACCOUNTING=$ACCOUNTING" \
        "NAMESPACES=$NAMESPACES" "CONTROLLERS='$CONTROLLERS'" >"$RUN/etc/settings.sh"
}

start_munge() {
    local socket=$RUN/munge/munge.socket.2 # a key and a socket of its own, not the package's
    /usr/sbin/mungekey --create --keyfile="$RUN/munge/key" >/dev/null
    chmod 600 "$RUN/munge/key"
    spawn munged /usr/sbin/munged --foreground --num-threads=2 --socket="$socket" \
        --key-file="$RUN/munge/key" --pid-file="$RUN/munge/pid" --seed-file="$RUN/munge/seed" \
        --log-file="$RUN/log/munged.log"
    wait_for 20 munged sh -c "munge -n -S '$socket' | unmunge -S '$socket'"
    lap "munged answers"
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

start_database() {
    local common=(--no-defaults --datadir="$RUN/db" --user="$(id -un)" --skip-name-resolve)
    /usr/bin/mariadb-install-db "${common[@]}" --skip-test-db --auth-root-authentication-method=normal \
        >"$RUN/log/mariadb-install.out" 2>&1 ||
        { tail "$RUN/log/mariadb-install.out" >&2; die "mariadb-install-db failed"; }
    spawn mariadbd /usr/sbin/mariadbd "${common[@]}" --bind-address=127.0.0.1 --port=$((PORT + 2)) \
        --socket="$RUN/db/sock" --pid-file="$RUN/db/pid" --tmpdir="$RUN/db" \
        --init-file="$RUN/etc/database.sql" --innodb-buffer-pool-size=64M \
        --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=0 \
        --innodb-lock-wait-timeout=900 --skip-log-bin --performance-schema=OFF --max-allowed-packet=16M
    wait_for 60 mariadbd listens $((PORT + 2))
    lap "mariadbd listens"
    spawn slurmdbd "$ROOT/usr/sbin/slurmdbd" -D
    wait_for 60 slurmdbd listens $((PORT + 1))
    wait_for 30 slurmdbd sacctmgr -n show cluster
    lap "slurmdbd answers"
}

registered() { sacctmgr -n -P show cluster format=cluster,controlport | grep -qx "$CLUSTER|$PORT"; }

make_account() {
    local user
    wait_for 30 slurmdbd registered
    sacctmgr -i -Q add account hsd Description=hsd Organization=hsd >/dev/null
    for user in $USERS; do sacctmgr -i -Q add user "$user" Account=hsd >/dev/null; done
    lap "accounting knows account hsd"
}

alone
export SLURM_CONF=$RUN/etc/slurm.conf
if runs; then complete; exit 0; fi
choose_version
umask 022
# What is left of a cluster that was cut off; and a start that fails leaves nothing behind.
HSD_SLURM_ALONE=1 "$HERE/stop.sh" --quiet
ports_are_free
trap '[ $? = 0 ] || { say "start failed, stopping"; HSD_SLURM_ALONE=1 "$HERE/stop.sh" --quiet; }' EXIT
make_folders
choose_isolation
write_config
start_munge
if [ "$ACCOUNTING" = 1 ]; then start_database; fi
spawn slurmctld "$ROOT/usr/sbin/slurmctld" -D -i
wait_for 30 slurmctld sh -c 'scontrol ping | grep -q UP'
lap "slurmctld answers ($("$ROOT/usr/sbin/slurmctld" -V))"
for name in $(node_names); do start_node "$name"; done
wait_for 60 "slurmd.${PREFIX}1" all_idle
lap "$NODES nodes idle (proctrack/$PROCTRACK, $task_plugin)"
if [ "$ACCOUNTING" = 1 ]; then make_account; fi
say "ready:  . $RUN/env.sh"
