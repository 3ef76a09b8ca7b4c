"""Exclusion of all existing objects from garbage collection; imported last by the process that workers are forked from.

Memory of imported modules stays shared with the workers. Otherwise the garbage collector would write to every object
and so copy 80 MB to each worker.
"""

import gc

gc.collect()
gc.freeze()
