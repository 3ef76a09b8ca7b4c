"""The forecast of a job, for the command `plan`: songs, notes, sounds, operations, time, cost, failures.

count reads the corpus, calibrate renders a few songs, forecast adds up, text prints.
Imports pipeline.local, pipeline.job and what lies below; only the command line imports this package.
"""
