"""Auditions: a page on which instruments can be compared by ear, and a bank of the chosen ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gansynth.audio.encode import encode_audio
from gansynth.config import EnvelopeConfig, InstrumentsConfig
from gansynth.errors import ConfigError
from gansynth.figures import axes
from gansynth.figures.spectrogram import SpectrogramStyle, cqt, write_png
from gansynth.io import files, urls
from gansynth.io.script_data import sha256
from gansynth.model import download
from gansynth.model.synthesizer import Synthesizer
from gansynth.rendering import audition
from gansynth.score.instruments import Bank, save_bank
from gansynth.score.spec import synth_spec
from pipeline.invocation import command_line
from pipeline.terminal import say
from pipeline.web import asset, display, environment

ALL_PAIRS = 12
"""Maximum number of instruments for which all pairs have an interpolation; beyond it, only neighbours."""
STEPS = 7
MOST = 200
_PICTURE = SpectrogramStyle(width=420, height=270)
_ENVELOPE = EnvelopeConfig()


@dataclass(frozen=True)
class Preview:
    """The options of an audition.

    Attributes:
        output: folder or URL for the page and its clips.
        checkpoint: see Synthesizer.from_checkpoint.
        bank: "random", "own" (the checkpoint's named instruments) or a file, see load_bank.
        count: number of instruments; None for a whole bank, or for ten random ones.
        pitch: MIDI pitch of the notes.
        seed: seed of random instruments.
        between: pairs of instruments to interpolate; None for the default, see ALL_PAIRS.
    """

    output: str = "preview"
    checkpoint: str = "mini"
    bank: str = "random"
    count: int | None = None
    pitch: int = 60
    seed: int = 0
    between: Sequence[tuple[int, int]] | None = None

    def candidates(self, synth: Synthesizer) -> Bank:
        """Loads or draws the instruments.

        Args:
            synth: the model.

        Raises:
            ConfigError: the bank cannot be read, or it has no instrument or too many.
        """
        config = InstrumentsConfig(
            mode="random", bank=None if self.bank == "own" else self.bank, count=self.count or 10, seed=self.seed
        )
        bank = synth_spec(synth.shape, config).bank
        count = len(bank) if self.count is None else min(self.count, len(bank))
        if not 1 <= count <= MOST:
            raise ConfigError(f"--count: a page shows 1 to {MOST} instruments, not {count}.")
        return subset(bank, range(count))

    def pairs(self, count: int) -> list[tuple[int, int]]:
        """Lists the pairs of instruments to interpolate.

        Args:
            count: number of instruments.

        Raises:
            ConfigError: `between` has a number that is out of range.
        """
        if self.between is not None:
            for number in itertools.chain(*self.between):
                if not 0 <= number < count:
                    raise ConfigError(f"--between: no instrument {number}; choose from 0..{count - 1}.")
            return list(self.between)
        if count <= ALL_PAIRS:
            return list(itertools.combinations(range(count), 2))
        return [(number, number + 1) for number in range(count - 1)]

    @property
    def command(self) -> str:
        """Command line that makes this audition, to which the page adds --keep."""
        words = ["preview"]
        for name in ("checkpoint", "bank", "count", "seed"):
            value = getattr(self, name)
            if value != getattr(type(self), name, None):
                words += [f"--{name}", str(value)]
        return command_line(words)


def subset(bank: Bank, rows: Sequence[int], names: Sequence[str] = ()) -> Bank:
    """Selects instruments of a bank.

    Args:
        bank: the bank.
        rows: numbers of the instruments, from 0.
        names: their new names; empty to keep the old ones.

    Raises:
        ConfigError: a row is out of range, or `names` are not as many as `rows` or not distinct.
    """
    outside = [row for row in rows if not 0 <= row < len(bank)]
    if outside:
        raise ConfigError(f"--keep: no instrument {outside[0]}; choose from 0..{len(bank) - 1}.")
    new = tuple(names) or tuple(bank.names[row] for row in rows)
    if len(new) != len(rows) or len(set(new)) != len(new):
        raise ConfigError(f"--names: give {len(rows)} distinct names, not {len(set(new))}.")
    renamed = {bank.names[row]: name for row, name in zip(rows, new, strict=True)}
    place = {row: i for i, row in enumerate(rows)}
    return Bank(
        names=new,
        latents=bank.latents[list(rows)],
        programs={program: place[row] for program, row in bank.programs.items() if row in place},
        families={renamed[name]: family for name, family in bank.families.items() if name in renamed},
        levels={renamed[name]: level for name, level in bank.levels.items() if name in renamed},
        releases={renamed[name]: seconds for name, seconds in bank.releases.items() if name in renamed},
    )


def keep(preview: Preview, rows: Sequence[int], url: str, names: Sequence[str] = ()) -> Bank:
    """Saves some of the candidates as a bank for `render`, and returns it.

    Args:
        preview: options of the audition.
        rows: numbers of the candidates to keep.
        url: path or URL of the bank, .yaml or .npz.
        names: their new names; empty to keep the old ones.

    Raises:
        ConfigError: a row or a name is invalid, or the bank cannot be written.
    """
    download.check_reachable(preview.checkpoint)
    synth = Synthesizer.from_checkpoint(preview.checkpoint)
    kept = subset(preview.candidates(synth), rows, names)
    try:
        save_bank(kept, url)
    except OSError as error:
        raise ConfigError(f"--as {url}: cannot be written ({error}).") from None
    return kept


def write(preview: Preview, quiet: bool = False) -> Bank:
    """Renders the candidates, writes their page, and returns them.

    Args:
        preview: options of the audition.
        quiet: if true, nothing is printed.

    Raises:
        GansynthError: the checkpoint, the bank or an option cannot be used.
    """
    download.check_reachable(preview.checkpoint)
    synth = Synthesizer.from_checkpoint(preview.checkpoint)
    if preview.pitch not in synth.pitches:
        low, high = synth.pitches.start, synth.pitches.stop - 1
        raise ConfigError(f"--pitch {preview.pitch}: the checkpoint plays {low}..{high}; choose one of these.")
    bank = preview.candidates(synth)
    pairs = preview.pairs(len(bank))
    clips = [*_clips(preview, bank, pairs, synth)]
    if not quiet:
        say(f"{len(bank)} instruments, {len(clips)} clips")
    try:
        for name, sound in audition.render(clips, synth, _ENVELOPE):
            wav = encode_audio(sound, synth.sample_rate, "wav")
            files.write_bytes(urls.join(preview.output, "clips", f"{name}.wav"), wav)
            if name.startswith("note-"):
                picture = write_png(cqt(sound, synth.sample_rate, _PICTURE), synth.sample_rate, "", _PICTURE)
                files.write_bytes(urls.join(preview.output, "clips", f"{name}.png"), picture)
        html = render_page(preview, bank, pairs)
        files.write_bytes(urls.join(preview.output, "index.html"), html.encode())
    except OSError as error:
        raise ConfigError(f"--output {preview.output}: cannot be written ({error}).") from None
    if not quiet:
        page = urls.join(preview.output, "index.html")
        say(f"Listen: {page}", links={page: page})
    return bank


def _clips(
    preview: Preview, bank: Bank, pairs: Sequence[tuple[int, int]], synth: Synthesizer
) -> Iterator[audition.Clip]:
    for row, latent in enumerate(bank.latents):
        yield audition.note(f"note-{row}", latent, preview.pitch, synth, _ENVELOPE)
        yield audition.phrase(f"phrase-{row}", latent, preview.pitch, synth, _ENVELOPE)
    for one, other in pairs:
        both = np.stack([bank.latents[one], bank.latents[other]])
        yield audition.strip(f"strip-{one}-{other}", both, preview.pitch, STEPS, synth, _ENVELOPE)


def render_page(preview: Preview, bank: Bank, pairs: Sequence[tuple[int, int]]) -> str:
    """Renders an audition's page as HTML.

    Args:
        preview: options of the audition.
        bank: the instruments.
        pairs: pairs of instruments that have an interpolation.
    """
    script = asset("preview.js")
    strips: dict[int, list[int]] = {}
    for one, other in pairs:
        strips.setdefault(one, []).append(other)
    values: dict[str, Any] = {
        "preview": preview,
        "checkpoint": display(preview.checkpoint),
        "names": [display(name) for name in bank.names],
        "families": [display(bank.families.get(name, "")) for name in bank.names],
        "strips": strips,
        "steps": STEPS,
        "command": display(preview.command),
        "picture": _PICTURE,
        "axes": axes,
        "style": asset("page.css") + asset("preview.css"),
        "script": script,
        "script_digests": [sha256(script)],
    }
    return environment().get_template("preview.html").render(values)
