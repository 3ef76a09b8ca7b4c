"""Freezes all objects that exist; imported last by the process that workers are forked from.

What that process has imported stays shared with its workers. A garbage collection would otherwise write to every
object and give each worker copies of its own (80 MB).
"""

import gc

gc.collect()
gc.freeze()
