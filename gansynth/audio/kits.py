"""Drum kits: one-shots by key, exclusive groups in which a later hit cuts an earlier one, and lengths of hits."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError

from gansynth.audio.resample import resampled
from gansynth.errors import ConfigError
from gansynth.io import files, listing, structured, urls

BUNDLED = {"standard": Path(__file__).parent.parent / "kits" / "standard"}
"""Kits that come with the package, made by `python -m training kits`."""
KEYS = range(27, 88)
"""Keys of the drum sounds of General MIDI 2, which include those of General MIDI 1, 35..81."""
PROGRAMS = {
    "standard": 0,
    "room": 8,
    "power": 16,
    "electronic": 24,
    "tr808": 25,
    "jazz": 32,
    "brush": 40,
    "orchestra": 48,
}
"""Variants of a kit by the drum channel's program. Source: General MIDI 2 (MMA RP-024), percussion sets."""
_COMMON_GROUPS = {71: 2, 72: 2, 73: 3, 74: 3, 78: 4, 79: 4, 80: 5, 81: 5, 86: 6, 87: 6}
GROUPS = {42: 1, 44: 1, 46: 1, 29: 7, 30: 7, **_COMMON_GROUPS}
"""Exclusive group by key: hi-hats, scratches, whistles, guiros, cuicas, triangles, surdos.

Source: General MIDI 2 (MMA RP-024), percussion sound set, with its numbers of exclusive classes.
"""
ORCHESTRA_GROUPS = {27: 1, 28: 1, 29: 1, **_COMMON_GROUPS}
"""Exclusive groups of the orchestra set, which has hi-hats on 27..29 and timpani on 42..46."""
INDEX = "index.yaml"
"""File of a kit that lists the sounds shared between variants."""
KIT_GAIN = 2.36
"""Factor for a kit's sounds, to balance them with the network's notes of peak 1: at the same velocity, notes of the
soundfont FluidR3 have a median peak of -7.4 dB on the scale of the kit's sounds."""
FADE_SECONDS = 0.005
"""Length in seconds of the fade of a hit that is cut."""
_SUFFIXES = (".wav", ".flac")
_MAX_FILES = 2048
_MAX_FILE_BYTES = 32 << 20
_MAX_INDEX_BYTES = 1 << 20
_MAX_SECONDS = 30
_MAX_TOTAL_SECONDS = 900
_RATES = range(8000, 192001)
_MAX_PEAK = 4.0


@dataclass(frozen=True)
class Kit:
    """A set of drum one-shots.

    Attributes:
        name: name or folder that it was loaded from; for a variant, its name in PROGRAMS.
        digest: sha256 of all sounds, including those of the variants; the same for each variant.
        sample_rate: of the sounds, in Hz.
        sounds: key 0..127 to float32 [samples], mono, at the level of velocity 127; read-only.
        groups: key to number of its exclusive group; keys without a group are left out.
        variants: program to the variant's kit; empty for a variant.
    """

    name: str
    digest: str
    sample_rate: int
    sounds: Mapping[int, NDArray[np.float32]] = field(repr=False)
    groups: Mapping[int, int] = field(repr=False)
    variants: Mapping[int, Kit] = field(default_factory=dict, repr=False)

    def for_program(self, program: int) -> Kit:
        """Selects the variant for a drum channel's program, or the nearest lower one of the same eight programs.

        Args:
            program: 0..127.

        Returns:
            The variant; the kit itself, the standard one, if there is none.
        """
        lower = [number for number in self.variants if program // 8 * 8 <= number <= program]
        return self.variants[max(lower)] if lower else self

    def missing(self, keys: Iterable[int]) -> tuple[int, ...]:
        """Lists the keys for which the kit has no sound, each once, ascending."""
        return tuple(sorted({int(key) for key in keys} - self.sounds.keys()))

    def hit(self, key: int, samples: int) -> NDArray[np.float32]:
        """Returns the sound of a hit.

        Args:
            key: 0..127.
            samples: length of the hit, as given by `hit_samples`.

        Returns:
            float32 [samples], or fewer samples if the sound is shorter; faded out if it is cut.

        Raises:
            KeyError: the kit has no sound for the key.
        """
        sound = self.sounds[key]
        if samples >= len(sound):
            return sound
        cut = sound[:samples].copy()
        fade = min(fade_samples(self.sample_rate), samples)
        cut[samples - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
        return cut


def fade_samples(sample_rate: int) -> int:
    """Counts the samples of the fade of a hit that is cut."""
    return int(FADE_SECONDS * sample_rate)


def hit_samples(
    kit: Kit,
    start: NDArray[np.int64],
    key: NDArray[np.integer],
    program: NDArray[np.integer],
    channel: NDArray[np.integer],
) -> NDArray[np.int64]:
    """Counts the samples that each hit of a song sounds for.

    A hit sounds to the end of its sound, regardless of its note-off, or until a short fade after the next hit of its
    exclusive group on its channel. Hits at the same sample do not cut each other, so the order of notes does not
    matter.

    Args:
        kit: the song's kit, with its variants.
        start: int64 [n], first sample of each hit in the clip, in any order.
        key: int [n], 0..127.
        program: int [n], the drum channel's program at each hit, 0..127.
        channel: int [n], any numbers; hits of different channels do not cut each other.

    Returns:
        int64 [n]; 0 for keys without a sound.
    """
    lengths = np.zeros((128, 128), np.int64)
    groups = np.full((128, 128), -1, np.int64)
    for number in np.unique(program).tolist():
        variant = kit.for_program(number)
        for k, sound in variant.sounds.items():
            lengths[number, k] = len(sound)
            groups[number, k] = variant.groups.get(k, -1)
    samples, group = lengths[program, key], groups[program, key]
    fade = fade_samples(kit.sample_rate)
    for one in np.unique(channel).tolist():
        for number in np.unique(group[group >= 0]).tolist():
            members = np.flatnonzero((channel == one) & (group == number))
            starts = np.unique(start[members])
            later = np.searchsorted(starts, start[members], side="right")
            is_cut = later < len(starts)
            cut = members[is_cut]
            samples[cut] = np.minimum(samples[cut], starts[later[is_cut]] - start[cut] + fade)
    return samples


@functools.lru_cache(maxsize=4)
def shared_kit(name_or_folder: str, sample_rate: int) -> Kit:
    """Reads a kit once per process; see `load_kit`."""
    return load_kit(name_or_folder, sample_rate)


def load_kit(name_or_folder: str, sample_rate: int) -> Kit:
    """Reads a kit.

    Args:
        name_or_folder: a name in BUNDLED, or a folder (path or fsspec URL) with files KEY.wav or KEY.flac, where KEY is
            a MIDI key 0..127, of any sample rate, mono or stereo. Sub-folders named as in PROGRAMS contain the sounds
            of variants; missing keys of a variant are taken from the folder itself. A file index.yaml (variant to key
            to [file, gain in dB]) adds keys that share the file of another key. Files of other formats, and files whose
            names begin with a dot, are not read.
        sample_rate: sample rate of the returned sounds, in Hz; the files are resampled.

    Raises:
        ConfigError: the kit cannot be read; the message names the file and the defect.
    """
    folder = str(BUNDLED.get(name_or_folder, name_or_folder))
    try:
        entries = _entries(folder)
        reader = _Reader(folder, sample_rate)
        own = {
            variant: {key: reader.sound(*entry) for key, entry in sorted(sounds.items())}
            for variant, sounds in sorted(entries.items())
        }
    except OSError as error:
        raise ConfigError(f"drums.kit {name_or_folder}: cannot be read ({urls.reason(error, folder)}).") from None
    digest = _digest(entries, reader.digests)
    standard = own.pop("standard")
    variants = {
        PROGRAMS[name]: Kit(
            name, digest, sample_rate, standard | sounds, ORCHESTRA_GROUPS if name == "orchestra" else GROUPS
        )
        for name, sounds in own.items()
    }
    return Kit(name_or_folder, digest, sample_rate, standard, GROUPS, variants)


def _entries(folder: str) -> dict[str, dict[int, tuple[str, float]]]:
    """Lists the sounds of a kit: variant to key to file, relative to the folder, and gain in dB."""
    found: dict[str, dict[int, tuple[str, float]]] = {"standard": {}}
    base = urls.filesystem(folder)[1]
    has_index = False
    for count, (url, _) in enumerate(listing.find(folder)):
        if count >= _MAX_FILES:
            raise ConfigError(f"drums.kit {folder}: contains more than {_MAX_FILES} files; a kit needs its own folder.")
        path = urls.filesystem(url)[1].removeprefix(base).lstrip("/")
        has_index |= path == INDEX
        if not path.lower().endswith(_SUFFIXES) or path.rsplit("/", 1)[-1].startswith("."):
            continue
        match = re.fullmatch(r"(?:(\w+)/)?([0-9]{1,3})\.\w+", path)
        variant = (match[1] or "standard") if match else ""
        if match is None or int(match[2]) > 127 or variant not in PROGRAMS:
            raise ConfigError(
                f"drums.kit {url}: is not named KEY.wav or VARIANT/KEY.wav (or .flac) with a MIDI key 0..127 and one "
                f"of the variants {', '.join(PROGRAMS)}; rename or remove it."
            )
        _add(found, variant, int(match[2]), (path, 0.0), url)
    if has_index:
        url = urls.join(folder, INDEX)
        known = {path for sounds in found.values() for path, _ in sounds.values()}
        for variant, sounds in _index(url).items():
            for key, entry in sounds.items():
                if entry[0] not in known:
                    raise ConfigError(f"drums.kit {url}: {variant} {key}: the folder has no sound {entry[0]!r}.")
                _add(found, variant, key, entry, url)
    if not found["standard"]:
        raise ConfigError(
            f"drums.kit {folder}: is neither a bundled kit ({', '.join(BUNDLED)}) nor a folder with sounds named "
            "KEY.wav or KEY.flac, such as 36.wav for the bass drum."
        )
    return found


def _add(
    found: dict[str, dict[int, tuple[str, float]]], variant: str, key: int, entry: tuple[str, float], url: str
) -> None:
    sounds = found.setdefault(variant, {})
    if key in sounds:
        raise ConfigError(f"drums.kit {url}: {variant} {key} already has a sound, {sounds[key][0]}; keep one of them.")
    sounds[key] = entry


_Index = TypeAdapter(
    dict[
        Literal["standard", "room", "power", "electronic", "tr808", "jazz", "brush", "orchestra"],
        dict[
            Annotated[int, Field(ge=0, le=127)],
            tuple[str, Annotated[float, Field(ge=-40, le=40, allow_inf_nan=False)]],
        ],
    ]
)


def _index(url: str) -> dict[Any, dict[int, tuple[str, float]]]:
    """Reads an index.yaml: variant to key to file and gain in dB."""
    data = files.read_bytes(url, _MAX_INDEX_BYTES + 1)
    if len(data) > _MAX_INDEX_BYTES:
        raise ConfigError(f"drums.kit {url}: is larger than {_MAX_INDEX_BYTES >> 20} MiB.")
    try:
        return _Index.validate_python(structured.parse_yaml(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(str(part) for part in first["loc"])
        raise ConfigError(f"drums.kit {url}: {where}: {first['msg']}.") from None
    except ValueError as error:
        raise ConfigError(f"drums.kit {url}: is not valid YAML ({error}).") from None


@dataclass
class _Reader:
    """A reader of a kit's sounds, each only once.

    Attributes:
        folder: folder of the kit.
        sample_rate: sample rate of the returned sounds, in Hz.
        digests: sha256 of each file that was read.
        seconds: total length of the sounds so far.
    """

    folder: str
    sample_rate: int
    digests: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    _sounds: dict[tuple[str, float], NDArray[np.float32]] = field(default_factory=dict)

    def sound(self, path: str, gain: float) -> NDArray[np.float32]:
        """Returns the sound of a file in the folder, changed by `gain` dB."""
        found = self._sounds.get((path, gain))
        if found is None:
            found = self._read(path) if not gain else self.sound(path, 0.0) * np.float32(10.0 ** (gain / 20.0))
            found.setflags(write=False)
            self.seconds += len(found) / self.sample_rate
            if self.seconds > _MAX_TOTAL_SECONDS:
                raise ConfigError(
                    f"drums.kit {self.folder}: has more than {_MAX_TOTAL_SECONDS} s of sound; shorten its files."
                )
            self._sounds[path, gain] = found
        return found

    def _read(self, path: str) -> NDArray[np.float32]:
        url = urls.join(self.folder, path)
        data = files.read_bytes(url, _MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ConfigError(f"drums.kit {url}: is larger than {_MAX_FILE_BYTES >> 20} MiB; shorten it.")
        self.digests[path] = hashlib.sha256(data).hexdigest()
        audio, rate = _decoded(data, url)
        mono = audio.mean(axis=1, dtype=np.float32)
        return np.concatenate(list(resampled([mono], 1, rate, self.sample_rate)))


def _decoded(data: bytes, url: str) -> tuple[NDArray[np.float32], int]:
    """Decodes a WAV or FLAC file: float32 [samples, channels], and the sample rate in Hz."""
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.format not in ("WAV", "WAVEX", "FLAC"):
                raise ConfigError(f"drums.kit {url}: is {file.format}, not WAV or FLAC.")
            if file.samplerate not in _RATES:
                raise ConfigError(
                    f"drums.kit {url}: has {file.samplerate} Hz; {_RATES.start} to {_RATES.stop - 1} can be read."
                )
            if file.channels > 2:
                raise ConfigError(f"drums.kit {url}: has {file.channels} channels; make it mono or stereo.")
            audio, rate = file.read(_MAX_SECONDS * file.samplerate + 1, "float32", always_2d=True), file.samplerate
    except soundfile.SoundFileError as error:
        raise ConfigError(f"drums.kit {url}: is not a readable WAV or FLAC file ({error}).") from None
    if len(audio) > _MAX_SECONDS * rate:
        raise ConfigError(f"drums.kit {url}: is longer than {_MAX_SECONDS} s; shorten it.")
    if not len(audio):
        raise ConfigError(f"drums.kit {url}: contains no samples; remove it.")
    if not np.abs(audio).max() <= _MAX_PEAK:
        raise ConfigError(
            f"drums.kit {url}: has samples that are not finite or above {_MAX_PEAK:.0f}; bring it to -1..1."
        )
    return audio, rate


def _digest(entries: Mapping[str, Mapping[int, tuple[str, float]]], digests: Mapping[str, str]) -> str:
    """Computes the sha256 of the sounds by variant and key, independent of the names of files."""
    content = [
        (variant, key, digests[path], gain)
        for variant, sounds in sorted(entries.items())
        for key, (path, gain) in sorted(sounds.items())
    ]
    return "sha256:" + hashlib.sha256(json.dumps(content).encode()).hexdigest()
