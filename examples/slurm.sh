#!/usr/bin/env bash
# One run on all GPUs of several nodes, by Slurm. Submit it again, as it is, to go on where it stopped:
#     sbatch examples/slurm.sh cifar10 runs/cifar10 --seed 1
#SBATCH --job-name=snnbook
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
# ^ two minutes before its time is up the run is asked to stop: it finishes its step, saves, and says how to go on.
set -euo pipefail
experiment=$1 folder=$2
shift 2

# The folder lies where every node sees it, or only the first does: the first process alone reads and writes it.
if [ -f "$folder/settings.json" ]; then
    what=(--resume "$folder")
else
    what=("$experiment" --out "$folder" "$@")
fi
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
srun torchrun --nnodes="$SLURM_NNODES" --nproc-per-node=gpu \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$first:29500" \
    -m snnbook train "${what[@]}"
