"""The events of a MIDI file in the order in which a synthesizer gets them, and when each is.

Sources: Standard MIDI Files 1.0 (MMA RP-001); device names (RP-019); the numbers of controllers, MIDI 1.0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansynth.midi import smf

TICKS = 1 << 40
"""No file may have so many: more than nine hours at any tempo and division."""
PORT, SEQUENCE = 16, 16 * 256
"""Steps between the numbers of the channels of one port, and of one sequence, and those of the next."""

_IGNORED = {
    1: "modulation",
    2: "breath",
    4: "foot_controller",
    5: "portamento",
    8: "balance",
    65: "portamento",
    67: "soft_pedal",
    68: "legato_pedal",
    69: "hold_2",
    84: "portamento",
    **dict.fromkeys(range(33, 38), "fine_values"),
    **dict.fromkeys(range(39, 64), "fine_values"),
    **dict.fromkeys(range(70, 80), "sound_controllers"),
    **dict.fromkeys(range(91, 96), "effect_levels"),
    122: "local_control",
}
"""Controllers without effect here, by number; those that are not here and have no effect are other_controllers."""
_HEARD = (0, 6, 7, 10, 11, 32, 38, 64, 66, 96, 97, 98, 99, 100, 101, 120, 121, 123, 124, 125, 126, 127)
_IS_HEARD = np.isin(np.arange(128), _HEARD)
_CONTROLLERS = [None if c in _HEARD else _IGNORED.get(c, "other_controllers") for c in range(128)]


@dataclass(frozen=True)
class Events:
    """Every event of a file in the order in which a synthesizer gets them; its place there is an event's number.

    Attributes:
        tick: int64 [n].
        kind: uint8 [n], status byte without its channel.
        channel: int64 [n], sequence * 4096 + port * 16 + channel, all from 0.
        first, second: uint8 [n], data bytes.
        track: int32 [n].
        message: int64 [n], of the system exclusive message, counted over all tracks.
        messages: (first byte, last byte + 1) of the bodies of these.
    """

    tick: NDArray[np.int64]
    kind: NDArray[np.uint8]
    channel: NDArray[np.int64]
    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    track: NDArray[np.int32]
    message: NDArray[np.int64]
    messages: list[tuple[int, int]]

    @classmethod
    def of(cls, scan: smf.Scan) -> Events:
        """Merges the tracks of a file, or counts its sequences."""
        tracks = scan.tracks
        counts = np.array([len(track.ticks) for track in tracks])
        tick = np.concatenate([np.frombuffer(track.ticks, np.int64) for track in tracks])
        word = np.concatenate([np.frombuffer(track.words, np.uint32) for track in tracks])
        owner = np.repeat(np.arange(len(tracks), dtype=np.int32), counts)
        status = (word >> 16).astype(np.uint8)
        message = np.cumsum((status == 0xF0) | (status == 0xF7)) - 1
        channel = (status & 15).astype(np.int64)
        ports = _ports(tracks, counts)
        if ports is not None:
            channel += PORT * ports
        if scan.kind == 2:
            channel += SEQUENCE * owner.astype(np.int64)
        if scan.kind != 2 and len(tracks) > 1:
            order = np.lexsort((_strikes(tick, word, owner), tick))
            tick, word, status, channel = tick[order], word[order], status[order], channel[order]
            owner, message = owner[order], message[order]
        return cls(
            tick=tick,
            kind=np.where(status < 0xF0, status & 0xF0, status).astype(np.uint8),
            channel=channel,
            first=(word >> 8 & 127).astype(np.uint8),
            second=(word & 127).astype(np.uint8),
            track=owner,
            message=message,
            messages=[body for track in tracks for body in track.messages],
        )

    @property
    def struck(self) -> NDArray[np.bool_]:
        """Which are note-ons."""
        return (self.kind == 0x90) & (self.second > 0)

    @property
    def released(self) -> NDArray[np.bool_]:
        """Which are note-offs."""
        return (self.kind == 0x80) | ((self.kind == 0x90) & (self.second == 0))

    def ignored(self) -> Counter[str]:
        """How many there are of each kind that never has an effect."""
        found: Counter[str] = Counter()
        kinds = np.bincount(self.kind, minlength=256)
        if kinds[0xB0]:
            controllers = np.bincount(self.first[self.kind == 0xB0], minlength=128)
            for name, count in zip(_CONTROLLERS, controllers.tolist(), strict=True):
                if name and count:
                    found[name] += count
        for name, count in (
            ("aftertouch", kinds[0xD0]),
            ("poly_aftertouch", kinds[0xA0]),
            ("system_messages", kinds[0xF1:0xF7].sum() + kinds[0xF8:].sum()),
        ):
            if count:
                found[name] = int(count)
        return found

    @property
    def heard(self) -> NDArray[np.intp]:
        """Numbers of those that may change a channel's state."""
        controls = self.kind == 0xB0
        controls &= _IS_HEARD[self.first]
        return np.flatnonzero(
            controls | (self.kind == 0xC0) | (self.kind == 0xE0) | (self.kind == 0xF0) | (self.kind == 0xF7)
        )


def _strikes(tick: NDArray[np.int64], word: NDArray[np.uint32], owner: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Of each event, whether there is a note-on in its track and tick."""
    first = np.ones(len(tick), np.bool_)
    first[1:] = (tick[1:] != tick[:-1]) | (owner[1:] != owner[:-1])
    starts = np.flatnonzero(first)
    struck = (word >> 20 == 9) & (word & 127 > 0)
    if not len(starts):
        return struck
    return np.repeat(np.logical_or.reduceat(struck, starts), np.diff(starts, append=len(tick)))


def _ports(tracks: Sequence[smf.Track], counts: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The port of every event, or None where they all have the same.

    Where no track says its port, two or more device names stand for as many ports, the first for the first.
    """
    if not any(track.ports for track in tracks):
        return None
    said = any(kind == smf.PORT for track in tracks for _, kind, _ in track.ports)
    devices: dict[bytes, int] = {}
    ports: list[int] = []
    lengths: list[int] = []
    for track, count in zip(tracks, counts.tolist(), strict=True):
        port, since = 0, 0
        for at, kind, body in track.ports:
            if (kind == smf.PORT) != said or not body:
                continue
            ports.append(port)
            lengths.append(at - since)
            port, since = body[0] if said else devices.setdefault(body, len(devices) % 256), at
        ports.append(port)
        lengths.append(count - since)
    return np.repeat(np.array(ports, np.int64), lengths)


class Clock:
    """Seconds of ticks, of the one sequence of a file or of each.

    Source: pretty_midi 0.2, PrettyMIDI._update_tick_to_time, operation for operation: the same numbers to the last bit.
    """

    def __init__(self, scan: smf.Scan) -> None:
        maps = [scan.tempos]
        if scan.kind == 2:
            maps = [scan.tempos if scan.smpte else smf.tempo_map(track.tempos) for track in scan.tracks]
        keys, starts, bases, scales = [], [], [], []
        for sequence, tempos in enumerate(maps):
            base, since, scale = 0.0, 0, 0.0
            for tick, tempo in tempos:
                base, since, scale = base + scale * (tick - since), tick, 60.0 / ((6e7 / tempo) * scan.division)
                keys.append(sequence * TICKS + tick)
                starts.append(tick)
                bases.append(base)
                scales.append(scale)
        self._keys, self._starts = np.array(keys, np.int64), np.array(starts, np.int64)
        self._bases, self._scales = np.array(bases), np.array(scales)

    def seconds(self, ticks: NDArray[np.int64], sequences: NDArray[np.int64]) -> NDArray[np.float64]:
        """When ticks are, from the beginning of their sequences."""
        if len(self._keys) == 1:
            return self._bases[0] + self._scales[0] * ticks
        which = np.searchsorted(self._keys, sequences * TICKS + ticks, side="right") - 1
        return self._bases[which] + self._scales[which] * (ticks - self._starts[which])
