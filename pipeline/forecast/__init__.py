"""The forecast of a job, which the command `plan` prints: songs, notes, sounds, operations, time, cost, failures.

count reads the corpus, calibrate renders a few songs, forecast holds the result, text formats it.
Imports pipeline.local, pipeline.job and what lies below; only the command line imports this package.
"""
