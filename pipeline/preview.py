"""Auditions: a page on which instruments can be compared by ear, and a bank of the chosen ones."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from gansynth.score import latent_map
from gansynth.score.instruments import Bank, save_bank
from gansynth.score.spec import synth_spec
from pipeline.invocation import command_line
from pipeline.terminal import say
from pipeline.web import asset, display, environment

MAP_BANK = "map.yaml"
"""File of the instruments of the page and of the points of its map."""
ALL_PAIRS = 12
"""Maximum number of instruments for which all pairs have an interpolation; beyond it, only neighbours."""
STEPS = 7
MOST = 200
GRID = 9
"""Points of the map in each direction."""
_POINT_SECONDS = 1.2
_NEAREST = 3
_REACH = 12
"""Semitones from the pitch to the ends of the keyboard, where notes are rendered, too."""
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
        pitch_levels={renamed[name]: dict(of) for name, of in bank.pitch_levels.items() if name in renamed},
        levels={renamed[name]: level for name, level in bank.levels.items() if name in renamed},
        releases={renamed[name]: seconds for name, seconds in bank.releases.items() if name in renamed},
        program_releases={
            program: seconds for program, seconds in bank.program_releases.items() if bank.for_program(program) in place
        },
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
        if (points := map_points(bank)) is not None:
            save_bank(_with_points(bank, points), urls.join(preview.output, MAP_BANK))
        html = render_page(preview, bank, pairs, _own(synth), synth.pitches)
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
        for pitch in key_pitches(preview.pitch, synth.pitches):
            if pitch != preview.pitch:
                yield audition.note(f"key-{row}-{pitch}", latent, pitch, synth, _ENVELOPE)
    points = map_points(bank)
    for number, latent in enumerate(() if points is None else points):
        yield audition.note(f"map-{number}", latent, preview.pitch, synth, _ENVELOPE, _POINT_SECONDS)
    for one, other in pairs:
        both = np.stack([bank.latents[one], bank.latents[other]])
        yield audition.strip(f"strip-{one}-{other}", both, preview.pitch, STEPS, synth, _ENVELOPE)


def key_pitches(pitch: int, playable: range) -> list[int]:
    """Lists the pitches at which the keyboard's notes are rendered; those between are played faster or slower.

    Args:
        pitch: pitch of the audition.
        playable: pitches of the checkpoint.
    """
    return [each for each in (pitch - _REACH, pitch, pitch + _REACH) if each in playable]


def map_points(bank: Bank) -> NDArray[np.float64] | None:
    """Computes the latents of the map's points, float64 [GRID * GRID, latent size], row by row from the top left.

    None for fewer than three instruments, which have no map.
    """
    if len(bank) < 3:
        return None
    steps = np.linspace(0, 1, GRID)
    points = np.stack(np.meshgrid(steps, steps[::-1]), axis=-1).reshape(-1, 2)
    return latent_map.at(points, latent_map.places(bank.latents), bank.latents)


def _with_points(bank: Bank, points: NDArray[np.float64]) -> Bank:
    """Appends the map's points to a bank, as instruments of their own."""
    names = [f"point-{number}" for number in range(len(points))]
    free = [name if name not in bank.names else f"{name}-of-map" for name in names]
    return replace(bank, names=(*bank.names, *free), latents=np.concatenate([bank.latents, points]))


def _own(synth: Synthesizer) -> Bank | None:
    """Returns the checkpoint's own named instruments, if it has any."""
    bank = synth_spec(synth.shape, InstrumentsConfig()).bank
    return None if all(re.fullmatch(r"random-\d+-\d+", name) for name in bank.names) else bank


def _nearest(points: NDArray[np.float64], bank: Bank) -> list[list[str]]:
    """Names the instruments of a bank that are nearest to each point, by the angle between their latents."""
    unit = bank.latents / np.linalg.norm(bank.latents, axis=1, keepdims=True)
    order = np.argsort(-(points @ unit.T), axis=1, kind="stable")[:, :_NEAREST]
    return [[display(bank.names[n]) for n in row] for row in order.tolist()]


def _render_command(preview: Preview) -> str:
    """Formats the command that renders a song with an instrument of the page, where NUMBER stands for its number."""
    output = os.path.abspath(urls.local_path(preview.output)) if urls.is_local(preview.output) else preview.output
    settings = [f"instruments.bank={urls.join(output, MAP_BANK)}", "instruments.mode=fixed"]
    if preview.checkpoint != Preview.checkpoint:
        settings.append(f"checkpoint={preview.checkpoint}")
    words = [word for setting in settings for word in ("--set", setting)]
    return command_line(["render", "song.mid", "--output", "out", *words, "--set", "instruments.instruments=[NUMBER]"])


def render_page(
    preview: Preview,
    bank: Bank,
    pairs: Sequence[tuple[int, int]],
    own: Bank | None = None,
    playable: range = range(128),
) -> str:
    """Renders an audition's page as HTML.

    Args:
        preview: options of the audition.
        bank: the instruments.
        pairs: pairs of instruments that have an interpolation.
        own: named instruments to compare points of the map with; those of the page if None.
        playable: pitches of the checkpoint.
    """
    scripts = [asset("base.js"), asset("preview.js")]
    strips: dict[int, list[int]] = {}
    for one, other in pairs:
        strips.setdefault(one, []).append(other)
    points = map_points(bank)
    names = [display(name) for name in bank.names]
    rendered = key_pitches(preview.pitch, playable)
    data: dict[str, Any] = {
        "names": names,
        "pitch": preview.pitch,
        "rendered": rendered,
        "keys": [max(0, rendered[0]), min(127, rendered[-1])],
        "render": display(_render_command(preview)),
        "map": None,
    }
    if points is not None:
        data["map"] = {
            "grid": GRID,
            "places": latent_map.places(bank.latents).round(4).tolist(),
            "nearest": _nearest(points, own or bank),
        }
    values: dict[str, Any] = {
        "preview": preview,
        "checkpoint": display(preview.checkpoint),
        "names": names,
        "families": [display(bank.families.get(name, "")) for name in bank.names],
        "strips": strips,
        "has_map": points is not None,
        "steps": STEPS,
        "command": display(preview.command),
        "data": json.dumps(data),
        "picture": _PICTURE,
        "axes": axes,
        "style": asset("page.css") + asset("preview.css"),
        "scripts": scripts,
        "script_digests": [sha256(script) for script in scripts],
    }
    return environment().get_template("preview.html").render(values)
