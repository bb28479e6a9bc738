#!/bin/bash
# Several machines under Slurm: one task per node, which starts that node's processes.
#   sbatch --nodes 2 scripts/accelerate/slurm.sh --recipe proscale-swin-t-coco --output_dir runs/swin-t
# A job that ran out of time goes on with the same line and --resume_from_checkpoint latest. Streams resume with the same
# number of nodes, GPUs and workers only; other data sets with any.
#SBATCH --job-name=hfseg
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=48:00:00
#SBATCH --signal=TERM@120

set -euo pipefail
config=${ACCELERATE_CONFIG:-scripts/accelerate/ddp.yaml}
gpus=${SLURM_GPUS_ON_NODE:-8}
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))

# SLURM_NODEID is only known on the node itself, hence the inner shell.
srun --kill-on-bad-exit=1 bash -c "
  exec accelerate launch --config_file '$config' \
    --num_machines $SLURM_NNODES --num_processes $((SLURM_NNODES * gpus)) --machine_rank \$SLURM_NODEID \
    --main_process_ip $head_node --main_process_port $port \
    scripts/train.py $(printf '%q ' "$@")"
