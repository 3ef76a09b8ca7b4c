"""(i) Loudness over time of each MIDI channel, played by FluidSynth and by us: the correlation of both curves.

    python -m benchmarks.loudness

Each channel of each file is played alone. A curve is the level in dB of frames of 50 ms; both are compared over the
frames in which FluidSynth is within 40 dB of the channel's peak. FluidSynth plays Debian's FluidR3 without reverb and
chorus. Where volume (7) or expression (11) move, sustained instruments should correlate by at least 0.9.

Two instruments differ in attack, decay and beating, whatever the controllers do. A channel on which 7 or 11 move is
therefore also played without them: "effect" compares, by correlation and by RMS difference in dB, what the
controllers change in FluidSynth's curve and in ours.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import mido
import numpy as np
import soundfile
from numpy.typing import NDArray

import gansynth
from benchmarks.common import CORPUS, parser, scratch
from benchmarks.fluidsynth import SOUNDFONT
from gansynth.config import SoundConfig
from gansynth.errors import MidiError
from gansynth.general_midi import SUSTAINED
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Timeline
from gansynth.rendering.performance import perform

RATE = 16000
FRAME = RATE // 20
RANGE = 40.0
"""Decibels below the channel's peak that count."""
WANTED = 0.9
SHARED = CORPUS.parent
SOUND = SoundConfig.model_validate(
    {"mix": {"clip_peak": "none", "velocity": "general_midi"}, "instruments": {"variation": 0}}
)


@dataclass(frozen=True)
class Result:
    """The comparison of one channel.

    Attributes:
        song: name of the file.
        channel: from 1.
        programs: General MIDI programs of its notes, from 1; empty for drums.
        moves: whether controller 7 or 11 moves while or between its notes sound.
        sustained: whether all its instruments are.
        frames: number of frames compared.
        correlation: Pearson's, of levels in dB; nan where one of the curves is constant.
        effect: the same of the change in level by 7 and 11; nan where they do not move.
        difference: root mean square of the difference between these changes, in dB.
    """

    song: str
    channel: int
    programs: tuple[int, ...]
    moves: bool
    sustained: bool
    frames: int
    correlation: float
    effect: float
    difference: float


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__)
    options.set_defaults(checkpoint="mini")
    options.add_argument("files", nargs="*", type=Path, help="MIDI files (default: 30 of ../shared, and made ones)")
    options.add_argument("--seconds", type=float, default=40.0, help="length of each file that is played (default: 40)")
    options.add_argument("--soundfont", type=Path, default=SOUNDFONT, metavar="SF2", help="(default: Debian's)")
    args = options.parse_args(argv)
    program = shutil.which("fluidsynth")
    if not program or not args.soundfont.exists():
        sys.exit(
            "fluidsynth or its soundfont is not installed (Debian: apt-get install fluidsynth fluid-soundfont-gm)."
        )
    synth = gansynth.Synthesizer.from_checkpoint(args.checkpoint)
    results: list[Result] = []
    titles = f"{'song':40} {'channel':>7} {'programs':16} {'7/11':5} {'sustained':9} {'frames':>6}"
    print(f"{titles} {'r':>6} {'effect':>6} {'dB':>5}")
    with scratch() as folder:
        songs = [(path.name, path.read_bytes()) for path in args.files] or list(default_songs())
        for name, data in songs:
            for channel, alone in channels(data, args.seconds):
                found = compare(name, channel, alone, synth, [program, str(args.soundfont)], folder)
                if found is None:
                    continue
                results.append(found)
                played = ", ".join(map(str, found.programs[:4])) or "drums"
                marks = "moves" if found.moves else "", "yes" if found.sustained else ""
                low = "  <--" if found.moves and found.sustained and not found.correlation >= WANTED else ""
                print(
                    f"{name[:40]:40} {channel + 1:7} {played:16} {marks[0]:5} {marks[1]:9} {found.frames:6} "
                    f"{found.correlation:6.3f} {found.effect:6.3f} {found.difference:5.2f}{low}",
                    flush=True,
                )
    for title, chosen in (
        ("sustained, 7 or 11 moves", [r for r in results if r.sustained and r.moves]),
        ("sustained, still", [r for r in results if r.sustained and not r.moves]),
        ("others, 7 or 11 moves", [r for r in results if not r.sustained and r.moves]),
        ("others, still", [r for r in results if not r.sustained and not r.moves]),
    ):
        values = np.array([r.correlation for r in chosen if np.isfinite(r.correlation)])
        if len(values):
            enough = int((values >= WANTED).sum())
            print(
                f"{title}: {len(values)} channels, median r {np.median(values):.3f}, lowest {values.min():.3f}, ",
                end="",
            )
            print(f"{enough} at least {WANTED}")
        effects = np.array([r.effect for r in chosen if np.isfinite(r.effect)])
        if len(effects):
            enough = int((effects >= WANTED).sum())
            print(
                f"    effect: median r {np.median(effects):.3f}, lowest {effects.min():.3f}, {enough} at least {WANTED}"
            )
    if args.json:
        Path(args.json).write_text(json.dumps([asdict(result) for result in results], indent=1))


def channels(data: bytes, seconds: float) -> Iterator[tuple[int, bytes]]:
    """Cuts out of a file each channel that has notes, as a file of its own of one track with ticks of 1 ms."""
    try:
        messages = list(mido.MidiFile(file=io.BytesIO(data), clip=True))
    except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError):
        return  # mido is stricter than we are
    times = list(itertools.accumulate(message.time for message in messages))
    used = {m.channel for m, time in zip(messages, times, strict=True) if m.type == "note_on" and time < seconds}
    for channel in sorted(used):
        file = mido.MidiFile(ticks_per_beat=1000)
        track, now = file.add_track(), 0
        track.append(mido.MetaMessage("set_tempo", tempo=1_000_000))
        for message, time in zip(messages, times, strict=True):
            if time < seconds and (message.type == "sysex" or getattr(message, "channel", None) == channel):
                tick = round(1000 * time)
                track.append(message.copy(time=tick - now))
                now = tick
        end = round(1000 * min(seconds, times[-1]))
        track.append(mido.Message("control_change", channel=channel, control=64, value=0, time=max(0, end - now)))
        track.append(mido.Message("control_change", channel=channel, control=123, value=0))
        buffer = io.BytesIO()
        file.save(file=buffer)
        yield channel, buffer.getvalue()


def compare(
    name: str, channel: int, data: bytes, synth: gansynth.Synthesizer, fluidsynth: Sequence[str], folder: Path
) -> Result | None:
    """Plays one channel twice and correlates the curves; None if one of both plays nothing."""
    try:
        song = load_midi(data)
        mine, reference = perform(song, synth, SOUND).audio, play(data, fluidsynth, folder)
    except MidiError:
        return None
    if not reference.any():
        return None
    notes = song.notes
    gain = next(iter(song.channels.values())).gain if song.channels else Timeline()
    moves = bool((gain.times > notes.start.min()).any())
    programs = tuple(np.unique(notes.program[~notes.is_drum]).tolist())
    sounds = [mine, reference]
    if moves:
        still = without_volume(data)
        sounds += [perform(still, synth, SOUND).audio, play(still, fluidsynth, folder)]
    ours, theirs, *plain = curves = levels(sounds)
    heard = theirs > theirs.max() - RANGE
    ours, theirs = (np.maximum(curve - curve.max(), -RANGE)[heard] for curve in (ours, theirs))
    changes = [ours, theirs]
    if moves:
        both = heard & np.logical_and(*(curve > curve.max() - RANGE for curve in plain))
        changes = [(loud - flat)[both] for loud, flat in zip(curves[:2], plain, strict=True)]
        changes = [change - change.mean() for change in changes]
    return Result(
        song=name,
        channel=channel + 1,
        programs=tuple(program + 1 for program in programs),
        moves=moves,
        sustained=bool(programs) and not notes.is_drum.any() and SUSTAINED.issuperset(programs),
        frames=int(heard.sum()),
        correlation=pearson(ours, theirs),
        effect=pearson(*changes) if moves else math.nan,
        difference=float(np.sqrt(np.square(changes[0] - changes[1]).mean())) if moves else math.nan,
    )


def pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Computes the correlation of two curves; nan where one is constant."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.corrcoef(one, other)[0, 1])


def without_volume(data: bytes) -> bytes:
    """Leaves out controllers 7 and 11 of a file from `channels`."""
    file = mido.MidiFile(file=io.BytesIO(data))
    (track,) = file.tracks
    kept, waiting = mido.MidiTrack(), 0
    for message in track:
        waiting += message.time
        if message.type != "control_change" or message.control not in (7, 11):
            kept.append(message.copy(time=waiting))
            waiting = 0
    file.tracks = [kept]
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def play(data: bytes, fluidsynth: Sequence[str], folder: Path) -> NDArray[np.float32]:
    """Renders a file with FluidSynth to mono, without reverb and chorus."""
    midi, target = folder / "channel.mid", folder / "channel.wav"
    midi.write_bytes(data)
    command = [fluidsynth[0], "-ni", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(RATE), "-O", "float"]
    subprocess.run(
        [*command, "-T", "wav", "-F", str(target), fluidsynth[1], str(midi)], check=True, capture_output=True
    )
    audio, _ = soundfile.read(target, dtype="float32", always_2d=True)
    return audio.mean(axis=1, dtype=np.float32)


def levels(sounds: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float64]]:
    """Computes the level of each frame in dB, at least -120, of sounds that are padded to one length."""
    samples = max(map(len, sounds))
    samples += -samples % FRAME
    padded = [np.pad(sound.astype(np.float64), (0, samples - len(sound))) for sound in sounds]
    return [10 * np.log10(np.square(one.reshape(-1, FRAME)).mean(axis=1) + 1e-12) for one in padded]


def default_songs() -> Iterator[tuple[str, bytes]]:
    """Lists 30 files: all of ../shared/midi/good, some of ../shared/channels and the corpus, and made ones."""
    names = ("cc7_three_levels", "cc11_crescendo", "cc7_zero_muted_part", "sostenuto_cc66")
    paths = [path for path in sorted((SHARED / "midi" / "good").glob("*.mid")) if "all-gm" not in path.name]
    paths += [SHARED / "channels" / f"{name}.mid" for name in names]
    paths += sorted((SHARED / "corpus").glob("**/*.mid"))[:2]
    songs = [(path.name, path.read_bytes()) for path in paths if path.is_file()]
    yield from songs[:24]
    for number in range(30 - len(songs[:24])):
        yield f"made-{number + 1}", made_song(number)


def made_song(seed: int) -> bytes:
    """Makes a song of four sustained parts whose volume and expression fade, swell and jump, half a minute long."""
    random = np.random.default_rng(seed)
    file = mido.MidiFile(ticks_per_beat=1000)
    file.add_track().append(mido.MetaMessage("set_tempo", tempo=1_000_000))
    programs = random.choice([16, 19, 40, 42, 48, 52, 56, 60, 68, 71, 73, 79, 81, 89], 4, replace=False)
    for channel, program in enumerate(programs.tolist()):
        events: list[tuple[int, int, mido.Message]] = [
            (0, 0, mido.Message("program_change", channel=channel, program=program))
        ]
        now = 500
        while now < 30_000:
            length = int(random.integers(300, 4000))
            pitch = int(random.integers(48, 80))
            for key in (pitch, pitch + 7)[: random.integers(1, 3)]:
                velocity = int(random.integers(50, 120))
                events.append((now, 2, mido.Message("note_on", channel=channel, note=key, velocity=velocity)))
                events.append((now + length, 1, mido.Message("note_off", channel=channel, note=key)))
            now += length + int(random.integers(0, 400))
        control = (7, 11)[channel % 2]
        value, time = 100.0, 0
        while time < 30_000:
            target, steps = float(random.integers(20, 127)), int(random.integers(1, 40))
            for step in range(steps):
                now_value = round(value + (target - value) * (step + 1) / steps)
                message = mido.Message("control_change", channel=channel, control=control, value=now_value)
                events.append((time + 50 * step, 0, message))
            value, time = target, time + 50 * steps + int(random.integers(0, 2000))
        track, tick = file.add_track(), 0
        for time, _, message in sorted(events, key=lambda event: event[:2]):
            track.append(message.copy(time=time - tick))
            tick = time
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
