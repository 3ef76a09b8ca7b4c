"""Looking ahead: songs are planned before they are rendered, to know how long their sounds will be needed.

A sound serves all notes of its latent and pitch. If the first song that plays it is known to be followed by one that
plays it longer, it is rendered once instead of twice. Outputs do not depend on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from gansynth.io import urls
from gansynth.midi.load import parse_midi, read_midi
from gansynth.model.shape import shape_of
from gansynth.model.sounds import Sound
from gansynth.rendering.player import distinct_sounds, longest
from gansynth.score.plan import plan_song
from pipeline import inputs
from pipeline.job import ResolvedJob
from pipeline.local.slices import Slice

SONGS, BYTES = 256, 2_000_000
"""Songs, and bytes of MIDI, that are looked through at once: a second or two on one core."""


def take(slices: Iterator[Slice]) -> Iterator[Slice]:
    """Takes slices of up to SONGS and BYTES in all, at least one, if there are any."""
    songs = size = 0
    for one in slices:
        yield one
        songs += len(one.sources)
        size += sum(inputs.size(source) for source in one.sources)
        if songs >= SONGS or size >= BYTES:
            return


def needed_sounds(job: ResolvedJob, songs: Slice) -> dict[Sound, int]:
    """Plans the songs of a slice.

    Args:
        job: the job.
        songs: the slice; songs that cannot be planned are left out, since rendering reports them.

    Returns:
        Their sounds, each with the bucket of its longest note.
    """
    config = job.config
    urls.configure(config.storage)
    shape, _ = shape_of(config.checkpoint)
    found: dict[Sound, int] = {}
    with ThreadPoolExecutor(8) as pool:  # reading remote files is mostly waiting
        reads = [pool.submit(read_midi, source.url, config.notes) for source in songs.sources]
    for source, read in zip(songs.sources, reads, strict=True):
        try:
            song = parse_midi(read.result(), config.notes)
            _, chunks = plan_song(source.song_id, song, config.sound, job.spec)
        except Exception:
            continue
        for sound, rows in longest(distinct_sounds(chunks, shape), serves_shorter=True):
            found[sound] = max(rows, found.get(sound, 0))
    return found


def merged(found: list[dict[Sound, int]]) -> dict[Sound, int]:
    """Merges the sounds of several slices."""
    sounds: dict[Sound, int] = {}
    for sound, rows in itertools.chain.from_iterable(one.items() for one in found):
        sounds[sound] = max(rows, sounds.get(sound, 0))
    return sounds
