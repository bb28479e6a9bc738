# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Packs results for the test server of Pascal VOC 2012.

hfseg predict VOC2012/JPEGImages --model MODEL --subtask semantic -o RESULTS
python scripts/voc_submission.py RESULTS VOC2012/ImageSets/Segmentation/test.txt -o results.tgz
"""

import argparse
import os
import sys
from pathlib import Path

# This folder is on Python's path, and its evaluate.py would hide the package `evaluate`: it comes last.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path = [*(entry for entry in sys.path if os.path.realpath(entry) != HERE), HERE]

from hfseg.results.voc_submission import COMPETITIONS, write_voc_submission  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", metavar="RESULTS", help="output folder of hfseg predict --subtask semantic")
    parser.add_argument("list", metavar="LIST", help="names of the images, one per line")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the archive, .tgz, .tar.gz or .zip")
    parser.add_argument("--competition", choices=COMPETITIONS, default="comp6")
    options = parser.parse_args(arguments)
    try:
        names = Path(options.list).read_text(encoding="utf-8").split()
        print(write_voc_submission(options.results, names, options.output, options.competition))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
