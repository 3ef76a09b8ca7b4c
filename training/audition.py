"""A page to listen to: notes of instruments, or hits of kits, each from several sources, one key apart."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from training.targets import SAMPLE_RATE

_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ font: 15px sans-serif; margin: 2em; max-width: 60em }}
button {{ font: inherit; margin: 1px; min-width: 3em }}
button.on {{ background: #fc6 }}
td {{ padding: 2px 8px }}
</style>
<h1>{title}: <span id="what">none</span></h1>
<p>Click a note. {keys};
<b>space</b> goes from one to the next while it sounds. <b>&larr; &rarr;</b> change the note, <b>&uarr; &darr;</b>
the row. All are mono, 16 kHz, equally loud.</p>
<table>{rows}</table>
<script>
const kinds = {kinds}, player = new Audio();
let kind = 0, note = null;
function play(from) {{
  if (!note) return;
  player.src = "{folder}/" + note.dataset.name + "_" + kinds[kind] + ".flac";
  player.currentTime = Number(note.dataset.at) + from;
  player.play().catch(() => {{}});  // interrupted by the next note
  document.querySelectorAll("button").forEach(b => b.classList.toggle("on", b === note));
  const what = note.dataset.name + " " + note.textContent + ", " + kinds[kind];
  document.getElementById("what").textContent = what;
}}
player.ontimeupdate = () => {{
  if (note && player.currentTime > Number(note.dataset.at) + Number(note.dataset.seconds) - 0.1) player.pause();
}};
document.querySelectorAll("button").forEach(b => b.onclick = () => {{ note = b; play(0); }});
document.onkeydown = event => {{
  const rows = [...document.querySelectorAll("tr")].map(row => [...row.querySelectorAll("button")]);
  const all = rows.flat(), row = Math.max(0, rows.findIndex(row => row.includes(note)));
  const across = {{ArrowLeft: -1, ArrowRight: 1}}[event.key], down = {{ArrowUp: -1, ArrowDown: 1}}[event.key];
  const since = note ? Math.max(0, player.currentTime - Number(note.dataset.at)) : 0;
  if (across) {{ note = all[Math.min(all.length - 1, Math.max(0, all.indexOf(note) + across))]; play(0); }}
  else if (down) {{
    const next = rows[Math.min(rows.length - 1, Math.max(0, row + down))];
    note = next[Math.min(next.length - 1, Math.max(0, rows[row].indexOf(note)))];
    play(0);
  }}
  else if ("{letters}".includes(event.key)) {{ kind = "{letters}".indexOf(event.key); play(0); }}
  else if (event.key === " ") {{ kind = (kind + 1) % kinds.length; play(player.paused ? 0 : since); }}
  else return;
  event.preventDefault();
}};
</script>
"""


def audition(
    out: Path, sounds: Mapping[str, Mapping[tuple[str, int], NDArray[np.floating]]], title: str = "Audition"
) -> None:
    """Writes a page and the sounds it plays, named after its title: audition.html and audition/.

    Args:
        out: folder for both.
        sounds: by kind, in the order of the keys that play them, three at most: notes by instrument and pitch, at
            SAMPLE_RATE. All kinds have the notes of the first.
        title: one word.
    """
    where = title.lower()
    folder = out / where
    folder.mkdir(parents=True, exist_ok=True)
    first, rows = next(iter(sounds.values())), ""
    for name in dict.fromkeys(name for name, _ in first):
        pitches = [pitch for one, pitch in first if one == name]
        # A note lasts as long in all kinds, so that space may change the kind while it sounds.
        lengths = [max(len(notes[name, pitch]) for notes in sounds.values()) for pitch in pitches]
        for kind, notes in sounds.items():
            heard = [
                np.pad(np.asarray(notes[name, pitch], np.float64), (0, length - len(notes[name, pitch])))
                for pitch, length in zip(pitches, lengths, strict=True)
            ]
            levels = [np.sqrt(np.mean(one[:SAMPLE_RATE] ** 2)) + 1e-9 for one in heard]
            joined = np.concatenate([0.05 * one / level for one, level in zip(heard, levels, strict=True)])
            soundfile.write(folder / f"{name}_{kind}.flac", np.clip(joined, -1, 1), SAMPLE_RATE)
        cells = "".join(
            f'<button data-name="{html.escape(name)}" data-at="{start / SAMPLE_RATE}" '
            f'data-seconds="{length / SAMPLE_RATE}">{pitch}</button>'
            for pitch, start, length in zip(pitches, np.cumsum([0, *lengths]), lengths, strict=False)
        )
        rows += f"<tr><td>{html.escape(name)}<td>{cells}\n"
    letters = "asd"[: len(sounds)]
    keys = ", ".join(f"<b>{letter}</b>: {kind}" for letter, kind in zip(letters, sounds, strict=True))
    page = _PAGE.format(
        title=title, folder=where, rows=rows, kinds=json.dumps(list(sounds)), letters=letters, keys=keys
    )
    (out / f"{where}.html").write_text(page, encoding="utf-8")
