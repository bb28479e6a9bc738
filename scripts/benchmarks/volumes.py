# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Time and memory to segment a synthetic CT from file to file, beside MONAI's route with the same network.

Each side runs in a process of its own, so that its peak of resident memory is its own; sides alternate.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

CLASSES = 14
SCRIPTS = str(Path(__file__).parents[1])
WINDOWS = [[-1350.0, 150.0], [-160.0, 240.0], [-500.0, 1300.0]]
NOTES = [
    "File to file: read NIfTI, normalize, segment axial slices with the same small network, class map in the "
    "file's order as .nii.gz. Peak: resident memory of the whole process, interpreter and libraries included "
    "('libraries' is the same process before it reads anything).",
    "MONAI: LoadImaged, Orientationd, windows by ScaleIntensityRanged, Resized to the network's size, "
    "SliceInferer, Invertd of the scores (nearest_interp=False), AsDiscreted(argmax), SaveImaged.",
]


class SliceNetwork(nn.Module):
    """A network of about 0.3 GMAC per 512 x 512 slice, so that what surrounds it can be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=4, padding=1),
            nn.GELU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.GELU(),
            nn.Conv2d(32, CLASSES, 1),
        )

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Predicts logits at the input's size."""
        size = (pixel_values.shape[-2], pixel_values.shape[-1])
        return nn.functional.interpolate(self.layers(pixel_values), size=size, mode="bilinear", align_corners=False)


def network() -> SliceNetwork:
    """Builds the network, the same in every process."""
    torch.manual_seed(0)
    return SliceNetwork().eval()


def write_scan(path: Path, shape: tuple[int, int, int]) -> None:
    """Writes a CT in int16 with air, tissue and bone, in LPS order."""
    import nibabel

    x, y, z = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]  # type: ignore[misc]
    generator = np.random.default_rng(0)
    scan = np.full(shape, -1000, dtype=np.int16)
    for center, radius, value in (
        ((0, 0), 0.8, 40),
        ((-0.3, 0), 0.25, -850),
        ((0.3, 0), 0.25, -850),
        ((0, 0.5), 0.1, 700),
    ):
        inside = (x - center[0]) ** 2 + (y - center[1]) ** 2 + 0.1 * z**2 < radius**2
        scan[inside] = value
    scan += generator.integers(-20, 20, shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(scan, np.diag([-0.7, -0.7, 1.5, 1.0])), path)


def segment_ours(source: Path, target: Path, size: tuple[int, int], batch: int) -> None:
    """Segments with this package."""
    from hfseg.inference.volumes import segment_volume
    from hfseg.volumes import read_volume, write_nifti

    model = network()
    volume = read_volume(source, "CT")
    segmentation, _ = segment_volume(
        volume,
        lambda pixels: SimpleNamespace(logits=model(pixels)),
        size=size,
        windows=WINDOWS,
        batch_size=batch,
        progress=False,
    )
    write_nifti(target, segmentation, volume)


def segment_monai(source: Path, target: Path, size: tuple[int, int], batch: int) -> None:
    """Segments as MONAI's documentation composes it."""
    from monai.data import decollate_batch
    from monai.data.utils import list_data_collate
    from monai.inferers import SliceInferer
    from monai.transforms import (
        AsDiscreted,
        Compose,
        ConcatItemsd,
        CopyItemsd,
        EnsureChannelFirstd,
        Invertd,
        LoadImaged,
        Orientationd,
        Resized,
        SaveImaged,
        ScaleIntensityRanged,
    )

    names = ["w0", "w1", "w2"]
    steps: list[Any] = [
        LoadImaged("image"),
        EnsureChannelFirstd("image"),
        Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        CopyItemsd("image", times=3, names=names),
        *(ScaleIntensityRanged(name, low, high, 0.0, 1.0, clip=True) for name, (low, high) in zip(names, WINDOWS)),
        ConcatItemsd(names, "image"),
    ]
    from monai.transforms import DeleteItemsd

    steps.append(DeleteItemsd(names))
    steps.append(Resized("image", spatial_size=(*size, -1), mode="trilinear"))
    before = Compose(steps)
    data = list_data_collate([before({"image": str(source)})])
    with torch.no_grad():
        data["pred"] = SliceInferer(roi_size=size, spatial_dim=2, sw_batch_size=batch)(data["image"], network())
    after = Compose(
        [
            Invertd("pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True),
            AsDiscreted("pred", argmax=True),
            SaveImaged(
                "pred",
                output_dir=target.parent,
                output_postfix="monai",
                output_dtype=np.uint8,
                resample=False,
                separate_folder=False,
                print_log=False,
            ),
        ]
    )
    for item in decollate_batch(data):
        after(item)
    (target.parent / f"{source.name.removesuffix('.nii.gz')}_monai.nii.gz").replace(target)


def peak_memory() -> float:
    """Largest resident memory of this process so far, in GB; unlike getrusage's it forgets the parent process."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024**2
    except OSError:
        pass
    unit = 1024**3 if sys.platform == "darwin" else 1024**2
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def worker(side: str, source: str, target: str, height: str, width: str, batch: str) -> None:
    """Runs one side in this process and prints its figures."""
    if side == "monai":
        import monai.inferers
        import monai.transforms  # noqa: F401
    else:
        from hfseg.inference import volumes  # noqa: F401
    import nibabel  # noqa: F401

    libraries = peak_memory()
    wall, cpu = time.perf_counter(), time.process_time()
    {"ours": segment_ours, "monai": segment_monai}[side](
        Path(source), Path(target), (int(height), int(width)), int(batch)
    )
    figures = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak": peak_memory(),
        "libraries": libraries,
    }
    print(json.dumps(figures))


def volume_table(
    shape: tuple[int, int, int], size: tuple[int, int], batch: int, rounds: int
) -> tuple[dict[str, list[dict]], list[str]]:
    """Measures both sides in turn.

    Args:
        shape: Voxels of the scan.
        size: Network input.
        batch: Slices per forward pass.
        rounds: Runs of each side.

    Raises:
        RuntimeError: A side failed.
    """
    import nibabel

    results: dict[str, list[dict]] = {"ours": [], "monai": []}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "scan.nii.gz"
        write_scan(source, shape)
        for _ in range(rounds):
            for side in results:
                code = f"import sys; sys.path.append({SCRIPTS!r}); from benchmarks.volumes import worker; "
                code += f"worker({side!r}, *sys.argv[1:])"
                target = Path(folder) / f"{side}.nii.gz"
                numbers = [str(value) for value in (*size, batch)]
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", code, str(source), str(target), *numbers],
                    capture_output=True,
                    text=True,
                )
                if done.returncode:
                    raise RuntimeError(f"{side} failed ({done.returncode}): {done.stderr[-1500:]}")
                results[side].append(json.loads(done.stdout.strip().splitlines()[-1]))
        written: list[Any] = [nibabel.load(Path(folder) / f"{side}.nii.gz") for side in results]
        first, second = (np.asarray(volume.dataobj) for volume in written)
        affines = [volume.affine for volume in written]
        agreement = float((first == second).mean()) if first.shape == second.shape else 0.0
        same_affine = bool(np.allclose(*affines, atol=1e-4))
    rows = []
    for side, runs in results.items():
        median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        rows.append(
            {
                "side": {"ours": "hfseg", "monai": "MONAI"}[side],
                "seconds": median["seconds"],
                "CPU seconds": median["cpu_seconds"],
                "peak GB": median["peak"],
                "libraries GB": median["libraries"],
                "peak beside MONAI": median["peak"] / statistics.median(run["peak"] for run in results["monai"]),
                "CPU beside MONAI": statistics.median(
                    own["cpu_seconds"] / other["cpu_seconds"] for own, other in zip(runs, results["monai"])
                ),
                "equal voxels": agreement,
                "equal affine": str(same_affine),
            }
        )
    title = f"CT of {' x '.join(map(str, shape))}, {CLASSES} classes, network input {size[0]} x {size[1]}"
    return {title: rows}, [*NOTES, f"Medians of {rounds} run(s)."]
