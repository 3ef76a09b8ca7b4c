"""Building of banks: renders sounds once and writes them as a bank that never changes, see built_bank.

Equal sounds of equal bits make equal bytes, and so an equal digest: sounds are sorted by latent, pitch and length, and
cut into segments by their sizes alone. Nothing is written that tells when or where a bank was built.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from gansynth.errors import ConfigError
from gansynth.io import files, urls
from gansynth.model import checkpoint
from gansynth.model.built_bank import DESCRIPTION, MOST_SOUNDS, BankDescription, Segment
from gansynth.model.sound_bank import write_segment
from gansynth.model.sounds import Tally, Want
from gansynth.model.synthesizer import Synthesizer

_SEGMENT_BYTES = 64 * 256_000
"""Most bytes of a segment: 64 whole notes of 4 s at 16 kHz, which is a full batch of a GPU and quickly copied."""


def build(
    synth: Synthesizer,
    name_or_path: str,
    wanted: Collection[Want],
    folder: Path,
    progress: Callable[[int], None] = lambda sounds: None,
) -> tuple[BankDescription, Tally]:
    """Renders sounds and writes the files of a bank.

    Args:
        synth: the loaded checkpoint.
        name_or_path: its name, path or URL.
        wanted: the sounds; each once at its longest, see player.longest.
        folder: an empty folder on this machine.
        progress: called with the number of sounds of each segment that is written.

    Returns:
        The description of the bank, and the work that it took.

    Raises:
        ConfigError: there are no sounds, or too many for a bank.
        OSError: the folder cannot be written.
    """
    if not wanted:
        raise ConfigError("bank build: there are no sounds to render.")
    if len(wanted) > MOST_SOUNDS:
        raise ConfigError(
            f"bank build: {len(wanted):,} sounds; a bank has at most {MOST_SOUNDS:,}. Build it of fewer instruments or "
            "songs; what a bank lacks is rendered by the job."
        )
    tally, segments = Tally(), []
    for number, group in enumerate(_groups(synth, sorted(wanted))):
        found = dict(synth.sounds(group, tally))
        index = folder / f"{number:06d}.index"
        write_segment(index, ((synth.key(want), found[want][: synth.samples_of(want[1])]) for want in group))
        samples = index.with_suffix(".sounds").read_bytes()
        segment = Segment(
            name=index.stem,
            sounds=len(group),
            size=len(samples),
            index_sha256=hashlib.sha256(index.read_bytes()).hexdigest(),
            sounds_sha256=hashlib.sha256(samples).hexdigest(),
        )
        segments.append(segment)
        progress(len(group))
    description = BankDescription(
        checkpoint_digest=synth.digest,
        checkpoint_files=checkpoint.files_digest(checkpoint.outline(name_or_path)[0]),
        flags=synth.shape.config.model_dump(mode="json"),
        kernels=synth.kernels,
        serves_shorter=synth.serves_shorter,
        segments=tuple(segments),
    )
    (folder / DESCRIPTION).write_bytes(description.to_json())
    return description, tally


def publish(folder: Path, place: str) -> str:
    """Copies the files of a bank to the folder or URL where jobs find it; the description comes last.

    Args:
        folder: what `build` has written.
        place: folder or URL of banks.

    Returns:
        The setting that names the bank: "PLACE@sha256:...".

    Raises:
        ConfigError: the place cannot be written.
    """
    digest = hashlib.sha256((folder / DESCRIPTION).read_bytes()).hexdigest()
    base = urls.local_path(place) if urls.is_local(place) else place
    *others, last = sorted(folder.iterdir(), key=lambda path: (path.name == DESCRIPTION, path.name))
    try:
        for path in (*others, last):
            files.upload(path, urls.join(base, digest, path.name))
    except Exception as error:  # each file system has its own exception types
        raise ConfigError(f"--bank {place}: cannot be written ({urls.reason(error, place)}).") from None
    return f"{base.rstrip('/')}@sha256:{digest}"


def _groups(synth: Synthesizer, wanted: list[Want]) -> Iterator[list[Want]]:
    group: list[Want] = []
    size = 0
    for want in wanted:
        more = 4 * synth.samples_of(want[1])
        if group and size + more > _SEGMENT_BYTES:
            yield group
            group, size = [], 0
        group.append(want)
        size += more
    yield group
