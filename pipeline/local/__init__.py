"""Local runs: the corpus is rendered in slices, each a pipeline of its own, by processes that share one model.

slices cuts the corpus, pool starts processes and assigns slices, look_ahead tells how long their sounds will be needed,
worker renders a slice, shared_counters reports progress.
Imports pipeline.graph, pipeline.job and what lies below; only pipeline.run and pipeline.forecast import this package.
"""
