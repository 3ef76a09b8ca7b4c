"""Sounds: the audio shared by all notes of one latent and pitch; each is rendered once, as long as it is needed.

A note's samples have the same bits in every bucket, so the beginning of a long rendering serves shorter notes. Where
a machine's kernels differ (see `SoundSource.serves_shorter`), each bucket has a sound of its own.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gansynth.model.sound_bank import DamagedSoundError, SoundBank

_LOG = logging.getLogger(__name__)
Sound = tuple[bytes, int]
"""Key of a sound: the bytes of its float32 latent, and its MIDI pitch."""
Want = tuple[Sound, int]
"""A sound and the bucket, in rows, of the longest note that needs it."""


@dataclass
class Tally:
    """Counts of rendering work.

    Attributes:
        notes: notes played.
        rendered: sounds used for the first time; divided by `slots`, the fill of the batches.
        cached: sounds found in the cache after an earlier use.
        banked: sounds read from the sound bank on disk.
        damaged: sounds of the bank that failed their checksum and were rendered again.
        slots: places in batches, all of which the network computes.
        batches: batches rendered.
        network_microseconds: time in the network, from latents to waveforms.
    """

    notes: int = 0
    rendered: int = 0
    cached: int = 0
    banked: int = 0
    damaged: int = 0
    slots: int = 0
    batches: int = 0
    network_microseconds: int = 0

    def add(self, other: Tally) -> None:
        """Adds the counts of `other` to these."""
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)


class SoundCache:
    """A least-recently-used cache of sounds, bounded in bytes; safe to share between threads.

    Attributes:
        limit: highest number of bytes held; 0 disables the cache.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sounds: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()
        self._ahead: set[Hashable] = set()
        self._bytes = 0
        self._lock = threading.Lock()

    def has(self, key: Hashable, samples: int) -> bool:
        """Returns whether at least `samples` samples of a sound are cached."""
        sound = self._sounds.get(key)
        return sound is not None and len(sound) >= samples

    def get(self, key: Hashable, samples: int = 0) -> NDArray[np.float32] | None:
        """Returns a sound, float32 [at least `samples`], or None if it is not cached at this length."""
        with self._lock:
            sound = self._sounds.get(key)
            if sound is None or len(sound) < samples:
                return None
            self._sounds.move_to_end(key)
            return sound

    def first_use(self, key: Hashable) -> bool:
        """Returns whether a sound was cached ahead of need and is now used for the first time."""
        with self._lock:
            ahead = key in self._ahead
            self._ahead.discard(key)
            return ahead

    def put(self, key: Hashable, sound: NDArray[np.float32], ahead: bool = False) -> None:
        """Stores a copy of a sound, replacing a shorter one and evicting the least recently used ones.

        Args:
            key: sound, or sound and bucket.
            sound: float32 [samples].
            ahead: True if no note has needed the sound yet.
        """
        with self._lock:
            known = self._sounds.get(key)
            if sound.nbytes > self.limit or (known is not None and len(known) >= len(sound)):
                return
            if known is not None:
                self._bytes -= known.nbytes
            self._sounds[key] = sound.copy()
            self._sounds.move_to_end(key)
            self._bytes += sound.nbytes
            if ahead and known is None:
                self._ahead.add(key)
            while self._bytes > self.limit:
                old, dropped = self._sounds.popitem(last=False)
                self._bytes -= dropped.nbytes
                self._ahead.discard(old)


class SoundSource(Protocol):
    """A provider of sounds for `player.play`.

    Attributes:
        sample_rate: in Hz.
        note_samples: samples of a whole note.
    """

    sample_rate: int
    note_samples: int

    @property
    def serves_shorter(self) -> bool:
        """True if a sound has the same bits in every bucket, so that the longest one serves all notes."""

    def bucket(self, samples: int) -> int:
        """Returns the rows to render a note of `samples` samples with."""

    def samples_of(self, bucket: int) -> int:
        """Returns the number of samples of a sound of `bucket` rows."""

    def sounds(self, wanted: Collection[Want], tally: Tally) -> Iterator[tuple[Want, NDArray[np.float32]]]:
        """Yields distinct sounds, from a cache or rendered, and adds the work to `tally`.

        Yields:
            What was wanted and its audio, float32 [at least the samples of its bucket], in any order.
        """


class StoredSource(ABC):
    """A SoundSource that looks for sounds in its cache and in the sound bank; subclasses make those that are missing.

    Attributes:
        cache: sounds used before.
        bank: sounds on disk, None for no bank.
        collection: name of what this machine renders, see kernels.collection_of.
    """

    cache: SoundCache
    bank: SoundBank | None = None
    collection: str = ""
    serves_shorter: bool = True

    @abstractmethod
    def samples_of(self, bucket: int) -> int:
        """Implements SoundSource.samples_of."""

    @abstractmethod
    def make(self, wanted: list[Want], tally: Tally) -> Iterator[tuple[Want, NDArray[np.float32]]]:
        """Yields sounds that are neither in the cache nor in the bank, and stores them."""

    def sounds(self, wanted: Collection[Want], tally: Tally) -> Iterator[tuple[Want, NDArray[np.float32]]]:
        """Implements SoundSource.sounds.

        Raises:
            MissingSoundError: a built bank lacks sounds, and those of this machine would have other bits.
        """
        missing: list[Want] = []
        if self.bank is not None:
            self.bank.refresh()
        for want in wanted:
            audio = self._stored(want, tally)
            if audio is None:
                missing.append(want)
            else:
                yield want, audio
        if missing:
            if self.bank is not None:
                self.bank.check_kernels(self.collection, missing)
            yield from self.make(missing, tally)

    def key(self, want: Want) -> Sound | Want:
        """Returns the key under which a sound is stored: with its bucket where longer sounds do not serve shorter."""
        return want[0] if self.serves_shorter else want

    def _stored(self, want: Want, tally: Tally) -> NDArray[np.float32] | None:
        key, samples = self.key(want), self.samples_of(want[1])
        audio = self.cache.get(key, samples)
        if audio is not None:
            first = self.cache.first_use(key)
            tally.rendered += first
            tally.cached += not first
            return audio
        if self.bank is None:
            return None
        try:
            audio = self.bank.get(key, samples)
        except DamagedSoundError as error:
            _LOG.warning("%s; it must be rendered again", error)
            tally.damaged += 1
            return None
        tally.banked += audio is not None
        return audio


class Renderer(StoredSource):
    """A StoredSource that renders batches, and fills empty slots with sounds likely to be needed soon.

    Attributes:
        pitches: MIDI pitches that can be rendered.
        expected: sounds, and the bucket of the longest note that will need each; they are rendered that long at once.
    """

    pitches: range
    expected: Mapping[Sound, int] = MappingProxyType({})

    def expect(self, sounds: Mapping[Sound, int]) -> None:
        """Sets `expected`, the longest first."""
        self.expected = dict(sorted(sounds.items(), key=lambda one: -one[1]))

    @abstractmethod
    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        """Yields the batch sizes for `notes` notes of a bucket."""

    @abstractmethod
    def batches(
        self, z: NDArray[np.float32], pitches: NDArray[np.int32], bucket: int
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Renders notes batch by batch.

        Args:
            z: float32 [n, latent size].
            pitches: int32 [n], MIDI pitches.
            bucket: rows to render.

        Yields:
            The range of notes, and their audio, float32 [notes, samples of the bucket].
        """

    def make(self, wanted: list[Want], tally: Tally) -> Iterator[tuple[Want, NDArray[np.float32]]]:
        """Implements StoredSource.make: the longest first, so that shorter ones fill the slots that these leave."""
        tally.rendered += len(wanted)
        expected = self.expected if self.serves_shorter else {}
        rows = {want: max(want[1], expected.get(want[0], 0)) for want in wanted}
        queue = sorted(wanted, key=lambda want: -rows[want])
        while queue:
            bucket = rows[queue[0]]
            count = sum(rows[want] == bucket for want in queue)
            sizes = list(self.batch_sizes(bucket, count))
            tally.batches += len(sizes)
            tally.slots += sum(sizes)
            taken = queue[: sum(sizes) if self.serves_shorter else count]
            del queue[: len(taken)]
            yield from self._render(taken, bucket, sum(sizes) - len(taken), tally)

    def _render(
        self, wanted: Sequence[Want], bucket: int, empty: int, tally: Tally
    ) -> Iterator[tuple[Want, NDArray[np.float32]]]:
        """Renders sounds of one bucket; fills `empty` slots with sounds that are likely to be needed soon."""
        rendered = [sound for sound, _ in wanted]
        rendered += self._expected(rendered, bucket, empty)
        rendered += self._neighbours(rendered, bucket, empty - (len(rendered) - len(wanted)))
        z = np.stack([np.frombuffer(latent, np.float32) for latent, _ in rendered])
        pitches = np.array([pitch for _, pitch in rendered], np.int32)
        began = time.perf_counter()
        for where, batch in self.batches(z, pitches, bucket):
            tally.network_microseconds += int(1e6 * (time.perf_counter() - began))
            for n, audio in enumerate(batch, where.start):
                key = self.key((rendered[n], bucket))
                if self.bank is not None:
                    self.bank.put(key, audio)
                if self.bank is None or not self.bank.is_writable:  # otherwise the bank's file is mapped into memory
                    self.cache.put(key, audio, ahead=n >= len(wanted))
                if n < len(wanted):
                    yield wanted[n], audio
            began = time.perf_counter()

    def _expected(self, sounds: Sequence[Sound], bucket: int, count: int) -> list[Sound]:
        """Chooses sounds for slots that would stay empty: expected ones that a sound of this bucket will serve."""
        if not count or not self.serves_shorter or (not self.cache.limit and self.bank is None):
            return []
        known = set(sounds)
        missing = (
            sound
            for sound, rows in self.expected.items()
            if rows <= bucket and sound not in known and not self._has(self.key((sound, rows)), self.samples_of(rows))
        )
        return list(itertools.islice(missing, count))

    def _neighbours(self, sounds: Sequence[Sound], bucket: int, count: int) -> list[Sound]:
        """Chooses sounds for slots that would stay empty: the same latents at the nearest pitches."""
        found: list[Sound] = []
        if not self.cache.limit or not count:
            return found
        known, samples = set(sounds), self.samples_of(bucket)
        for distance in range(1, len(self.pitches)):
            for latent, pitch in sounds:
                for near in pitch + distance, pitch - distance:
                    sound = latent, near
                    if near not in self.pitches or sound in known or self._has(self.key((sound, bucket)), samples):
                        continue
                    known.add(sound)
                    found.append(sound)
                    if len(found) == count:
                        return found
        return found

    def _has(self, key: Sound | Want, samples: int) -> bool:
        """Returns whether a sound is stored already."""
        return self.cache.has(key, samples) or (self.bank is not None and self.bank.has(key, samples))
