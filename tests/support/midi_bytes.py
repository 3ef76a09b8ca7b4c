"""Construction of MIDI files from bytes; 960 ticks are a second (480 a quarter note at 120 quarter notes a minute)."""

from __future__ import annotations

import struct

Event = tuple[int, bytes]
"""Tick and message."""


def on(tick: int, pitch: int = 60, channel: int = 0, velocity: int = 100) -> Event:
    return tick, bytes([0x90 | channel, pitch, velocity])


def off(tick: int, pitch: int = 60, channel: int = 0) -> Event:
    return tick, bytes([0x80 | channel, pitch, 0])


def cc(tick: int, control: int, value: int, channel: int = 0) -> Event:
    return tick, bytes([0xB0 | channel, control, value])


def program(tick: int, number: int, channel: int = 0) -> Event:
    return tick, bytes([0xC0 | channel, number])


def bend(tick: int, value: int, channel: int = 0) -> Event:
    """Makes a pitch bend, -8192..8191."""
    return tick, bytes([0xE0 | channel, value + 8192 & 127, value + 8192 >> 7])


def rpn(tick: int, number: int, msb: int, channel: int = 0, lsb: int | None = None) -> list[Event]:
    events = [cc(tick, 101, 0, channel), cc(tick, 100, number, channel), cc(tick, 6, msb, channel)]
    return events + ([] if lsb is None else [cc(tick, 38, lsb, channel)])


def sysex(tick: int, *data: int) -> Event:
    return tick, bytes([0xF0, *_variable(len(data) + 1), *data, 0xF7])


def gs(tick: int, *data: int) -> Event:
    """Makes a message that sets a parameter of a Roland GS device: address and values."""
    return sysex(tick, 0x41, 0x10, 0x42, 0x12, *data, -sum(data) % 128)


def xg(tick: int, *data: int) -> Event:
    return sysex(tick, 0x43, 0x10, 0x4C, *data)


GM_ON, GM2_ON = (0x7E, 0x7F, 0x09, 0x01), (0x7E, 0x7F, 0x09, 0x03)
GS_RESET, XG_ON = (0x40, 0x00, 0x7F, 0x00), (0x00, 0x00, 0x7E, 0x00)


def master(tick: int, what: int, value: int) -> Event:
    return sysex(tick, 0x7F, 0x7F, 0x04, what, value & 127, value >> 7)


def meta(tick: int, kind: int, body: bytes) -> Event:
    return tick, bytes([0xFF, kind, *_variable(len(body))]) + body


def note(start: int, end: int, pitch: int = 60, channel: int = 0) -> list[Event]:
    return [on(start, pitch, channel), off(end, pitch, channel)]


def track(*events: Event | list[Event], end: int | None = None, ended: bool = True) -> bytes:
    """Makes a track chunk; `end` is the tick of its end-of-track event, by default that of its last event."""
    flat: list[Event] = []
    for event in events:
        flat.extend(event if isinstance(event, list) else [event])
    flat.sort(key=lambda event: event[0])
    if ended:
        flat.append((flat[-1][0] if end is None and flat else end or 0, b"\xff\x2f\x00"))
    body, now = bytearray(), 0
    for tick, message in flat:
        body += _variable(tick - now) + message
        now = tick
    return b"MTrk" + struct.pack(">I", len(body) + (0 if ended else 9)) + bytes(body)


def midi(*tracks: bytes, kind: int = 1) -> bytes:
    return struct.pack(">4sIHHH", b"MThd", 6, kind, len(tracks), 480) + b"".join(tracks)


def _variable(number: int) -> bytes:
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return bytes(reversed(digits))
