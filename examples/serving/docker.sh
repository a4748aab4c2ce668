#!/usr/bin/env bash
# Starts the stock TF Serving with the model that `keras-seg export MODEL served/cells` wrote.
#   ./docker.sh served/cells
set -euo pipefail
folder=$(cd "${1:?folder of the model, as in served/cells}" && pwd)
name=$(basename "$folder")
exec docker run --rm --name "serving-$name" \
  -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \
  -v "$folder:/models/$name:ro" \
  tensorflow/serving:2.19.1 \
  --model_config_file="/models/$name/models.config" --model_config_file_poll_wait_seconds=60 \
  --enable_batching --batching_parameters_file="/models/$name/batching.config"
