#!/bin/bash
# stop.sh [--quiet] [--purge]: ends what start.sh started, by pid, and only that.
# --purge also removes the state folder.
set -uo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
quiet=0 purge=0
for word in "$@"; do
    case $word in
        --quiet) quiet=1 ;;
        --purge) purge=1 ;;
        *) die "usage: stop.sh [--quiet] [--purge]" ;;
    esac
done

# While the controller is up, Slurm ends the jobs itself, so that no slurmstepd stays behind.
cancel_jobs() {
    local jobs
    alive slurmctld || return
    jobs=$(timeout 10 squeue -h -a -o %A 2>/dev/null | sort -u)
    [ -n "$jobs" ] || return
    # shellcheck disable=SC2086
    timeout 20 scancel $jobs 2>/dev/null
    for _ in $(seq 100); do
        [ -n "$(timeout 10 squeue -h -a -o %A 2>/dev/null)" ] || break
        sleep 0.2
    done
}

# Step daemons and processes of jobs that are left. They are this cluster's when its SLURM_CONF is
# in their environment; a client of the cluster, such as a test run, has no SLURM_JOB_ID.
kill_leftovers() {
    local folder pid name environment
    for folder in /proc/[0-9]*; do
        pid=${folder##*/}
        [ "$pid" != $$ ] || continue
        environment=$(tr '\0' '\n' 2>/dev/null <"$folder/environ") || continue
        grep -qxF "SLURM_CONF=$RUN/etc/slurm.conf" <<<"$environment" || continue
        name=$(cat "$folder/comm" 2>/dev/null)
        if [ "$name" = slurmstepd ] || grep -q '^SLURM_JOB_ID=' <<<"$environment"; then
            kill -KILL "$pid" 2>/dev/null && say "ended a left-over $name ($pid)"
        fi
    done
}

stop_daemons() {
    local file controller
    for file in "$RUN"/pids/slurmd.*; do
        [ ! -e "$file" ] || end "${file##*/}" 10
    done
    kill_leftovers
    end slurmctld 20 # slurmctld needs slurmdbd, which needs the database
    end slurmdbd 20
    end mariadbd 30
    end munged 5
    rmdir "$RUN/pids" 2>/dev/null
    for controller in freezer devices; do
        # (the files of a cgroup cannot be removed, the folder can)
        find "$(cgroup_of $controller)" -depth -type d -exec rmdir {} \; 2>/dev/null
    done
}

alone
recall
export SLURM_CONF=$RUN/etc/slurm.conf
if [ -d "$RUN/pids" ]; then
    cancel_jobs
    stop_daemons
    [ $quiet = 1 ] || say "stopped"
else
    [ $quiet = 1 ] || say "nothing to stop in $RUN"
fi
# The mark of start.sh keeps a mistyped HSD_SLURM_RUN from being removed.
if [ $purge = 1 ] && [ -e "$RUN/.hsd-slurm" ]; then rm -rf "$RUN"; fi
exit 0
