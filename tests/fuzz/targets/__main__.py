"""Runs one target: python -m tests.fuzz.targets TARGET [CORPUS_FOLDER] [options of libFuzzer]"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import atheris

SEEDS = Path(__file__).parents[2] / "data" / "fuzz"

with atheris.instrument_imports(include=["gansynth", "pipeline", "yaml", "pydantic"]):
    import gansynth.midi.load
    import gansynth.model.checkpoint
    import gansynth.score.instruments  # noqa: F401
    import pipeline.config  # noqa: F401
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name, *options = sys.argv[1:]
    warnings.simplefilter("error")
    for folder in (option for option in options if not option.startswith("-")):
        Path(folder).mkdir(parents=True, exist_ok=True)
    seeds = SEEDS / name
    atheris.Setup([sys.argv[0], *options, str(seeds), "-timeout=10", "-rss_limit_mb=3000"], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
