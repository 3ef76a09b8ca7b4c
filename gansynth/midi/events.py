"""All events of a MIDI file as arrays in playing order, and the conversion of their ticks to seconds.

Sources: Standard MIDI Files 1.0 (MMA RP-001); device names (RP-019); the numbers of controllers, MIDI 1.0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansynth.midi import smf
from gansynth.midi.track import PORT, Track

TICK_LIMIT = 1 << 40
"""Number of ticks that no file may reach: more than nine hours at any tempo and division."""
PORT_STEP, SEQUENCE_STEP = 16, 16 * 256
"""Distance between the numbers of a channel in successive ports, and in successive sequences."""

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
"""Names of controllers without effect, by number; all others without effect are other_controllers."""
_EFFECTIVE = (0, 6, 7, 10, 11, 32, 38, 64, 66, 96, 97, 98, 99, 100, 101, 120, 121, 123, 124, 125, 126, 127)
_IS_EFFECTIVE = np.isin(np.arange(128), _EFFECTIVE)
_CONTROLLERS = [None if c in _EFFECTIVE else _IGNORED.get(c, "other_controllers") for c in range(128)]


@dataclass(frozen=True)
class Events:
    """All channel and system messages of a file in playing order; an event's number is its position.

    Attributes:
        tick: int64 [n].
        status: uint8 [n], status byte without its channel.
        channel: int64 [n], sequence * SEQUENCE_STEP + port * PORT_STEP + channel, each counted from 0.
        first, second: uint8 [n], data bytes.
        track: int32 [n].
        sysex: int64 [n], row of `sysex_bodies` for each system exclusive message.
        sysex_bodies: (first byte, last byte + 1) of the body of each system exclusive message.
    """

    tick: NDArray[np.int64]
    status: NDArray[np.uint8]
    channel: NDArray[np.int64]
    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    track: NDArray[np.int32]
    sysex: NDArray[np.int64]
    sysex_bodies: list[tuple[int, int]]

    @classmethod
    def of(cls, scan: smf.Scan) -> Events:
        """Merges the tracks of a file by tick; those of format 2 follow one another.

        At one tick, tracks without a note-on there come first.
        """
        tracks = scan.tracks
        counts = np.array([len(track.ticks) for track in tracks])
        tick = np.concatenate([np.frombuffer(track.ticks, np.int64) for track in tracks])
        message = np.concatenate([np.frombuffer(track.messages, np.uint32) for track in tracks])
        owner = np.repeat(np.arange(len(tracks), dtype=np.int32), counts)
        status = (message >> 16).astype(np.uint8)
        sysex = np.cumsum((status == 0xF0) | (status == 0xF7)) - 1
        channel = (status & 15).astype(np.int64)
        ports = _ports(tracks, counts)
        if ports is not None:
            channel += PORT_STEP * ports
        if scan.format == 2:
            channel += SEQUENCE_STEP * owner.astype(np.int64)
        if scan.format != 2 and len(tracks) > 1:
            order = np.lexsort((_has_note_on(tick, message, owner), tick))
            tick, message, status, channel = tick[order], message[order], status[order], channel[order]
            owner, sysex = owner[order], sysex[order]
        return cls(
            tick=tick,
            status=np.where(status < 0xF0, status & 0xF0, status).astype(np.uint8),
            channel=channel,
            first=(message >> 8 & 127).astype(np.uint8),
            second=(message & 127).astype(np.uint8),
            track=owner,
            sysex=sysex,
            sysex_bodies=[body for track in tracks for body in track.sysex],
        )

    @property
    def is_note_on(self) -> NDArray[np.bool_]:
        """Finds the note-ons, bool [n]."""
        return (self.status == 0x90) & (self.second > 0)

    @property
    def is_note_off(self) -> NDArray[np.bool_]:
        """Finds the note-offs, bool [n]."""
        return (self.status == 0x80) | ((self.status == 0x90) & (self.second == 0))

    def count_ignored(self) -> Counter[str]:
        """Counts the events that never have an effect, by kind."""
        found: Counter[str] = Counter()
        counts = np.bincount(self.status, minlength=256)
        if counts[0xB0]:
            controllers = np.bincount(self.first[self.status == 0xB0], minlength=128)
            for name, count in zip(_CONTROLLERS, controllers.tolist(), strict=True):
                if name and count:
                    found[name] += count
        for name, count in (
            ("aftertouch", counts[0xD0]),
            ("poly_aftertouch", counts[0xA0]),
            ("system_messages", counts[0xF1:0xF7].sum() + counts[0xF8:].sum()),
        ):
            if count:
                found[name] = int(count)
        return found

    @property
    def state_changes(self) -> NDArray[np.intp]:
        """Lists the numbers of the events that may change a channel's state."""
        is_control = self.status == 0xB0
        is_control &= _IS_EFFECTIVE[self.first]
        others = (self.status == 0xC0) | (self.status == 0xE0) | (self.status == 0xF0) | (self.status == 0xF7)
        return np.flatnonzero(is_control | others)


def _has_note_on(tick: NDArray[np.int64], message: NDArray[np.uint32], owner: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Finds the events whose track has a note-on at the same tick."""
    first = np.ones(len(tick), np.bool_)
    first[1:] = (tick[1:] != tick[:-1]) | (owner[1:] != owner[:-1])
    starts = np.flatnonzero(first)
    is_note_on = (message >> 20 == 9) & (message & 127 > 0)
    if not len(starts):
        return is_note_on
    return np.repeat(np.logical_or.reduceat(is_note_on, starts), np.diff(starts, append=len(tick)))


def _ports(tracks: Sequence[Track], counts: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Finds the port of every event; None if no track names a port or device.

    If no track has a port number, device names are numbered as ports in the order of their first use.
    """
    if not any(track.ports for track in tracks):
        return None
    numbered = any(meta_type == PORT for track in tracks for _, meta_type, _ in track.ports)
    devices: dict[bytes, int] = {}
    ports: list[int] = []
    lengths: list[int] = []
    for track, count in zip(tracks, counts.tolist(), strict=True):
        port, since = 0, 0
        for number, meta_type, body in track.ports:
            if (meta_type == PORT) != numbered or not body:
                continue
            ports.append(port)
            lengths.append(number - since)
            port, since = body[0] if numbered else devices.setdefault(body, len(devices) % 256), number
        ports.append(port)
        lengths.append(count - since)
    return np.repeat(np.array(ports, np.int64), lengths)


class Clock:
    """Conversion of ticks to seconds; each sequence of a format 2 file has its own tempos.

    Source: pretty_midi 0.2, PrettyMIDI._update_tick_to_time, with the same operations and so the same rounding.
    """

    def __init__(self, scan: smf.Scan) -> None:
        maps = [scan.tempos]
        if scan.format == 2:
            maps = [scan.tempos if scan.smpte else smf.tempo_map(track.tempos) for track in scan.tracks]
        keys, starts, bases, scales = [], [], [], []
        for sequence, tempos in enumerate(maps):
            base, since, scale = 0.0, 0, 0.0
            for tick, tempo in tempos:
                base, since, scale = base + scale * (tick - since), tick, 60.0 / ((6e7 / tempo) * scan.division)
                keys.append(sequence * TICK_LIMIT + tick)
                starts.append(tick)
                bases.append(base)
                scales.append(scale)
        self._keys, self._starts = np.array(keys, np.int64), np.array(starts, np.int64)
        self._bases, self._scales = np.array(bases), np.array(scales)

    def seconds(self, ticks: NDArray[np.int64], sequences: NDArray[np.int64]) -> NDArray[np.float64]:
        """Converts ticks to seconds from the beginning of their sequences."""
        if len(self._keys) == 1:
            return self._bases[0] + self._scales[0] * ticks
        row = np.searchsorted(self._keys, sequences * TICK_LIMIT + ticks, side="right") - 1
        return self._bases[row] + self._scales[row] * (ticks - self._starts[row])
