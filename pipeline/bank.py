"""The command `bank build`: renders the sounds of instruments or of a plan once, as a bank that jobs anywhere name."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gansynth.errors import ConfigError
from gansynth.io import files, listing, structured, urls
from gansynth.io.probe import OutputError, check_writable
from gansynth.model import download
from gansynth.model.build_bank import build, publish
from gansynth.model.built_bank import MOST_SOUNDS
from gansynth.model.listed_sounds import read_list
from gansynth.model.sounds import Want
from gansynth.model.synthesizer import Synthesizer
from gansynth.rendering.player import longest
from gansynth.score.spec import synth_spec
from pipeline.config import JobConfig
from pipeline.job import model_settings
from pipeline.terminal import say


def build_bank(
    config: JobConfig, place: str, instruments: Sequence[str] = (), plan: str | None = None, quiet: bool = False
) -> str:
    """Renders sounds and writes them as a bank that never changes.

    Args:
        config: the settings of a job: checkpoint, device, precision, and the bank of instruments.
        place: folder or URL of banks.
        instruments: names or numbers of instruments whose sounds are rendered, whole notes of all pitches; of all
            instruments if there are neither names nor a plan.
        plan: plan.jsonl of `plan --save`, or its folder; its songs' sounds are rendered, as long as they need them.
        quiet: if true, only the setting that names the bank is printed.

    Returns:
        That setting.

    Raises:
        GansynthError: the settings, the checkpoint, the plan or the place cannot be used.
    """
    if config.compute.sound_bank_digest:
        raise ConfigError("compute.sound_bank: names a built bank, and bank build makes one; leave it out.")
    urls.configure(config.storage)
    try:
        check_writable(place)
    except OutputError as error:
        raise ConfigError(f"--bank {error}.") from None
    download.check_reachable(config.checkpoint)
    synth = model_settings(config).load()
    wanted: set[Want] = set()
    if plan is not None:
        wanted |= _of_plan(plan, synth)
    if instruments or plan is None:
        wanted |= _of_instruments(config, instruments, synth)
    sounds: dict[tuple[bytes, int], dict[int, None]] = {}
    for sound, rows in wanted:
        sounds.setdefault(sound, {})[rows] = None
    needed = longest(sounds, synth.serves_shorter)
    console = Console(stderr=True)
    columns = (TextColumn("Rendering"), BarColumn(), MofNCompleteColumn(), TextColumn("sounds"), TimeRemainingColumn())
    with (
        tempfile.TemporaryDirectory(prefix="gansynth-bank-") as folder,
        Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress,
    ):
        task = progress.add_task("", total=len(needed))
        advance = functools.partial(progress.advance, task)
        description, tally = build(synth, config.checkpoint, needed, Path(folder), advance)
        setting = publish(Path(folder), place)
    if not quiet:
        say(
            f"{place}: {description.sounds:,} sounds, {description.size / 1e6:,.1f} MB; {tally.rendered:,} rendered, "
            f"{tally.banked:,} read from this machine's sound bank. A job takes them with --set compute.sound_bank="
        )
    say(setting, to_stdout=True)
    return setting


def _of_instruments(config: JobConfig, names: Iterable[str], synth: Synthesizer) -> set[Want]:
    """Lists the whole notes of instruments, at all pitches."""
    bank = synth_spec(synth.shape, config.instruments).bank
    rows = [bank.index(int(name) if name.isdecimal() else name, "--instruments") for name in names]
    whole = synth.bucket(synth.note_samples)
    latents = bank.latents[rows or slice(None)].astype(np.float32)
    return {((latent.tobytes(), pitch), whole) for latent in latents for pitch in synth.pitches}


def _of_plan(plan: str, synth: Synthesizer) -> set[Want]:
    """Reads the sounds that the songs of a plan need."""
    wanted: set[Want] = set()
    line = 0
    try:
        url = urls.join(plan, "plan.jsonl") if listing.kind(plan) == "folder" else plan
        for line, text in enumerate(files.read_lines(url), 1):  # noqa: B007 -- for the message
            row = structured.parse_json(text)
            if isinstance(row, dict) and "sounds" in row:
                wanted |= read_list(row["sounds"], synth.shape)
            if len(wanted) > MOST_SOUNDS * len(synth.shape.ladder):
                raise ValueError(f"its songs have more than {MOST_SOUNDS:,} sounds")
    except ValueError as error:
        raise ConfigError(f"--from-plan {plan}: line {line}: {error}.") from None
    except Exception as error:  # each file system has its own exception types
        raise ConfigError(f"--from-plan {plan}: cannot be read ({urls.reason(error, plan)}).") from None
    if not wanted:
        raise ConfigError(
            f"--from-plan {plan}: lists no sounds. Plans of songs that are done, or that glide between instruments, "
            "have none; nor have those of earlier releases: `gansynth-beam plan ... --save` writes them."
        )
    return wanted
