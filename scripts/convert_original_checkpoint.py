# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Converts an authors' checkpoint; see `hfseg convert --help`."""

import sys

from hfseg.commands.convert import main

if __name__ == "__main__":
    sys.exit(main())
