"""Imported last by the process that workers are forked from: what it has imported stays shared with them.

A collection of garbage would otherwise write to every object, and give each worker copies of its own (80 MB).
"""

import gc

gc.collect()
gc.freeze()
