# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CPU seconds and peak memory of `hfseg predict --subtask instance` on one large image with many instances.

    python scripts/benchmarks/predict_instances.py [--height 3000 --width 4000] [--instances 100]

The model is PRO-SCALE (3,3,3), Swin-T, with random weights; its forward pass runs in full, its masks and classes are
then replaced by ellipses of many sizes, so that results look like those of a trained model. Loading, model and decoding
are timed apart, in the same process.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hfseg.commands import predict
from hfseg.inference.predictor import Predictor
from hfseg.models.proscale.configuration_proscale import ProScaleConfig
from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor
from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation


def ellipses(count: int, height: int, width: int) -> torch.Tensor:
    """Mask logits of overlapping ellipses. Shape: (count, height, width)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    logits = []
    for _ in range(count):
        center, radii = rng.random(2) * (height, width), (0.02 + 0.13 * rng.random(2) ** 2) * height
        logits.append(8 - 8 * (((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2))
    return torch.from_numpy(np.stack(logits).astype(np.float32)).clamp(-20, 20)


def prepare(options: argparse.Namespace, folder: str) -> None:
    """Writes the model folder and the image."""
    labels = {index: f"class {index}" for index in range(10)}
    torch.manual_seed(0)
    model = ProScaleForUniversalSegmentation(ProScaleConfig(id2label=labels, num_queries=max(100, options.instances)))
    model.save_pretrained(folder + "/model")
    ProScaleImageProcessor(num_instances=options.instances).save_pretrained(folder + "/model")
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
    image = small.resize((options.width, options.height), Image.Resampling.BICUBIC)
    image.save(folder + "/photo.jpg")


def main() -> None:
    """Measures and prints one line of json."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--output_dir")
    options = parser.parse_args()
    torch.set_num_threads(1)
    clock = {"loading": 0.0, "model": 0.0, "decoding": 0.0}
    plain = ProScaleForUniversalSegmentation.forward

    def forward(self, *args, **kwargs):
        start = time.process_time()
        outputs = plain(self, *args, **kwargs)
        clock["model"] += time.process_time() - start
        masks = outputs.masks_queries_logits
        made = ellipses(options.instances, *masks.shape[-2:])
        outputs.masks_queries_logits = masks[:, :1].expand(-1, masks.shape[1], -1, -1).clone().fill_(-9)
        outputs.masks_queries_logits[0, : options.instances] = made
        classes = torch.full_like(outputs.class_queries_logits, -4.0)
        for index in range(options.instances):
            classes[0, index, index % 8] = 5.0 + 0.01 * index
        classes[0, options.instances :, -1] = 9.0
        outputs.class_queries_logits = classes
        return outputs

    ProScaleForUniversalSegmentation.forward = forward
    load = Predictor.__init__

    def timed(self, *args, **kwargs):
        start = time.process_time()
        load(self, *args, **kwargs)
        clock["loading"] += time.process_time() - start

    Predictor.__init__ = timed
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, whose memory does not count.
        child = multiprocessing.get_context("fork").Process(target=prepare, args=(options, folder))
        child.start()
        child.join()
        start = time.process_time()
        Image.open(folder + "/photo.jpg").convert("RGB").load()
        clock["decoding"] = time.process_time() - start
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        out = options.output_dir or folder + "/out"
        start, waited = time.process_time(), time.perf_counter()
        code = predict.main([folder + "/photo.jpg", "--model", folder + "/model", "--subtask", "instance",
                             "-o", out, "--quiet", "--threshold", "0.3"])  # fmt: skip
        total = time.process_time() - start
        print(json.dumps({
            "rc": code, "cpu_s": round(total, 2), "model_cpu_s": round(clock["model"], 2),
            "decoding_cpu_s": round(clock["decoding"], 2), "loading_cpu_s": round(clock["loading"], 2),
            "wall_s": round(time.perf_counter() - waited, 2),
            "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
            "gib_before": round(before, 2),
            "files": {p.name: p.stat().st_size for p in sorted(Path(out).iterdir())},
        }))  # fmt: skip


if __name__ == "__main__":
    main()
