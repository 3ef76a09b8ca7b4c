"""Local runs: the corpus is rendered in slices, each a pipeline of its own, by processes that share one model.

slices cuts the corpus, pool starts processes and assigns slices, worker renders one, shared_counters reports progress.
Imports pipeline.graph, pipeline.job and what lies below; only pipeline.run and pipeline.forecast import this package.
"""
