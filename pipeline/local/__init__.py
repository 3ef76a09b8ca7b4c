"""The fast way on one machine: the corpus in slices, each a pipeline of its own, in processes that share one model.

slices cuts the corpus, pool starts processes and hands out slices, worker renders one, shared_counters tells progress.
Imports pipeline.graph, pipeline.job and what lies below; only pipeline.run and pipeline.forecast import this package.
"""
