"""Sixteen channels a port, and what a stream of MIDI events makes of them.

A channel has a program, a bank, pedals, volume, expression, bend and tuning; a synthesizer logs how they change, for
the channels on which notes are struck and for no others.

Sources: MIDI 1.0; General MIDI 1 (MMA RP-003) and 2 (RP-024); the General MIDI 1 developer guidelines for volume and
expression in dB; response to reset all controllers (RP-015) and to data increment and decrement (RP-018); MIDI
Polyphonic Expression (RP-053, M1-100-UM); Roland GS and Yamaha XG as their makers published them.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.errors import MidiError
from gansynth.midi.events import PORT, Events

DRUM_CHANNEL, CENTRE = 9, 64
"""The channel that is the drums' by default, from 0, and the pan in the middle."""
MOST_CHANGES = 2_000_000
"""Changes of all channels: an event of an MPE zone's master, or one for the whole device, counts for every channel."""
MOST_ZONES = 4096
"""MPE configuration messages that are followed in one file: each sets up sixteen channels anew."""
LONGEST_MESSAGE = 512
"""Bytes of a system exclusive message that may come in pieces."""
MOST_PARAMETERS = 64
"""Parameters that one GS or XG message sets; all that mean something here are among the first."""

_VOLUME = [40 * math.log10(value / 100) if value else -math.inf for value in range(128)]
_EXPRESSION = [40 * math.log10(value / 127) if value else -math.inf for value in range(128)]

_TURN = 10_000
"""Events that are played before the changes are counted."""
_GENERAL_MIDI = {1: "gm", 2: "", 3: "gm2"}
_XG_DEVICES = bytes(range(0x10, 0x20))


class Log:
    """Values by channel and event, appended in the order of events."""

    def __init__(self, code: str) -> None:
        self._events: array[int] = array("q")
        self._channels: array[int] = array("i")
        self._values: array[Any] = array(code)

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: int, channel: int, value: float) -> None:
        """Notes that a channel has a value from an event on."""
        self._events.append(event)
        self._channels.append(channel)
        self._values.append(value)

    def index(self, events: int) -> Index:
        """All of it, to be looked up; `events` is more than the number of any event."""
        if not len(self):
            nothing = np.empty(0, np.int64)
            return Index(nothing, nothing, nothing, nothing, events)
        channels = np.array(self._channels, np.int64)
        order = np.argsort(channels, kind="stable")
        channels = channels[order]
        moments = np.array(self._events, np.int64)[order]
        return Index(channels, moments, np.array(self._values)[order], channels * events + moments, events)


@dataclass(frozen=True)
class Index:
    """A log, sorted by channel and event.

    Attributes:
        channels, events, values: of the entries.
        keys: channel * never + event, ascending.
        never: more than the number of any event.
    """

    channels: NDArray[np.int64]
    events: NDArray[np.int64]
    values: NDArray[Any]
    keys: NDArray[np.int64]
    never: int

    def count(self, channels: NDArray[np.int64], events: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many entries there are before events of channels, those of lower channels among them."""
        return np.searchsorted(self.keys, channels * self.never + events)

    def before(
        self, channels: NDArray[np.int64], events: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[np.int64]]:
        """Of the last entry before each event on its channel: whether there is one, its value, its event."""
        if not len(self.keys):
            nothing = np.zeros(len(events), np.int64)
            return nothing.astype(np.bool_), nothing, nothing
        at = self.count(channels, events) - 1
        return (at >= 0) & (self.channels[at] == channels), self.values[at], self.events[at]

    def after(self, channels: NDArray[np.int64], events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Event of the first entry after each event on its channel, `never` where there is none."""
        if not len(self.keys):
            return np.full(len(events), self.never)
        at = np.searchsorted(self.keys, channels * self.never + events, side="right")
        inside = np.minimum(at, len(self.keys) - 1)
        return np.where((at < len(self.keys)) & (self.channels[inside] == channels), self.events[inside], self.never)


class _Channel:
    """The state of one channel.

    Attributes:
        number: 0 to 15.
        index: what the logs know it by; None if no note is struck on it.
        master: of the MPE zone that it is a member of.
        members: of the MPE zone that it is the master of.
        touched: whether anything may differ from the defaults.
    """

    __slots__ = (
        *("number", "index", "master", "members", "touched", "program", "bank", "drum", "msb", "lsb", "pending"),
        *("volume", "expression", "pan", "sustain", "sostenuto", "wheel", "bend_range", "fine", "coarse"),
        *("rpn", "nrpn", "gain", "bend", "held", "caught", "voice"),
    )

    def __init__(self, number: int, index: int | None) -> None:
        self.number, self.index = number, index
        self.gain = self.bend = 0.0
        self.held = self.caught = False
        self.default()
        self.voice = self.program, self.bank, self.drum

    def default(self) -> None:
        """Makes it what it is when the power is switched on or General MIDI is."""
        self.master: _Channel | None = None
        self.members: list[_Channel] = []
        self.touched = self.pending = False
        self.program = self.bank = 0
        self.drum = self.number == DRUM_CHANNEL
        self.msb: int | None = None
        self.lsb: int | None = None
        self.volume, self.pan = 100, 64
        self.bend_range = 200  # cents
        self.fine, self.coarse = 8192, 0
        self.reset_controllers()

    def reset_controllers(self) -> None:
        """What controller 121 does, by RP-015: neither volume, pan, program, bank, tuning nor bend range change."""
        self.expression = 127
        self.sustain = self.sostenuto = False
        self.wheel = 0
        self.rpn, self.nrpn = 0x3FFF, False

    @property
    def own_gain(self) -> float:
        """Its volume and expression in dB."""
        return _VOLUME[self.volume] + _EXPRESSION[self.expression]

    @property
    def own_bend(self) -> float:
        """Its bend and tuning in semitones."""
        return self.wheel * self.bend_range / 819200 + self.coarse + (self.fine - 8192) / 8192


class _Port:
    """Sixteen channels and what they share."""

    def __init__(self, indices: Mapping[int, int]) -> None:
        self.channels = {number: _Channel(number, index) for number, index in indices.items()}
        self.default("")

    def default(self, mode: str) -> None:
        """Forgets everything, and reads bank numbers by a standard from now on: gm, gm2, gs, xg or none."""
        self.mode = mode
        self.volume = 0.0  # dB
        self.fine = self.coarse = 0.0  # semitones
        self.zones = {0: 0, 15: 0}  # members by master

    def channel(self, number: int) -> _Channel:
        """One of its channels."""
        if number not in self.channels:
            self.channels[number] = _Channel(number, None)
        return self.channels[number]


class Synthesizer:
    """Channels and what happens to them.

    Attributes:
        voices: log of program + 128 * is_drum + 256 * bank.
        pans: log of controller 10.
        sustains, sostenutos: logs of pedals, 1 for down and 0 for up, alternately for each channel.
        offs, cuts: logs of all notes off, and all sound off among them.
        gains, bends: logs of dB and semitones.
    """

    def __init__(self, channels: Sequence[int], ignored: Counter[str]) -> None:
        self.voices, self.pans = Log("q"), Log("q")
        self.sustains, self.sostenutos = Log("b"), Log("b")
        self.offs, self.cuts = Log("b"), Log("b")
        self.gains, self.bends = Log("d"), Log("d")
        self._indices: dict[int, dict[int, int]] = {}
        for index, channel in enumerate(channels):
            self._indices.setdefault(channel // PORT, {})[channel % PORT] = index
        self._ports: dict[int, _Port] = {}
        self._ignored = ignored
        self._zones_left = MOST_ZONES
        self._now = 0

    def play(self, events: Events, data: bytes) -> None:
        """Runs all events through the channels.

        Raises:
            MidiError: they change more than MOST_CHANGES times, all channels taken together.
        """
        chosen = events.heard
        unfinished: dict[int, bytes] = {}
        for first in range(0, len(chosen), _TURN):
            self._play(events, chosen[first : first + _TURN], data, unfinished)
            logs = (
                self.voices,
                self.pans,
                self.sustains,
                self.sostenutos,
                self.offs,
                self.cuts,
                self.gains,
                self.bends,
            )
            if sum(map(len, logs)) > MOST_CHANGES:
                message = f"its controllers change all channels together more than {MOST_CHANGES} times"
                raise MidiError(message, code="midi-too-dense")
        self._count("sysex", len(unfinished))
        self._count("bank_select", sum(c.pending for port in self._ports.values() for c in port.channels.values()))

    def _play(self, events: Events, chosen: NDArray[np.intp], data: bytes, unfinished: dict[int, bytes]) -> None:
        columns = (events.kind, events.channel, events.first, events.second)
        for number, kind, channel, first, second in zip(
            chosen.tolist(), *(column[chosen].tolist() for column in columns), strict=True
        ):
            self._now = number
            port = self._port(channel // PORT)
            if kind >= 0xF0:
                begin, end = events.messages[events.message[number]]
                self._packet(port, kind, data[begin:end], unfinished, int(events.track[number]))
                continue
            of = port.channel(channel % PORT)
            of.touched = True
            if kind == 0xE0:
                of.wheel = (second << 7 | first) - 8192
                self._bend(port, of)
            elif kind == 0xC0:
                self._program(port, of, first)
            else:
                self._control(port, of, first, second)

    def _port(self, number: int) -> _Port:
        if number not in self._ports:
            self._ports[number] = _Port(self._indices.get(number, {}))
        return self._ports[number]

    def _count(self, name: str, events: int = 1) -> None:
        if events:
            self._ignored[name] += events

    # Controllers

    def _control(self, port: _Port, of: _Channel, control: int, value: int) -> None:
        if control == 7:
            of.volume = value
            self._gain(port, of)
        elif control == 11:
            of.expression = value
            self._gain(port, of)
        elif control == 64:
            of.sustain = value >= 64
            self._pedals(of)
        elif control == 66:
            of.sostenuto = value >= 64
            self._pedals(of)
        elif control == 10:
            for channel in (of, *of.members):
                if channel.pan != value and channel.index is not None:
                    self.pans.add(self._now, channel.index, value)
                channel.pan = value
        elif control in (0, 32):
            for channel in (of, *of.members):
                channel.pending = True
                if control == 0:
                    channel.msb = value
                else:
                    channel.lsb = value
        elif control in (98, 99):
            of.nrpn = True
            self._count("nrpn")
        elif control in (100, 101):
            of.nrpn = False
            of.rpn = of.rpn & 0x3F80 | value if control == 100 else of.rpn & 0x7F | value << 7
        elif control == 121:
            for channel in (of, *of.members):
                channel.reset_controllers()
            self._gain(port, of)
            self._bend(port, of)
            self._pedals(of)
        elif control >= 120:
            self._end_notes(of, cut=control == 120)
            self._count("mono_mode", control == 126)
        else:
            self._data(port, of, control, value)

    def _data(self, port: _Port, of: _Channel, control: int, value: int) -> None:
        """Data entry, MSB 6 or LSB 38, increment 96 or decrement 97."""
        step = {96: 1, 97: -1}.get(control, 0)
        if of.nrpn:
            self._count("nrpn")
        elif of.rpn == 0:
            cents = of.bend_range + step if step else of.bend_range % 100 + 100 * value
            cents = of.bend_range // 100 * 100 + min(value, 99) if control == 38 else max(0, min(cents, 12799))
            for channel in of.master.members if of.master else (of,):
                channel.bend_range = cents
                self._bend(port, channel)
        elif of.rpn == 1:
            fine = of.fine + step if step else of.fine & 0x7F | value << 7
            of.fine = of.fine & 0x3F80 | value if control == 38 else max(0, min(fine, 0x3FFF))
            self._bend(port, of)
        elif of.rpn == 2 and control != 38:
            of.coarse = max(-64, min(of.coarse + step if step else value - 64, 63))
            self._bend(port, of)
        elif of.rpn == 6 and control == 6 and of.number in port.zones and self._zones_left:
            self._zones_left -= 1
            self._zone(port, of.number, min(value, 15))
        elif of.rpn not in (2, 6) or control != 38:
            self._count("data_entry")

    def _program(self, port: _Port, of: _Channel, program: int) -> None:
        """A program change, which the bank selected before it counts for from now on."""
        for channel in (of, *of.members):
            channel.program, channel.pending = program, False
            msb, lsb = channel.msb or 0, channel.lsb or 0
            channel.bank = msb << 7 | lsb
            plays = not msb and not lsb
            if port.mode == "gm2" and msb in (120, 121):
                channel.drum, plays = msb == 120, msb == 120 or not lsb
            elif port.mode == "xg" and channel.msb is not None:
                channel.drum = msb in (126, 127)
                plays |= channel.drum
            self._count("bank_select", not plays and channel is of)
            self._voice(port, channel)

    def _end_notes(self, of: _Channel, cut: bool = False) -> None:
        for channel in (of, *of.members):
            if channel.index is not None:
                self.offs.add(self._now, channel.index, 1)
                if cut:
                    self.cuts.add(self._now, channel.index, 1)

    # What comes of it

    def _gain(self, port: _Port, of: _Channel) -> None:
        """Logs a channel's volume if it changed, and its members' if it is the master of a zone."""
        for channel in (of, *of.members):
            gain = channel.own_gain + port.volume
            if channel.master:
                gain = min(gain + channel.master.own_gain, _VOLUME[127])  # no louder than a channel can be
            if gain != channel.gain and channel.index is not None:
                self.gains.add(self._now, channel.index, gain)
            channel.gain = gain

    def _bend(self, port: _Port, of: _Channel) -> None:
        for channel in (of, *of.members):
            bend = channel.own_bend + port.fine + (0.0 if self._is_drum(channel) else port.coarse)
            if channel.master:
                bend += channel.master.own_bend
            if bend != channel.bend and channel.index is not None:
                self.bends.add(self._now, channel.index, bend)
            channel.bend = bend

    def _pedals(self, of: _Channel) -> None:
        for channel in (of, *of.members):
            master = channel.master
            held = channel.sustain or (master is not None and master.sustain)
            caught = channel.sostenuto or (master is not None and master.sostenuto)
            if channel.index is not None and held != channel.held:
                self.sustains.add(self._now, channel.index, held)
            if channel.index is not None and caught != channel.caught:
                self.sostenutos.add(self._now, channel.index, caught)
            channel.held, channel.caught = held, caught

    def _voice(self, port: _Port, channel: _Channel) -> None:
        drum = self._is_drum(channel)
        voice = channel.program, channel.bank, drum
        if voice != channel.voice and channel.index is not None:
            self.voices.add(self._now, channel.index, channel.program | drum << 7 | channel.bank << 8)
            if drum != channel.voice[2]:
                self._bend(port, channel)
        channel.voice = voice

    @staticmethod
    def _is_drum(channel: _Channel) -> bool:
        """Within an MPE zone channel 10 plays a melody as all others."""
        return channel.drum and channel.master is None and not channel.members

    def _refresh(self, port: _Port, channels: Iterable[_Channel]) -> None:
        for channel in channels:
            self._voice(port, channel)
            self._gain(port, channel)
            self._bend(port, channel)
            self._pedals(channel)

    def _zone(self, port: _Port, master: int, members: int) -> None:
        """The MPE configuration message: a zone of so many members above channel 1 or below channel 16, or none."""
        other = 15 - master
        port.zones[master] = members
        port.zones[other] = min(port.zones[other], max(0, 14 - members))
        channels = [port.channel(number) for number in range(16)]
        for channel in channels:
            channel.master, channel.members, channel.touched = None, [], True
        for first, count in port.zones.items():
            step = 1 if first == 0 else -1
            channels[first].members = [channels[first + step * (1 + n)] for n in range(count)]
            for member in channels[first].members:
                member.master = channels[first]
        channels[master].bend_range = 200
        for member in channels[master].members:
            member.bend_range = 4800
        self._refresh(port, channels)

    # System exclusive messages

    def _packet(self, port: _Port, kind: int, body: bytes, unfinished: dict[int, bytes], track: int) -> None:
        """A message, or a piece of one; a continuation is 0xF7 in front and belongs to its track's last one."""
        if kind == 0xF7:
            if track not in unfinished:
                self._count("sysex")
                return
            body = unfinished.pop(track) + body
        elif track in unfinished:
            del unfinished[track]
            self._count("sysex")
        ended = body.endswith(b"\xf7")
        if self._message(port, body[: len(body) - ended]):
            return
        if ended or len(body) > LONGEST_MESSAGE:
            self._count("sysex")
        else:
            unfinished[track] = body

    def _message(self, port: _Port, body: bytes) -> bool:
        """A whole message; false if it means nothing here."""
        if body[:1] == b"\x7e" and body[2:3] == b"\x09" and len(body) == 4 and body[3] in _GENERAL_MIDI:
            return self._reset(port, _GENERAL_MIDI[body[3]])
        if body[:1] == b"\x7f" and body[2:3] == b"\x04" and len(body) == 6:
            return self._master(port, body[3], body[4] & 127 | (body[5] & 127) << 7)
        if body[:1] == b"\x41" and body[2:4] == b"\x42\x12" and len(body) >= 9 and sum(body[4:]) % 128 == 0:
            known = [self._gs(port, address, data) for address, data in _parameters(body[4:-1])]
            return any(known)
        if body[:1] == b"\x43" and body[1:2] in _XG_DEVICES and body[2:3] == b"\x4c" and len(body) >= 7:
            known = [self._xg(port, address, data) for address, data in _parameters(body[3:])]
            return any(known)
        return False

    def _reset(self, port: _Port, mode: str) -> bool:
        """Silence, and everything as it is by default."""
        everything = bool(port.volume or port.fine or port.coarse)
        port.default(mode)
        changed = [channel for channel in port.channels.values() if everything or channel.touched]
        for channel in changed:
            if channel.pan != 64 and channel.index is not None:
                self.pans.add(self._now, channel.index, 64)
            channel.default()
        for channel in port.channels.values():
            self._end_notes(channel, cut=True)
        self._refresh(port, changed)
        return True

    def _master(self, port: _Port, what: int, value: int) -> bool:
        """A universal real time message for the device: volume 1, fine tuning 3, coarse tuning 4; value of 14 bits."""
        if what == 1:
            port.volume = 40 * math.log10(value / 16383) if value else -math.inf
        elif what == 3:
            port.fine = (value - 8192) / 8192
        elif what == 4:
            port.coarse = (value >> 7) - 64.0
        else:
            return False
        self._everywhere(port)
        return True

    def _everywhere(self, port: _Port) -> None:
        for channel in port.channels.values():
            self._gain(port, channel)
            self._bend(port, channel)

    def _gs(self, port: _Port, address: int, data: bytes) -> bool:
        """One parameter of a Roland GS device."""
        value = data[0] & 127
        if address == 0x40007F or (address == 0x00007F and value < 2):
            return self._reset(port, "" if value == 0x7F else "gs")
        if address & 0xFFF0FF == 0x401015:  # use for rhythm part
            block = address >> 8 & 15
            number = DRUM_CHANNEL if block == 0 else block - 1 if block <= 9 else block
            self._part(port, number, value > 0)
            return True
        return self._device(port, address - 0x400000, data, shift=0x05)

    def _xg(self, port: _Port, address: int, data: bytes) -> bool:
        """One parameter of a Yamaha XG device."""
        value = data[0] & 127
        if address in (0x00007E, 0x00007F) and not value:
            return self._reset(port, "xg")
        if address & 0xFF00FF == 0x080007 and address >> 8 & 0xFF < 16:  # part mode
            self._part(port, address >> 8 & 15, value > 0)
            return True
        return self._device(port, address, data, shift=0x06)

    def _device(self, port: _Port, address: int, data: bytes, shift: int) -> bool:
        """What GS and XG devices have alike: master tune in tenths of a cent, master volume, transposition."""
        if address == 0 and len(data) >= 4:
            tenths = sum((nibble & 15) << place for nibble, place in zip(data, (12, 8, 4, 0), strict=False))
            port.fine = (max(0x18, min(tenths, 0x7E8)) - 0x400) / 1000
        elif address == 4:
            port.volume = _EXPRESSION[data[0] & 127]
        elif address == shift:
            port.coarse = max(-24.0, min((data[0] & 127) - 64.0, 24.0))
        else:
            return 1 <= address <= 3  # the rest of the tuning, where the first byte of it was there
        self._everywhere(port)
        return True

    def _part(self, port: _Port, number: int, drum: bool) -> None:
        channel = port.channel(number)
        channel.drum, channel.touched = drum, True
        self._voice(port, channel)


def _parameters(body: bytes) -> Iterable[tuple[int, bytes]]:
    """Addresses of three bytes, and what is written to each and behind it."""
    first = body[0] << 16 | body[1] << 8 | body[2]
    data = body[3:]
    return ((first + n, data[n:]) for n in range(min(len(data), MOST_PARAMETERS)))
