#!/bin/bash

# Parameters
#SBATCH --account=hsd
#SBATCH --array=0-0%1
#SBATCH --cpus-per-task=2
#SBATCH --error=/shared/runs/pair/submissions/001/baseline/%A_%a_0_log.err
#SBATCH --gpus-per-node=a100:1
#SBATCH --job-name=hsd-pair-baseline
#SBATCH --mem=4096M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/shared/runs/pair/submissions/001/baseline/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@180
#SBATCH --time=30

# setup
umask 077
ulimit -c 0
trap : TERM USR2
echo "=== hsd: attempt $((${SLURM_RESTART_COUNT:-0} + 1)) on $(hostname) at $(date -u +%FT%TZ) ==="; echo "=== hsd: attempt $((${SLURM_RESTART_COUNT:-0} + 1)) on $(hostname) at $(date -u +%FT%TZ) ===" >&2
export HSD_RUN=/shared/runs/pair
export HSD_JOB=1
export PYTHONNOUSERSITE=1
export PYTHONSAFEPATH=1
export PYTHONPATH=/shared/runs/pair/code/0123456789ab
export HF_HUB_OFFLINE=1
export HSD_SCRATCH="/tmp/hsd-$SLURM_JOB_ID"
mkdir -p "/tmp"
{ mkdir -m 700 "$HSD_SCRATCH" 2>/dev/null || { [ ! -L "$HSD_SCRATCH" ] && [ -d "$HSD_SCRATCH" ] && [ -O "$HSD_SCRATCH" ] && chmod 700 "$HSD_SCRATCH"; }; } && mkdir -p "$HSD_SCRATCH/datasets" "$HSD_SCRATCH/triton" "$HSD_SCRATCH/inductor" "$HSD_SCRATCH/tmp" || { echo "Error: $HSD_SCRATCH: cannot be made on $(hostname), or is somebody else's; set node_local in the profile to a folder that every node has, best one of yours." >&2; exit 3; }
trap 'rm -rf -- "$HSD_SCRATCH"' EXIT
export HF_DATASETS_CACHE="$HSD_SCRATCH/datasets"
export TRITON_CACHE_DIR="$HSD_SCRATCH/triton"
export TORCHINDUCTOR_CACHE_DIR="$HSD_SCRATCH/inductor"
export TMPDIR="$HSD_SCRATCH/tmp"
export ACCELERATE_USE_CPU=true
export OMP_NUM_THREADS=1
export HSD_GPUS=1
foreign="$(find /shared/runs/pair /shared/runs/pair/. -maxdepth 0 \( ! -user "$UID" -o ! -type l -perm /022 \))" && [ -z "$foreign" ] || { echo 'Error: /shared/runs/pair: is not yours, or others can write to it, and so put code of theirs into its jobs; where it is yours and nobody else has: chmod go-w /shared/runs/pair (on a disk without modes, such as a Windows one, take another folder)' >&2; exit 3; }

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /shared/runs/pair/submissions/001/baseline/%A_%a_%t_log.out --error /shared/runs/pair/submissions/001/baseline/%A_%a_%t_log.err --cpus-per-task=2 --kill-on-bad-exit=1 /opt/hsd/bin/python -u -m submitit.core._submit /shared/runs/pair/submissions/001/baseline
