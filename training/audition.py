"""A page to listen to: every instrument's notes as recorded, as targeted and as the voice plays them, one key apart."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from training.targets import SAMPLE_RATE

_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>Audition</title>
<style>
body {{ font: 15px sans-serif; margin: 2em; max-width: 60em }}
button {{ font: inherit; margin: 1px; min-width: 3em }}
button.on {{ background: #fc6 }}
td {{ padding: 2px 8px }}
</style>
<h1>Audition: <span id="what">{first}</span></h1>
<p>Click a note. <b>a</b> plays it as recorded, <b>s</b> as targeted, <b>d</b> as the voice plays it;
<b>space</b> goes from one to the next while it sounds. <b>&larr; &rarr;</b> change the pitch, <b>&uarr; &darr;</b>
the instrument. All are mono, 16 kHz, equally loud.</p>
<table>{rows}</table>
<script>
const kinds = {kinds}, player = new Audio();
let kind = 0, note = null;
function play(from) {{
  if (!note) return;
  player.src = "audition/" + note.dataset.name + "_" + kinds[kind] + ".flac";
  player.currentTime = Number(note.dataset.at) + from;
  player.play();
  document.querySelectorAll("button").forEach(b => b.classList.toggle("on", b === note));
  document.getElementById("what").textContent = note.dataset.name + " " + note.textContent + ", " + kinds[kind];
}}
player.ontimeupdate = () => {{ if (note && player.currentTime > Number(note.dataset.at) + 3.9) player.pause(); }};
document.querySelectorAll("button").forEach(b => b.onclick = () => {{ note = b; play(0); }});
document.onkeydown = event => {{
  const all = [...document.querySelectorAll("button")], width = {width};
  const step = {{ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width}}[event.key];
  const since = note ? Math.max(0, player.currentTime - Number(note.dataset.at)) : 0;
  if (step) {{ note = all[Math.min(all.length - 1, Math.max(0, all.indexOf(note) + step))]; play(0); }}
  else if ("asd".includes(event.key)) {{ kind = "asd".indexOf(event.key); play(0); }}
  else if (event.key === " ") {{ kind = (kind + 1) % kinds.length; play(player.paused ? 0 : since); }}
  else return;
  event.preventDefault();
}};
</script>
"""


def audition(
    out: Path, sounds: Mapping[str, Mapping[tuple[str, int], NDArray[np.floating]]], pitches: Sequence[int]
) -> None:
    """Writes audition.html and the sounds it plays.

    Args:
        out: folder for both.
        sounds: by kind, in the order of the keys that play them: notes by instrument and pitch, at SAMPLE_RATE.
        pitches: of each instrument, one after another in its file.
    """
    (out / "audition").mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for name, _ in next(iter(sounds.values()))))
    for kind, notes in sounds.items():
        for name in names:
            heard = [np.asarray(notes[name, pitch], np.float64) for pitch in pitches]
            levels = [np.sqrt(np.mean(one[:SAMPLE_RATE] ** 2)) + 1e-9 for one in heard]
            joined = np.concatenate([0.05 * one / level for one, level in zip(heard, levels, strict=True)])
            soundfile.write(out / "audition" / f"{name}_{kind}.flac", np.clip(joined, -1, 1), SAMPLE_RATE)
    rows = ""
    for name in names:
        starts = np.cumsum([0, *(len(next(iter(sounds.values()))[name, pitch]) for pitch in pitches)])
        cells = "".join(
            f'<button data-name="{html.escape(name)}" data-at="{start / SAMPLE_RATE}">{pitch}</button>'
            for pitch, start in zip(pitches, starts, strict=False)
        )
        rows += f"<tr><td>{html.escape(name)}<td>{cells}\n"
    page = _PAGE.format(first="none", rows=rows, kinds=json.dumps(list(sounds)), width=len(pitches))
    (out / "audition.html").write_text(page, encoding="utf-8")
