"""State of MIDI channels: program, bank, pedals, volume, expression, bend and tuning, as the events of a file set it.

Changes are logged for the channels that have notes, and for no others.

Sources: MIDI 1.0; General MIDI 1 (MMA RP-003) and 2 (RP-024); the General MIDI 1 developer guidelines for volume and
expression in dB; response to reset all controllers (RP-015) and to data increment and decrement (RP-018); MIDI
Polyphonic Expression (RP-053, M1-100-UM); Roland GS and Yamaha XG as published by their manufacturers.
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
from gansynth.midi.events import PORT_STEP, Events
from gansynth.midi.notes import CENTRE

DRUM_CHANNEL = 9
"""Number of the channel that plays drums by default; channels are counted from 0."""
MAX_CHANGES = 2_000_000
"""Highest number of changes of all channels; a message for an MPE zone or for all channels counts for each of them."""
MAX_ZONE_MESSAGES = 4096
"""Number of MPE configuration messages that are applied in one file: each sets up sixteen channels."""
MAX_PIECES_BYTES = 512
"""Highest length of a system exclusive message that is divided into several."""
MAX_PARAMETERS = 64
"""Number of parameters of a GS or XG message that are read; all parameters with an effect are among the first."""

_VOLUME = [40 * math.log10(value / 100) if value else -math.inf for value in range(128)]
_EXPRESSION = [40 * math.log10(value / 127) if value else -math.inf for value in range(128)]

_BATCH = 10_000
"""Number of events between two checks of MAX_CHANGES."""
_GENERAL_MIDI = {1: "gm", 2: "", 3: "gm2"}
_XG_DEVICES = bytes(range(0x10, 0x20))


class ChangeLog:
    """A log of the changes of one quantity on all channels, in the order of the events."""

    def __init__(self, code: str) -> None:
        self._events: array[int] = array("q")
        self._channels: array[int] = array("i")
        self._values: array[Any] = array(code)

    def __len__(self) -> int:
        return len(self._events)

    def add(self, event: int, channel: int, value: float) -> None:
        """Logs the value that a channel has from an event on."""
        self._events.append(event)
        self._channels.append(channel)
        self._values.append(value)

    def index(self, no_event: int) -> ChangeIndex:
        """Sorts all changes for looking them up.

        Args:
            no_event: number that stands for no event, higher than that of any event.
        """
        if not len(self):
            empty = np.empty(0, np.int64)
            return ChangeIndex(empty, empty, empty, empty, no_event)
        channels = np.array(self._channels, np.int64)
        order = np.argsort(channels, kind="stable")
        channels = channels[order]
        events = np.array(self._events, np.int64)[order]
        return ChangeIndex(channels, events, np.array(self._values)[order], channels * no_event + events, no_event)


@dataclass(frozen=True)
class ChangeIndex:
    """The changes of one quantity, sorted by channel and event.

    Attributes:
        channels, events, values: of each change.
        keys: channel * no_event + event, ascending.
        no_event: number that stands for no event, higher than that of any event.
    """

    channels: NDArray[np.int64]
    events: NDArray[np.int64]
    values: NDArray[Any]
    keys: NDArray[np.int64]
    no_event: int

    def count(self, channels: NDArray[np.int64], events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts the changes before events of channels, including all changes of lower channels."""
        return np.searchsorted(self.keys, channels * self.no_event + events)

    def before(
        self, channels: NDArray[np.int64], events: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[np.int64]]:
        """Finds the last change before each event on its channel: whether there is one, its value, and its event."""
        if not len(self.keys):
            empty = np.zeros(len(events), np.int64)
            return empty.astype(np.bool_), empty, empty
        row = self.count(channels, events) - 1
        return (row >= 0) & (self.channels[row] == channels), self.values[row], self.events[row]

    def after(self, channels: NDArray[np.int64], events: NDArray[np.int64]) -> NDArray[np.int64]:
        """Finds the event of the first change after each event on its channel; `no_event` if there is none."""
        if not len(self.keys):
            return np.full(len(events), self.no_event)
        row = np.searchsorted(self.keys, channels * self.no_event + events, side="right")
        inside = np.minimum(row, len(self.keys) - 1)
        found = (row < len(self.keys)) & (self.channels[inside] == channels)
        return np.where(found, self.events[inside], self.no_event)


class _Channel:
    """The state of one channel.

    Attributes:
        number: 0 to 15.
        index: of the channel in the logs; None if it has no notes.
        master: master channel of the MPE zone that this channel is a member of.
        members: member channels of the MPE zone that this channel is the master of.
        touched: whether the state may differ from the default.
        bank_pending: whether a bank was selected after the last program change.
        logged_program, logged_gain, logged_bend, logged_sustain, logged_sostenuto: last values in the logs.
    """

    __slots__ = (
        *("number", "index", "master", "members", "touched", "program", "bank", "drum", "msb", "lsb", "bank_pending"),
        *("volume", "expression", "pan", "sustain", "sostenuto", "wheel", "bend_range", "fine", "coarse"),
        *("rpn", "nrpn", "logged_program", "logged_gain", "logged_bend", "logged_sustain", "logged_sostenuto"),
    )

    def __init__(self, number: int, index: int | None) -> None:
        self.number, self.index = number, index
        self.logged_gain = self.logged_bend = 0.0
        self.logged_sustain = self.logged_sostenuto = False
        self.reset()
        self.logged_program = self.program, self.bank, self.drum

    def reset(self) -> None:
        """Restores the state after power-on or a General MIDI reset."""
        self.master: _Channel | None = None
        self.members: list[_Channel] = []
        self.touched = self.bank_pending = False
        self.program = self.bank = 0
        self.drum = self.number == DRUM_CHANNEL
        self.msb: int | None = None
        self.lsb: int | None = None
        self.volume, self.pan = 100, CENTRE
        self.bend_range = 200  # cents
        self.fine, self.coarse = 8192, 0
        self.reset_controllers()

    def reset_controllers(self) -> None:
        """Applies controller 121 by RP-015: volume, pan, program, bank, tuning and bend range do not change."""
        self.expression = 127
        self.sustain = self.sostenuto = False
        self.wheel = 0
        self.rpn, self.nrpn = 0x3FFF, False

    @property
    def own_gain(self) -> float:
        """Returns the gain of its volume and expression, in dB."""
        return _VOLUME[self.volume] + _EXPRESSION[self.expression]

    @property
    def own_bend(self) -> float:
        """Returns its bend and tuning, in semitones."""
        return self.wheel * self.bend_range / 819200 + self.coarse + (self.fine - 8192) / 8192


class _Port:
    """The sixteen channels of a port, and the state that they share.

    Attributes:
        channels: by number.
        mode: standard that gives bank numbers their meaning: gm, gm2, gs, xg, or empty.
        volume: master volume in dB.
        fine, coarse: master tuning in semitones.
        zones: number of members of an MPE zone, by its master channel.
    """

    def __init__(self, indices: Mapping[int, int]) -> None:
        self.channels = {number: _Channel(number, index) for number, index in indices.items()}
        self.reset("")

    def reset(self, mode: str) -> None:
        """Restores the default state and sets the mode."""
        self.mode = mode
        self.volume = 0.0
        self.fine = self.coarse = 0.0
        self.zones = {0: 0, 15: 0}

    def channel(self, number: int) -> _Channel:
        """Returns one of its channels."""
        if number not in self.channels:
            self.channels[number] = _Channel(number, None)
        return self.channels[number]


class ChannelStates:
    """The states of all channels, and the logs of their changes.

    Attributes:
        programs: log of program + 128 * is_drum + 256 * bank.
        pans: log of controller 10.
        sustains, sostenutos: logs of the pedals, 1 for down and 0 for up, alternating on each channel.
        notes_off: log of all notes off and all sound off.
        sound_off: log of all sound off.
        gains, bends: logs of dB and semitones.
    """

    def __init__(self, channels: Sequence[int], ignored: Counter[str]) -> None:
        """Sets up the default state.

        Args:
            channels: numbers of the channels that have notes; their positions are the channels of the logs.
            ignored: number of events without effect, by kind; is added to.
        """
        self.programs, self.pans = ChangeLog("q"), ChangeLog("q")
        self.sustains, self.sostenutos = ChangeLog("b"), ChangeLog("b")
        self.notes_off, self.sound_off = ChangeLog("b"), ChangeLog("b")
        self.gains, self.bends = ChangeLog("d"), ChangeLog("d")
        self._indices: dict[int, dict[int, int]] = {}
        for index, channel in enumerate(channels):
            self._indices.setdefault(channel // PORT_STEP, {})[channel % PORT_STEP] = index
        self._ports: dict[int, _Port] = {}
        self._ignored = ignored
        self._zone_messages_left = MAX_ZONE_MESSAGES
        self._now = 0

    def apply(self, events: Events, data: bytes) -> None:
        """Applies all events of a file, in order.

        Args:
            events: of the file.
            data: bytes of the file.

        Raises:
            MidiError: there are more than MAX_CHANGES changes on all channels together.
        """
        numbers = events.state_changes
        incomplete: dict[int, bytes] = {}
        logs = [self.programs, self.pans, self.sustains, self.sostenutos]
        logs += [self.notes_off, self.sound_off, self.gains, self.bends]
        for first in range(0, len(numbers), _BATCH):
            self._apply(events, numbers[first : first + _BATCH], data, incomplete)
            if sum(map(len, logs)) > MAX_CHANGES:
                message = f"the song's controllers change all channels together more than {MAX_CHANGES} times"
                raise MidiError(message, code="midi-too-dense")
        self._count("sysex", len(incomplete))
        pending = sum(each.bank_pending for port in self._ports.values() for each in port.channels.values())
        self._count("bank_select", pending)

    def _apply(self, events: Events, numbers: NDArray[np.intp], data: bytes, incomplete: dict[int, bytes]) -> None:
        columns = (events.status, events.channel, events.first, events.second)
        for event, status, number, first, second in zip(
            numbers.tolist(), *(column[numbers].tolist() for column in columns), strict=True
        ):
            self._now = event
            port = self._port(number // PORT_STEP)
            if status >= 0xF0:
                start, stop = events.sysex_bodies[events.sysex[event]]
                self._sysex(port, status, data[start:stop], incomplete, int(events.track[event]))
                continue
            channel = port.channel(number % PORT_STEP)
            channel.touched = True
            if status == 0xE0:
                channel.wheel = (second << 7 | first) - 8192
                self._log_bend(port, channel)
            elif status == 0xC0:
                self._change_program(port, channel, first)
            else:
                self._control(port, channel, first, second)

    def _port(self, number: int) -> _Port:
        if number not in self._ports:
            self._ports[number] = _Port(self._indices.get(number, {}))
        return self._ports[number]

    def _count(self, name: str, events: int = 1) -> None:
        if events:
            self._ignored[name] += events

    # Controllers

    def _control(self, port: _Port, channel: _Channel, control: int, value: int) -> None:
        if control == 7:
            channel.volume = value
            self._log_gain(port, channel)
        elif control == 11:
            channel.expression = value
            self._log_gain(port, channel)
        elif control == 64:
            channel.sustain = value >= 64
            self._log_pedals(channel)
        elif control == 66:
            channel.sostenuto = value >= 64
            self._log_pedals(channel)
        elif control == 10:
            for each in (channel, *channel.members):
                self._set_pan(each, value)
        elif control in (0, 32):
            for each in (channel, *channel.members):
                each.bank_pending = True
                if control == 0:
                    each.msb = value
                else:
                    each.lsb = value
        elif control in (98, 99):
            channel.nrpn = True
            self._count("nrpn")
        elif control in (100, 101):
            channel.nrpn = False
            channel.rpn = channel.rpn & 0x3F80 | value if control == 100 else channel.rpn & 0x7F | value << 7
        elif control == 121:
            for each in (channel, *channel.members):
                each.reset_controllers()
            self._log_gain(port, channel)
            self._log_bend(port, channel)
            self._log_pedals(channel)
        elif control >= 120:
            self._end_notes(channel, sound_off=control == 120)
            self._count("mono_mode", control == 126)
        else:
            self._data_entry(port, channel, control, value)

    def _set_pan(self, channel: _Channel, value: int) -> None:
        if channel.pan != value and channel.index is not None:
            self.pans.add(self._now, channel.index, value)
        channel.pan = value

    def _data_entry(self, port: _Port, channel: _Channel, control: int, value: int) -> None:
        """Applies data entry (MSB: controller 6, LSB: 38), data increment (96) or data decrement (97)."""
        step = {96: 1, 97: -1}.get(control, 0)
        if channel.nrpn:
            self._count("nrpn")
        elif channel.rpn == 0:
            cents = channel.bend_range + step if step else channel.bend_range % 100 + 100 * value
            cents = channel.bend_range // 100 * 100 + min(value, 99) if control == 38 else max(0, min(cents, 12799))
            for each in channel.master.members if channel.master else (channel,):
                each.bend_range = cents
                self._log_bend(port, each)
        elif channel.rpn == 1:
            fine = channel.fine + step if step else channel.fine & 0x7F | value << 7
            channel.fine = channel.fine & 0x3F80 | value if control == 38 else max(0, min(fine, 0x3FFF))
            self._log_bend(port, channel)
        elif channel.rpn == 2 and control != 38:
            channel.coarse = max(-64, min(channel.coarse + step if step else value - 64, 63))
            self._log_bend(port, channel)
        elif channel.rpn == 6 and control == 6 and channel.number in port.zones and self._zone_messages_left:
            self._zone_messages_left -= 1
            self._set_zone(port, channel.number, min(value, 15))
        elif channel.rpn not in (2, 6) or control != 38:
            self._count("data_entry")

    def _change_program(self, port: _Port, channel: _Channel, program: int) -> None:
        """Applies a program change, and with it the bank selected before."""
        for each in (channel, *channel.members):
            each.program, each.bank_pending = program, False
            msb, lsb = each.msb or 0, each.lsb or 0
            each.bank = msb << 7 | lsb
            is_known = not msb and not lsb
            if port.mode == "gm2" and msb in (120, 121):
                each.drum, is_known = msb == 120, msb == 120 or not lsb
            elif port.mode == "xg" and each.msb is not None:
                each.drum = msb in (126, 127)
                is_known |= each.drum
            self._count("bank_select", not is_known and each is channel)
            self._log_program(port, each)

    def _end_notes(self, channel: _Channel, sound_off: bool = False) -> None:
        for each in (channel, *channel.members):
            if each.index is not None:
                self.notes_off.add(self._now, each.index, 1)
                if sound_off:
                    self.sound_off.add(self._now, each.index, 1)

    # Logs of the changes of a channel, and of the members of a zone that it is the master of

    def _log_gain(self, port: _Port, channel: _Channel) -> None:
        for each in (channel, *channel.members):
            gain = each.own_gain + port.volume
            if each.master:
                gain = min(gain + each.master.own_gain, _VOLUME[127])  # at most the highest gain of one channel
            if gain != each.logged_gain and each.index is not None:
                self.gains.add(self._now, each.index, gain)
            each.logged_gain = gain

    def _log_bend(self, port: _Port, channel: _Channel) -> None:
        for each in (channel, *channel.members):
            bend = each.own_bend + port.fine + (0.0 if self._is_drum(each) else port.coarse)
            if each.master:
                bend += each.master.own_bend
            if bend != each.logged_bend and each.index is not None:
                self.bends.add(self._now, each.index, bend)
            each.logged_bend = bend

    def _log_pedals(self, channel: _Channel) -> None:
        for each in (channel, *channel.members):
            master = each.master
            sustain = each.sustain or (master is not None and master.sustain)
            sostenuto = each.sostenuto or (master is not None and master.sostenuto)
            if each.index is not None and sustain != each.logged_sustain:
                self.sustains.add(self._now, each.index, sustain)
            if each.index is not None and sostenuto != each.logged_sostenuto:
                self.sostenutos.add(self._now, each.index, sostenuto)
            each.logged_sustain, each.logged_sostenuto = sustain, sostenuto

    def _log_program(self, port: _Port, channel: _Channel) -> None:
        """Logs a channel's program, bank and kind if they changed, without the members of its zone."""
        drum = self._is_drum(channel)
        program = channel.program, channel.bank, drum
        if program != channel.logged_program and channel.index is not None:
            self.programs.add(self._now, channel.index, channel.program | drum << 7 | channel.bank << 8)
            if drum != channel.logged_program[2]:
                self._log_bend(port, channel)
        channel.logged_program = program

    @staticmethod
    def _is_drum(channel: _Channel) -> bool:
        """Tells whether a channel plays drums; within an MPE zone none does, not even channel 10."""
        return channel.drum and channel.master is None and not channel.members

    def _log_all(self, port: _Port, channels: Iterable[_Channel]) -> None:
        for channel in channels:
            self._log_program(port, channel)
            self._log_gain(port, channel)
            self._log_bend(port, channel)
            self._log_pedals(channel)

    def _set_zone(self, port: _Port, master: int, members: int) -> None:
        """Applies an MPE configuration message.

        Args:
            port: port of the zone.
            master: 0 for the lower zone, above channel 1, or 15 for the upper zone, below channel 16.
            members: number of member channels; 0 ends the zone.
        """
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
        self._log_all(port, channels)

    # System exclusive messages

    def _sysex(self, port: _Port, status: int, body: bytes, incomplete: dict[int, bytes], track: int) -> None:
        """Applies a system exclusive message, or a piece of one.

        Args:
            port: port of the track.
            status: 0xF0 for the first piece, 0xF7 for a continuation of the track's last one.
            body: without the status byte.
            incomplete: pieces so far by track, of messages that are not complete; is updated.
            track: number of the track.
        """
        if status == 0xF7:
            if track not in incomplete:
                self._count("sysex")
                return
            body = incomplete.pop(track) + body
        elif track in incomplete:
            del incomplete[track]
            self._count("sysex")
        ended = body.endswith(b"\xf7")
        if self._apply_sysex(port, body[: len(body) - ended]):
            return
        if ended or len(body) > MAX_PIECES_BYTES:
            self._count("sysex")
        else:
            incomplete[track] = body

    def _apply_sysex(self, port: _Port, body: bytes) -> bool:
        """Applies a complete message; returns False if it has no effect here."""
        if body[:1] == b"\x7e" and body[2:3] == b"\x09" and len(body) == 4 and body[3] in _GENERAL_MIDI:
            return self._reset(port, _GENERAL_MIDI[body[3]])
        if body[:1] == b"\x7f" and body[2:3] == b"\x04" and len(body) == 6:
            return self._set_master(port, body[3], body[4] & 127 | (body[5] & 127) << 7)
        if body[:1] == b"\x41" and body[2:4] == b"\x42\x12" and len(body) >= 9 and sum(body[4:]) % 128 == 0:
            known = [self._gs(port, address, data) for address, data in _parameters(body[4:-1])]
            return any(known)
        if body[:1] == b"\x43" and body[1:2] in _XG_DEVICES and body[2:3] == b"\x4c" and len(body) >= 7:
            known = [self._xg(port, address, data) for address, data in _parameters(body[3:])]
            return any(known)
        return False

    def _reset(self, port: _Port, mode: str) -> bool:
        """Silences all notes and restores the default state; returns True."""
        master_changed = bool(port.volume or port.fine or port.coarse)
        port.reset(mode)
        changed = [channel for channel in port.channels.values() if master_changed or channel.touched]
        for channel in changed:
            self._set_pan(channel, CENTRE)
            channel.reset()
        for channel in port.channels.values():
            self._end_notes(channel, sound_off=True)
        self._log_all(port, changed)
        return True

    def _set_master(self, port: _Port, parameter: int, value: int) -> bool:
        """Applies a universal real time message for the device; returns False if it has no effect here.

        Args:
            port: port of the device.
            parameter: 1: volume, 3: fine tuning, 4: coarse tuning.
            value: of 14 bits.
        """
        if parameter == 1:
            port.volume = 40 * math.log10(value / 16383) if value else -math.inf
        elif parameter == 3:
            port.fine = (value - 8192) / 8192
        elif parameter == 4:
            port.coarse = (value >> 7) - 64.0
        else:
            return False
        self._log_master(port)
        return True

    def _log_master(self, port: _Port) -> None:
        for channel in port.channels.values():
            self._log_gain(port, channel)
            self._log_bend(port, channel)

    def _gs(self, port: _Port, address: int, data: bytes) -> bool:
        """Sets one parameter of a Roland GS device; returns False if it has no effect here."""
        value = data[0] & 127
        if address == 0x40007F or (address == 0x00007F and value < 2):
            return self._reset(port, "" if value == 0x7F else "gs")
        if address & 0xFFF0FF == 0x401015:  # use for rhythm part
            block = address >> 8 & 15
            number = DRUM_CHANNEL if block == 0 else block - 1 if block <= 9 else block
            self._set_drum(port, number, value > 0)
            return True
        return self._set_device(port, address - 0x400000, data, transposition=0x05)

    def _xg(self, port: _Port, address: int, data: bytes) -> bool:
        """Sets one parameter of a Yamaha XG device; returns False if it has no effect here."""
        value = data[0] & 127
        if address in (0x00007E, 0x00007F) and not value:
            return self._reset(port, "xg")
        if address & 0xFF00FF == 0x080007 and address >> 8 & 0xFF < 16:  # part mode
            self._set_drum(port, address >> 8 & 15, value > 0)
            return True
        return self._set_device(port, address, data, transposition=0x06)

    def _set_device(self, port: _Port, address: int, data: bytes, transposition: int) -> bool:
        """Sets a parameter that GS and XG devices share; returns False if it has no effect here.

        Args:
            port: port of the device.
            address: 0: master tune in tenths of a cent, 4: master volume, `transposition`: in semitones.
            data: from that address on.
            transposition: address of the transposition.
        """
        if address == 0 and len(data) >= 4:
            tenths = sum((nibble & 15) << place for nibble, place in zip(data, (12, 8, 4, 0), strict=False))
            port.fine = (max(0x18, min(tenths, 0x7E8)) - 0x400) / 1000
        elif address == 4:
            port.volume = _EXPRESSION[data[0] & 127]
        elif address == transposition:
            port.coarse = max(-24.0, min((data[0] & 127) - 64.0, 24.0))
        else:
            return 1 <= address <= 3  # the other bytes of the master tune, read with its first byte
        self._log_master(port)
        return True

    def _set_drum(self, port: _Port, number: int, drum: bool) -> None:
        channel = port.channel(number)
        channel.drum, channel.touched = drum, True
        self._log_program(port, channel)


def _parameters(body: bytes) -> Iterable[tuple[int, bytes]]:
    """Lists the parameters that a message sets: each address with the data from there on.

    Args:
        body: an address of three bytes, and the data from that address on.
    """
    first = body[0] << 16 | body[1] << 8 | body[2]
    data = body[3:]
    return ((first + n, data[n:]) for n in range(min(len(data), MAX_PARAMETERS)))
