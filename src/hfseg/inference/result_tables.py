# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tables on the terminal and result files that say how they came about."""

import datetime
import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from ..files.writing import write_json


def format_cell(value: object) -> str:
    """Formats one cell: floats with three decimals (two from 100 on) or an exponent, None as a dash."""
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    if 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.2f}"


def format_table(rows: list[dict]) -> str:
    """Formats rows as a Markdown table; columns in the order in which they first appear."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([format_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    text = ["| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths)) + " |" for line in lines]
    text.insert(1, "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|")
    return "\n".join(text)


def git_commit() -> str | None:
    """Reads the commit of the checkout that holds this package, marked where files were changed; None outside one."""
    try:
        run = lambda *arguments: subprocess.run(  # noqa: E731
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        ).stdout.strip()
        # An installed package may lie inside another project's checkout.
        if not run("ls-files", "--", __file__):
            return None
        return run("rev-parse", "HEAD") + (
            " (modified)" if run("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None


def processor_name() -> str:
    """Names the CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def provenance(command: list[str], device: str = "cpu") -> dict:
    """Describes how a result came about: command (its words), commit, device, versions, date."""
    place = torch.device(device)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else processor_name()
    versions = {"python": platform.python_version()}
    for package in ("torch", "transformers", "hfseg"):
        versions[package] = importlib.metadata.version(package)
    return {
        "command": shlex.join(command),
        "commit": git_commit(),
        "device": f"{place.type}: {name}",
        "threads": torch.get_num_threads(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def report(tables: dict[str, list[dict]], notes: list[str], origin: dict, output: str | None) -> None:
    """Prints tables and notes and, if a file is given, writes them as JSON with their origin."""
    for title, rows in tables.items():
        print(f"\n{title}\n\n{format_table(rows)}")
    print()
    for note in notes:
        print(f"- {note}")
    versions = ", ".join(f"{package} {version}" for package, version in origin["versions"].items())
    print(f"- {origin['device']}, {origin['threads']} thread(s), {versions}, commit {origin['commit'] or 'unknown'}")
    if output is not None:
        path = Path(output)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**origin, "notes": notes, "tables": tables}, indent=1)
        print(f"Wrote {path}", file=sys.stderr)
