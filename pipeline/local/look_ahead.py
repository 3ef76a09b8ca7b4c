"""Looking ahead: songs are planned before they are rendered, to know how long their sounds will be needed.

A sound serves all notes of its latent and pitch. If the first song that plays it is known to be followed by one that
plays it longer, it is rendered once instead of twice. Outputs do not depend on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from gansynth.io import urls
from gansynth.midi.load import parse_midi, read_midi
from gansynth.model.shape import shape_of
from gansynth.model.sounds import Sound, Want
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


def needed_sounds(job: ResolvedJob, songs: Slice) -> list[Want]:
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
    found: list[Want] = []
    with ThreadPoolExecutor(8) as pool:  # reading remote files is mostly waiting
        reads = [pool.submit(read_midi, source.url, config.notes) for source in songs.sources]
    for source, read in zip(songs.sources, reads, strict=True):
        try:
            song = parse_midi(read.result(), config.notes)
            _, chunks = plan_song(source.song_id, song, config.sound, job.spec)
        except Exception:
            continue
        found += longest(distinct_sounds(chunks, shape), serves_shorter=True)
    return list(merged(found).items())


def merged(wanted: Iterable[Want]) -> dict[Sound, int]:
    """Merges what songs or slices need: each sound once, with its greatest bucket."""
    sounds: dict[Sound, int] = {}
    for sound, rows in wanted:
        sounds[sound] = max(rows, sounds.get(sound, 0))
    return sounds
