#!/usr/bin/env bash
# Train the networks in checkpoints/ again, on one GPU. All start from the shipped poppy-field
# (init=base). Its own training is described in checkpoints/README.md.
#
# usage: scripts/train_shipped.sh PHOTOS OUT
set -euo pipefail
photos=$1 out=$2

train() {
    style=$1
    shift
    uv run fast-style train experiment=gpu style="$style" data.dir="$photos" \
        output_dir="$out/$style" "$@"
}

train starry-night style.size=400 trainer.max_steps=2430
train composition-vii style.size=560 trainer.max_steps=1070
train stained-glass style.size=640 loss.style_weight=12 "loss.style_scales=[1]" \
    trainer.max_steps=1180

# The style layers above would bury the photo under these paintings. Use the first layer of each
# block, at one scale.
first=("loss.style_layers=[relu1_1,relu2_1,relu3_1,relu4_1]" "loss.style_scales=[1]")
train indigo-woodcut "${first[@]}" style.size=640 loss.style_weight=18 trainer.max_steps=1190
train peacock-mosaic "${first[@]}" style.size=768 loss.style_weight=18 trainer.max_steps=1200
train wave "${first[@]}" style.size=320 loss.tv_weight=3 trainer.max_steps=1170
train the-scream "${first[@]}" style.size=512 loss.style_weight=6 loss.tv_weight=1 \
    loss.stability_weight=1 callbacks.schedule.warmup=0.2 trainer.max_steps=1190
