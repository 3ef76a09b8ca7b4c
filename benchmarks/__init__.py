"""Benchmarks that measure this project's published figures, one command each; see benchmarks/README.md."""
