# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The zoo shown: one sheet of all shipped models (`overview`), and a Gradio app with a tab per task (`app`, `space`).

Both run offline: no address is opened, nothing comes from other servers, nothing is reported. The app needs the extra
`demo`.
"""
