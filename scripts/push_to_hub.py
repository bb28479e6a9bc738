# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Publishes a model folder on the Hub, or writes what would be published; see --help."""

import sys

from hfseg.commands.push import main

if __name__ == "__main__":
    sys.exit(main())
