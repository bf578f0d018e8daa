#!/bin/bash
# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
#
# `wallwm prepare` on a Slurm cluster: an array of jobs makes the shards, one job after them merges and carves.
#
#   DATASET=/shared/cups OUT=/shared/cups_events bash examples/scale_out/slurm.sh --level=action --heldout=0.1
#
# Everything behind the script's name goes to every `wallwm prepare`: annotating and merging must see the same flags.
# NODES x TASKS_PER_NODE shards, WORKERS processes a node. All nodes must see DATASET, OUT and SHARDS.
# A job that was killed is put back by Slurm (--requeue) or by running this script again; finished shards stay.
set -euo pipefail

: "${DATASET:?folder of the dataset}" "${OUT:?folder to write}"
NODES=${NODES:-8}
TASKS_PER_NODE=${TASKS_PER_NODE:-32}
WORKERS=${WORKERS:-16}
SHARDS=${SHARDS:-$OUT.shards}
LOGS=${LOGS:-$SHARDS/slurm}
SBATCH=${SBATCH:-sbatch} # e.g. "sbatch --partition=cpu --account=me"

flags=(--dataset.root="$DATASET" --out.root="$OUT" --quiet=true
  --scale.root="$SHARDS" --scale.tasks=$((NODES * TASKS_PER_NODE)) --scale.workers="$WORKERS" "$@")
quoted=$(printf '%q ' "${flags[@]}")
mkdir -p "$LOGS"

annotate="wallwm prepare $quoted --scale.step=annotate \
--scale.first=\$((SLURM_ARRAY_TASK_ID * $TASKS_PER_NODE)) --scale.count=$TASKS_PER_NODE"
array=$($SBATCH --parsable --requeue --job-name=wallwm-annotate --array=0-$((NODES - 1)) --cpus-per-task="$WORKERS" \
  --output="$LOGS/annotate-%a.log" --wrap="$annotate")
$SBATCH --requeue --job-name=wallwm-merge --dependency="afterok:${array%%;*}" --cpus-per-task=2 \
  --output="$LOGS/merge.log" --wrap="wallwm prepare $quoted --scale.step=merge"
