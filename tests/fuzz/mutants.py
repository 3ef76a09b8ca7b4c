"""Randomly damaged MIDI files, each identified by a seed and a number."""

from __future__ import annotations

import gzip
import random
import struct
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "midi"

BYTES = (0x00, 0x01, 0x2F, 0x3C, 0x40, 0x51, 0x7F, 0x80, 0x90, 0xB0, 0xC0, 0xF0, 0xF4, 0xF7, 0xF8, 0xFF)
SIZES = (0, 1, 7, 8, 0x7F, 0x80, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
GAPS = (
    b"\xff\xff\xff\x7f",
    b"\x81\x80\x80\x00",
    b"\xff\xff\xff\xff\x7f",
    b"\x80" * 9 + b"\x01",
    b"\xff" * 300 + b"\x00",
)
TEMPOS = (0, 1, 999, 1000, 20_000, 500_000, 15_000_000, 15_000_001, 0xFFFFFF)
EVENTS = (
    b"\x00\xff\x2f\x00",  # end of track
    b"\x00\xff\x59\x02\x20\x00",  # key signature
    b"\x00\xff\x58\x04\x00\xff\x18\x08",  # time signature
    b"\x00\xff\x54\x05\xff\x00\x00\x00\x00",  # SMPTE offset
    b"\x05\xff\x60\x01\x00",  # unknown meta
    b"\x00\xf0\x03\x01\x02\xf7",
    b"\x00\xf7\x02\xff\xff",
    b"\x00\xf4",
    b"\x00\x90\xff\x40",
    b"\x00\xb0\x40\x7f",  # pedal
    b"\x01\x90\x3c\x40",
    b"MTrk",
    b"MThd\x00\x00\x00\x06",
)
FLOODS = (
    b"\x01\x3c\x40",
    b"\x00\x3c\x40\x00\x3c\x00",
    b"\x01\x40\x7f",
    b"\x00\x00",
    b"\x01\x90\x3c\x40\x01\x80\x3c\x40",
)
FLOODS += (b"\x00\xff\x01\x00", b"\x01\xff\x51\x03\x07\xa1\x20\x01\xff\x51\x03\x07\xa1\x21", b"\x00\xf0\x00", b"\xff")
CONTROLLERS = (0, 6, 7, 10, 11, 32, 38, 64, 66, 96, 97, 98, 99, 100, 101, *range(120, 128))
SYSEX = (
    "7e7f0901",  # GM, GM2, GS and XG on
    "7e7f0903",
    "411042124000 7f00",
    "43104c00007e00",
    "7f7f04010040",  # master volume, fine and coarse tuning
    "7f7f04030040",
    "7f7f04040050",
    "411042124010 1502",  # a part for drums
    "43104c08030702",
    "411042124000000004000020403f40",  # tuning, volume and transposition in one
)
MOST = 1_700_000  # bytes: a little more than the reader takes


def sources() -> list[Path]:
    """Lists the files from which mutants are made: ../shared/midi, or the tests' own."""
    if SHARED.is_dir():
        return sorted(SHARED.rglob("*.mid"))
    return sorted([*ROOT.glob("tests/data/midi/*.mid"), *ROOT.glob("pipeline/examples/*.mid")])


def mutant(seed: int, number: int) -> tuple[bytes, str]:
    """Makes one damaged file; returns it with a description of the damage."""
    rng = random.Random(f"{seed}/{number}")
    paths = sources()
    path = rng.choice(paths)
    while path.stat().st_size > 20_000 and rng.random() < 0.8:  # they take most of the time
        path = rng.choice(paths)
    data, names = bytearray(path.read_bytes()), [path.name]
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        mutation = rng.choice(MUTATIONS) if rng.random() > 0.001 else flood
        names.append(mutation.__name__)
        data = mutation(data, rng)[:MOST]
    return bytes(data), " ".join(names)


def _at(data: bytearray, rng: random.Random) -> int:
    return rng.randint(0, len(data))


def _tracks(data: bytearray) -> list[int]:
    found, at = [], data.find(b"MTrk")
    while at >= 0:
        found.append(at)
        at = data.find(b"MTrk", at + 1)
    return found


def _inside(data: bytearray, rng: random.Random) -> int:
    """Chooses the position of a track's first event, or any position."""
    tracks = _tracks(data)
    return min(rng.choice(tracks) + 8, len(data)) if tracks else _at(data, rng)


def _insert(data: bytearray, at: int, what: bytes, rng: random.Random) -> bytearray:
    """Inserts bytes into a track, mostly with the track's length corrected."""
    before = [track for track in _tracks(data) if track + 8 <= at]
    if before and rng.random() < 0.8:
        place = before[-1] + 4
        length = int.from_bytes(data[place : place + 4], "big") + len(what)
        data[place : place + 4] = (length & 0xFFFFFFFF).to_bytes(4, "big")
    data[at:at] = what
    return data


def flip_bits(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 3, 12, 40)) if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def set_bytes(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 2, 8)) if data else 0):
        data[rng.randrange(len(data))] = rng.choice(BYTES)
    return data


def truncate(data: bytearray, rng: random.Random) -> bytearray:
    return data[: _at(data, rng)]


def cut_out(data: bytearray, rng: random.Random) -> bytearray:
    at = _at(data, rng)
    del data[at : at + rng.choice((1, 1, 2, 8, 100))]
    return data


def insert_noise(data: bytearray, rng: random.Random) -> bytearray:
    return _insert(data, _at(data, rng), rng.randbytes(rng.choice((1, 2, 5, 50))), rng)


def insert_event(data: bytearray, rng: random.Random) -> bytearray:
    return _insert(data, rng.choice((_inside(data, rng), _at(data, rng))), rng.choice(EVENTS), rng)


def insert_gap(data: bytearray, rng: random.Random) -> bytearray:
    event = rng.choice(GAPS) + b"\x90\x3c\x40" + rng.choice((b"", rng.choice(GAPS) + b"\x80\x3c\x40"))
    return _insert(data, _inside(data, rng), event, rng)


def insert_tempo(data: bytearray, rng: random.Random) -> bytearray:
    event = b"\x00\xff\x51\x03" + rng.choice(TEMPOS).to_bytes(3, "big")
    return _insert(data, _inside(data, rng), event, rng)


def change_tempo(data: bytearray, rng: random.Random) -> bytearray:
    at = data.find(b"\xff\x51\x03", _at(data, rng))
    if at >= 0:
        data[at + 3 : at + 6] = rng.choice((rng.choice(TEMPOS).to_bytes(3, "big"), rng.randbytes(3)))
    return data


def lie_about_length(data: bytearray, rng: random.Random) -> bytearray:
    places = [0, *_tracks(data)]
    at = rng.choice(places) + 4
    true = int.from_bytes(data[at : at + 4], "big")
    near = true + rng.choice((-9, -4, -1, 1, 2, 8, 300))
    lie = rng.choice((rng.choice(SIZES), min(max(0, near), 2**32 - 1), rng.getrandbits(32)))
    data[at : at + 4] = lie.to_bytes(4, "big")
    return data


def change_header(data: bytearray, rng: random.Random) -> bytearray:
    at = rng.choice((8, 10, 12, 12))
    value = rng.choice((0, 1, 2, 3, 96, 0x7FFF, 0x8000, 0xE250, 0xE728, 0xE85A, 0xFFFF, rng.getrandbits(16)))
    data[at : at + 2] = value.to_bytes(2, "big")
    return data


def splice(data: bytearray, rng: random.Random) -> bytearray:
    other = bytearray(rng.choice(sources()).read_bytes())
    return data[: _at(data, rng)] + other[_at(other, rng) :]


def repeat_chunk(data: bytearray, rng: random.Random) -> bytearray:
    tracks = _tracks(data)
    if not tracks:
        return data
    at = rng.choice(tracks)
    chunk = data[at : at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")]
    times = max(1, min(rng.choice((1, 2, 20, 300, 40_000)), 300_000 // len(chunk)))
    if rng.random() < 0.7:
        data[10:12] = min(0xFFFF, len(tracks) + times).to_bytes(2, "big")
    data[at:at] = chunk * times
    return data


def repeat_slice(data: bytearray, rng: random.Random) -> bytearray:
    at = _at(data, rng)
    piece = bytes(data[at : at + rng.choice((1, 4, 64, 1000))])
    return _insert(data, at, piece * rng.choice((1, 3, 50)), rng)


def drop_chunk(data: bytearray, rng: random.Random) -> bytearray:
    tracks = _tracks(data)
    if tracks:
        at = rng.choice(tracks)
        del data[at : rng.choice((at + 4, at + 8, at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")))]
    return data


def insert_chunk(data: bytearray, rng: random.Random) -> bytearray:
    tracks = _tracks(data)
    at = rng.choice([*tracks, len(data)])
    name = rng.choice((b"XFIH", b"MTrk", b"MThd", b"\x00\x01\x02\x03", b"LIST"))
    body = rng.randbytes(rng.choice((0, 3, 40)))
    data[at:at] = name + struct.pack(">I", len(body) if rng.random() < 0.7 else rng.choice(SIZES)) + body
    return data


def wrap(data: bytearray, rng: random.Random) -> bytearray:
    size = len(data) if rng.random() < 0.7 else rng.choice(SIZES)
    riff = b"RIFF" + struct.pack("<I", (size + 12) & 0xFFFFFFFF) + b"RMIDdata" + struct.pack("<I", size)
    mac = bytes([0, 5, *b"a.mid", *bytes(58), *b"Midi", *bytes(14), *struct.pack(">I", size), *bytes(41)])
    return bytearray(rng.choice((riff, mac, b"\xef\xbb\xbf", rng.randbytes(rng.choice((1, 512, 5000)))))) + data


def line_ends(data: bytearray, rng: random.Random) -> bytearray:
    """Converts line ends, as a transfer in text mode does."""
    return data.replace(b"\n", b"\r\n") if rng.random() < 0.5 else data.replace(b"\r\n", b"\n")


def flood(data: bytearray, rng: random.Random) -> bytearray:
    """Makes a file of the maximum size, with events of the kinds that are slowest to read."""
    events = rng.choice(FLOODS)
    size = rng.choice((100_000, 1_000_000, MOST - len(data) - 100))
    return _insert(
        data,
        _inside(data, rng),
        b"\x00" + rng.choice((b"\x90\x40\x40", b"\xb0\x40\x40")) + events * (size // len(events)),
        rng,
    )


def insert_controls(data: bytearray, rng: random.Random) -> bytearray:
    """Events that change the state of channels: controllers, banks, RPNs, MPE zones, pedals, bends, resets, ports."""
    at = rng.choice((_inside(data, rng), _at(data, rng)))
    return _insert(data, at, b"".join(_control(rng) for _ in range(rng.choice((1, 5, 40)))), rng)


def flood_controls(data: bytearray, rng: random.Random) -> bytearray:
    """As many of a few of these as fit, behind an MPE zone and a note on each of its channels, or without them."""
    zone = bytes.fromhex("00b0650000640600060f") + b"".join(bytes([0, 0x90 | c, 60, 64]) for c in range(16))
    events = b"".join(_control(rng) for _ in range(rng.choice((1, 2, 5))))
    size = rng.choice((20_000, 200_000, MOST - len(data) - 200))
    return _insert(data, _inside(data, rng), rng.choice((b"", zone)) + events * max(1, size // len(events)), rng)


def compress(data: bytearray, rng: random.Random) -> bytearray:
    """A gzip archive, whole, damaged or cut off; or one that holds far more than it should."""
    packed = bytearray(gzip.compress(bytes(data) + bytes(rng.choice((0, 0, 50_000_000))), 1, mtime=0))
    return rng.choice((lambda: packed, lambda: flip_bits(packed, rng), lambda: packed[: _at(packed, rng)]))()


def _control(rng: random.Random) -> bytes:
    channel, gap = rng.choice((0, 0, 1, 9, 15, rng.randrange(16))), rng.choice((b"\x00", b"\x00", b"\x01", b"\x60"))
    kind = rng.randrange(8)
    if kind < 3:
        control = rng.choice((*CONTROLLERS, rng.randrange(128)))
        return gap + bytes([0xB0 | channel, control, rng.choice((0, 63, 64, 127, rng.randrange(128)))])
    if kind == 3:
        number, value = rng.choice((0, 1, 2, 6, 127)), rng.randrange(128)
        rpn = bytes([0xB0 | channel, rng.choice((99, 101)), rng.choice((0, 0, 127)), 0, 100, number, 0, 6, value])
        return gap + rpn + bytes([0, rng.choice((38, 96, 97)), value])
    if kind == 4:
        return gap + bytes([0xC0 | channel, rng.randrange(128)])
    if kind == 5:
        return gap + bytes([0xE0 | channel, rng.randrange(128), rng.randrange(128)])
    if kind == 6:
        return gap + bytes([0xFF, rng.choice((0x03, 0x09, 0x20, 0x21)), 1, rng.randrange(256)])
    body = bytearray(bytes.fromhex(rng.choice(SYSEX)))
    if rng.random() < 0.5:
        body[rng.randrange(len(body))] = rng.randrange(128)
    if body[0] == 0x41:
        body.append(-sum(body[4:]) % 128)
    if rng.random() < 0.2:  # in pieces
        at = rng.randrange(len(body))
        return gap + bytes([0xF0, at, *body[:at], 0, 0xF7, len(body) - at + 1, *body[at:], 0xF7])
    return gap + bytes([0xF0, len(body) + 1, *body, 0xF7])


MUTATIONS: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    flip_bits,
    set_bytes,
    truncate,
    cut_out,
    insert_noise,
    insert_event,
    insert_gap,
    insert_tempo,
    change_tempo,
    lie_about_length,
    change_header,
    splice,
    repeat_chunk,
    repeat_slice,
    drop_chunk,
    insert_chunk,
    wrap,
    line_ends,
    insert_controls,
    flood_controls,
    compress,
)
