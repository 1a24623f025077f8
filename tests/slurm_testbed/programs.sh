# Which programs run, for start.sh: this machine's own packages, or a root folder with the Slurm of
# another Debian. Its packages are only extracted: nothing is installed, and no script of theirs runs.
# Each program gets the folder's own loader and libraries, so daemons and jobs see this machine's
# files as ever: there is no chroot. Sourced, bash.
# shellcheck shell=bash disable=SC2034,SC2086,SC2153
PROGRAMS=(munge=/usr/sbin/munged mariadb-server-core=/usr/sbin/mariadbd
    mariadb-client-core=/usr/bin/my_print_defaults) # (mariadb-install-db calls the last one)
OWN_SLURM=(slurmctld=/usr/sbin/slurmctld slurmd=/usr/sbin/slurmd slurm-client=/usr/bin/sbatch
    slurmdbd=/usr/sbin/slurmdbd)
ROOT_TOOLS=(mmdebstrap=/usr/bin/mmdebstrap patchelf=/usr/bin/patchelf)
COMMANDS="sacct sacctmgr salloc sattach sbatch sbcast scancel scontrol sdiag sinfo sprio squeue
    sreport srun sshare sstat"

install_packages() {
    local missing=() pair policy=/usr/sbin/policy-rc.d failed=0
    for pair in "${PROGRAMS[@]}"; do
        case ${pair%%=*} in slurmdbd | mariadb-*) [ "$ACCOUNTING" = 1 ] || continue ;; esac
        [ -x "${pair#*=}" ] || missing+=("${pair%%=*}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "missing, and only root on Debian or Ubuntu can install it here: ${missing[*]}"
        exit 77 # no cluster can be had here (any other code: it should have started)
    fi
    say "installing: ${missing[*]}"
    mkdir -p "$RUN"
    # A host made from a container image forbids services; another one must not start the packages'.
    if [ -e $policy ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy; fi
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        "${missing[@]}"; } >"$RUN/apt.log" 2>&1 || failed=1
    [ -z "$policy" ] || rm -f "$policy"
    [ $failed = 0 ] || { tail -n 20 "$RUN/apt.log" >&2; die "apt-get failed: $RUN/apt.log"; }
}

# Sets ROOT and VERSION: whose programs run. They are there, or are fetched now.
choose_version() {
    local wanted=$VERSION
    case $wanted in
        "" | 22.05) PROGRAMS+=("${OWN_SLURM[@]}") ;;
        24.11) ROOT=$ROOTS/slurm-$wanted ;;
        *) die "SLURM_TESTBED=$wanted: 22.05 or 24.11 was expected" ;;
    esac
    if [ -n "$ROOT" ] && [ ! -d "$ROOT" ]; then PROGRAMS+=("${ROOT_TOOLS[@]}"); fi
    install_packages
    if [ -n "$ROOT" ] && [ ! -d "$ROOT" ]; then fetch_root "$wanted"; fi
    use_root
    VERSION=$("$ROOT/usr/sbin/slurmctld" -V | grep -o '[0-9]*\.[0-9]*' | head -n 1)
    [ -z "$wanted" ] || [ "$wanted" = "$VERSION" ] ||
        die "SLURM_TESTBED=$wanted: the packages of this machine are of SLURM $VERSION"
}

fetch_root() {
    if [ "$(id -u)" != 0 ]; then
        say "missing, and only root can make it: $ROOT"
        exit 77
    fi
    say "making $ROOT from Debian's $(suite_of "$1")"
    mkdir -p "$RUN"
    make_root "$1" "$ROOT" >"$RUN/root.log" 2>&1 ||
        { tail -n 20 "$RUN/root.log" >&2; die "$ROOT could not be made: $RUN/root.log"; }
}

# suite_of VERSION: the Debian that has this Slurm.
suite_of() { case $1 in 24.11) echo trixie ;; *) return 1 ;; esac; }

# use_own_libraries FOLDER ROOT: what is in FOLDER is going to be at ROOT.
use_own_libraries() {
    local loader libraries name
    loader=$(cd "$1" && ls usr/lib/*/ld-linux*.so.*)
    libraries=$2/${loader%/*}
    for name in sbin/{slurmctld,slurmd,slurmstepd}-wlm sbin/slurmdbd $(printf 'bin/%s ' $COMMANDS); do
        # An rpath of the old kind: it counts for plugins and for the libraries of libraries too.
        patchelf --set-interpreter "$2/$loader" --force-rpath \
            --set-rpath "$libraries:$libraries/slurm-wlm" "$1/usr/$name" || return
    done
}

# Debian names the daemons in the packages' scripts; bin/ has Slurm's commands alone, for PATH.
name_programs() {
    local name
    mkdir "$1/bin"
    for name in $COMMANDS; do ln -s "../usr/bin/$name" "$1/bin/$name"; done
    for name in slurmctld slurmd slurmstepd; do ln -s "$name-wlm" "$1/usr/sbin/$name"; done
}

# make_root VERSION ROOT: 15 s, 90 MB; whole or absent.
make_root() (
    part=$2.part.$BASHPID
    mkdir -p "${2%/*}"
    trap 'rm -rf "$part"' EXIT
    mmdebstrap -q --format=directory --variant=extract --mode=root \
        --include=slurmctld,slurmd,slurmdbd,slurm-client "$(suite_of "$1")" "$part" &&
        rm -rf "${part:?}"/{dev,etc,tmp,var,usr/share} "$part"/usr/lib/*/slurm-wlm/mpi_pmix*.so && # (no PMIx)
        use_own_libraries "$part" "$2" && name_programs "$part" &&
        { mv -T "$part" "$2" || [ -d "$2" ]; } # (another start.sh has made it by now)
)
