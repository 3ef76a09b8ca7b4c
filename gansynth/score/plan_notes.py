"""Planning of notes: lengths in samples, gain, pitch, and the samples that each needs of the network's sound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.envelope import LONGEST_NOTE, cut_samples, release_samples, sustain_samples
from gansynth.audio.gain import velocity_gain
from gansynth.audio.hold import can_hold, held_from
from gansynth.audio.kits import KIT_GAIN, hit_samples, shared_kit
from gansynth.audio.variation import VARIANTS, choose_variants, variation
from gansynth.config import SoundConfig
from gansynth.general_midi import DRUMS
from gansynth.midi.notes import Channel, Notes
from gansynth.score.expression import Expression, express, needed
from gansynth.score.planned_notes import MOVING_BEND, MOVING_GAIN, PlannedNotes
from gansynth.score.schedule import Schedule
from gansynth.score.spec import SynthSpec


def plan_notes(
    notes: Notes,
    schedule: Schedule,
    channels: Mapping[int, Channel],
    config: SoundConfig,
    spec: SynthSpec,
    digest: str = "",
) -> tuple[PlannedNotes, dict[str, int]]:
    """Plans every note of a song.

    Args:
        notes: after the policies, sorted by start.
        schedule: instruments of the notes.
        channels: channels of the song whose gain or bend changes, in seconds of the clip.
        config: envelope, mix and drums.
        spec: the checkpoint.
        digest: of the song's file; variation depends on it.

    Returns:
        The notes, and their number by outcome: shortened (released before their written end), bent, drums_unknown
        (silent hits of keys for which the kit has no sound).
    """
    rate, release = spec.sample_rate, release_samples(config.envelope, spec.sample_rate)
    start = (notes.start * rate).astype(np.int64)
    written = (np.maximum(notes.end - notes.start, 0.0) * rate).astype(np.int64)
    sustain = sustain_samples(notes.end - notes.start, config.envelope, rate)
    decay = _decays(notes, schedule, config, spec)
    tail = _tails(notes, np.where(decay > 0, decay, release), rate)
    hits = notes.is_drum & (config.notes.drums == "kit")
    lengths = _hit_lengths(notes, hits, start, config, rate) if hits.any() else np.zeros(len(notes), np.int64)
    heard = np.where(hits, lengths, sustain + tail)
    found = express(notes, heard, channels, _playable(config, spec), rate)
    source, held, sustain = _sources(notes, sustain, tail, found, channels, config, spec)
    bent = (found.moving & MOVING_BEND > 0) | (np.abs(found.key + found.semitones - notes.pitch) > 1e-6)
    counts = {"shortened": int((~hits & (sustain < written)).sum()), "bent": int((~hits & bent).sum())}
    law = np.array([velocity_gain(velocity, config.mix.velocity) for velocity in range(128)])
    gain = law[notes.velocity] * found.gain
    if spec.bank.levels or spec.bank.pitch_levels:
        levels, place = spec.bank.level_table(schedule.names), schedule.fraction
        level = levels[schedule.left, notes.pitch] * (1 - place) + levels[schedule.right, notes.pitch] * place
        gain *= 10.0 ** (level / 20.0)
    skip = np.zeros(len(notes), np.uint8)
    if config.instruments.variation:
        variants = choose_variants(config.instruments.seed, digest, schedule.nearest, notes.pitch)
        played = [variation(variant, config.instruments.variation, rate) for variant in range(VARIANTS)]
        gain *= np.where(hits, 1.0, np.array([one.gain for one in played])[variants])
        skip = np.where(hits, 0, np.array([one.skipped for one in played])[variants]).astype(np.uint8)
    kit = None
    if hits.any():
        kit = np.where(hits, notes.program, 0).astype(np.uint8)
        sustain, tail, decay = np.where(hits, lengths, sustain), np.where(hits, 0, tail), np.where(hits, 0, decay)
        source, held = np.where(hits, lengths, source), held & ~hits
        gain = np.where(hits, gain * KIT_GAIN * (lengths > 0), gain)
        counts["drums_unknown"] = int((hits & (lengths == 0)).sum())
        found.moving[hits] &= MOVING_GAIN  # a one-shot keeps its pitch
    row_type = np.min_scalar_type(len(schedule.names))
    planned = PlannedNotes(
        start=start,
        sustain=sustain.astype(np.int32),
        pitch=notes.pitch.astype(np.uint8),
        velocity=notes.velocity.astype(np.uint8),
        program=np.where(notes.is_drum, DRUMS, notes.program).astype(np.uint8),
        track=notes.track,
        left=schedule.left.astype(row_type),
        right=schedule.right.astype(row_type),
        fraction=schedule.fraction,
        release=release,
        gain=gain,
        key=_unless((found.key == notes.pitch) | hits, found.key, np.uint8),
        semitones=_unless((found.semitones == 0) | hits, np.where(hits, 0.0, found.semitones), np.float64),
        moving=_unless(found.moving == 0, found.moving, np.uint8),
        channel=notes.channel if channels else None,
        decay=_unless(decay == 0, decay, np.int32),
        tail=_unless(tail == release, tail, np.int32),
        source=_unless(source == sustain + tail, source, np.int32),
        held=_unless(~held, held, np.bool_),
        skip=_unless(skip == 0, skip, np.uint8),
        kit=kit,
    )
    return planned, {name: count for name, count in counts.items() if count}


def _unless(trivial: NDArray[np.bool_], values: NDArray, dtype: type) -> NDArray | None:
    """Returns a column, or None if all its values are trivial."""
    return None if trivial.all() else values.astype(dtype)


def _playable(config: SoundConfig, spec: SynthSpec) -> range:
    """Returns the pitches that the network may render."""
    low, high = max(config.notes.min_pitch, spec.pitches.start), min(config.notes.max_pitch, spec.pitches.stop - 1)
    return range(low, high + 1)


def _decays(notes: Notes, schedule: Schedule, config: SoundConfig, spec: SynthSpec) -> NDArray[np.int64]:
    """Counts the samples in which each note's instrument falls by 60 dB when released; 0 for the linear release."""
    bank = spec.bank
    if config.envelope.release != "instrument" or not (bank.releases or bank.program_releases):
        return np.zeros(len(notes), np.int64)
    seconds = np.repeat([[bank.releases.get(name, 0.0)] for name in schedule.names], DRUMS + 1, axis=1)
    for number, release in bank.program_releases.items():
        stands_for_it = [name == bank.names[bank.for_program(number)] for name in schedule.names]
        seconds[stands_for_it, number] = release
    program = np.where(notes.is_drum, DRUMS, notes.program)
    left, right, place = seconds[schedule.left, program], seconds[schedule.right, program], schedule.fraction
    # Between an instrument with a release of its own and one without there is no curve: the nearer one's is taken.
    mixed = np.where((left > 0) & (right > 0), left * (1 - place) + right * place, seconds[schedule.nearest, program])
    return (mixed * spec.sample_rate).astype(np.int64)


def _tails(notes: Notes, release: NDArray[np.int64], rate: int) -> NDArray[np.int64]:
    """Counts the audible samples after each note's end: the release, or fewer before all sound off."""
    tail = release
    if notes.cut is None:
        return tail
    cut = np.isfinite(notes.cut)
    left = np.zeros(len(notes))
    left[cut] = (notes.cut[cut] - notes.end[cut]) * rate
    return np.where(cut, np.minimum(tail, np.maximum(left, 0).astype(np.int64) + cut_samples(rate)), tail)


def _sources(
    notes: Notes,
    sustain: NDArray[np.int64],
    tail: NDArray[np.int64],
    found: Expression,
    channels: Mapping[int, Channel],
    config: SoundConfig,
    spec: SynthSpec,
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Decides which notes are held, and shortens notes that are too long for the checkpoint even if held.

    Returns:
        For each note the samples of the network's sound that it needs, whether it is held, and its sustain.
    """
    whole, rate = spec.note_samples, spec.sample_rate
    holds = config.envelope.long_notes == "hold" and can_hold(whole)
    limit = int(LONGEST_NOTE * rate) if holds else whole
    fastest = np.maximum(2.0 ** (found.highest / 12.0), 1.0)
    plain = (found.highest == 0) & ((found.moving & MOVING_BEND) == 0)
    longest = np.where(plain, limit - tail, (limit - 2) / fastest - tail).astype(np.int64)
    sustain = np.minimum(sustain, np.maximum(longest, 0))
    source = needed(sustain + tail, notes, found, channels, rate)
    if not holds:
        return source, np.zeros(len(notes), np.bool_), sustain
    held = (needed(sustain, notes, found, channels, rate) > held_from(whole)) | (source > whole)
    return source, held, sustain


def _hit_lengths(
    notes: Notes, hits: NDArray[np.bool_], start: NDArray[np.int64], config: SoundConfig, rate: int
) -> NDArray[np.int64]:
    """Counts the samples that each hit of the drum kit sounds for, int64 [n]; 0 for other notes and unknown keys."""
    kit = shared_kit(config.drums.kit, rate)
    channel = np.zeros(len(notes), np.int64) if notes.channel is None else notes.channel.astype(np.int64)
    lengths = np.zeros(len(notes), np.int64)
    lengths[hits] = hit_samples(kit, start[hits], notes.pitch[hits], notes.program[hits], channel[hits])
    if notes.cut is not None:
        stop = np.where(np.isfinite(notes.cut), notes.cut - notes.start, np.inf) * rate + cut_samples(rate)
        lengths = np.minimum(lengths, np.where(np.isfinite(stop), stop, lengths).astype(np.int64))
    return lengths
