"""What the figures in README.md come from: one command each, see benchmarks/README.md."""
