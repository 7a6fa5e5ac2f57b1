#!/usr/bin/env bash
# Train the networks in checkpoints/ again.
#
# usage: scripts/train_shipped.sh PHOTOS PAINTINGS OUT
#
# PHOTOS is a folder of photos, PAINTINGS holds starry-night.jpg, the-scream.jpg, wave.jpg and
# composition-vii.jpg. One network is trained from nothing in three stages, and each style starts
# from it. The shipped files were trained by the clock on two busy CPU cores; the steps below are
# those that they reached. A run of this script gives networks of the same recipe, not the same
# files: the first stage was taken from within a longer run, and the three stages were trained before
# VGG's first layer repeated the picture's edge (the first two also with the content loss relative to
# each picture instead of the batch).
set -euo pipefail
photos=$1 paintings=$2 out=$3

train() {
    name=$1 into=$2
    shift 2
    uv run fast-style train experiment=shipped style="$paintings/$name.jpg" data.dir="$photos" \
        output_dir="$out/$into" "$@"
}

train starry-night base-1 style.size=384 loss.style_weight=10 loss.tv_weight=1 \
    trainer.max_steps=200
train starry-night base-2 loss.style_weight=10 loss.tv_weight=1 data.batch_size=2 \
    trainer.max_steps=317 init="$out/base-1/starry-night.safetensors"
train starry-night base-3 loss.tv_weight=1 data.batch_size=2 \
    trainer.max_steps=200 init="$out/base-2/starry-night.safetensors"

base=$out/base-3/starry-night.safetensors
train starry-night starry-night-1 trainer.max_steps=196 init="$base"
train starry-night starry-night trainer.max_steps=83 \
    init="$out/starry-night-1/starry-night.safetensors"
train wave wave trainer.max_steps=348 init="$base"
train composition-vii composition-vii trainer.max_steps=437 init="$base"
# A dark painting: started as the others and with their weight of style, it drowns in black.
train the-scream the-scream style.size=512 loss.style_weight=20 loss.tv_weight=2 \
    callbacks.schedule.warmup=0.2 trainer.max_steps=391 init="$out/wave/wave.safetensors"
