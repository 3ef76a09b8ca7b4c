"""(m) The listening page of 3, 300, 10,000 and more songs: time until it is there, DOM nodes, bytes, search and sort.

    python -m benchmarks.listening_page --sizes 3 300 10000 200000

Songs are made up and share the files of one rendered example. Every page is opened from the disk in Chromium (CHROMIUM,
or on the PATH), once to warm up and then --rounds times; figures are medians. Listed: from the start of the navigation
until the list's first songs are in the document; complete: until all songs are searched and sorted.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, parser

_WORDS = ("prelude", "fugue", "waltz", "sonata", "march", "study", "minuet", "nocturne", "song", "dance")
_INSTRUMENTS = ("acoustic_grand_piano", "violin", "flute", "cello", "clarinet", "acoustic_bass", "trumpet", "drums")
_PROGRAMS = (0, 40, 73, 42, 71, 32, 56, 128)


def rendered_example(folder: Path) -> dict[str, Any]:
    """Renders one of the example songs; returns its row."""
    song = ROOT / "pipeline" / "examples" / "riff.mid"
    command = [sys.executable, "-m", "pipeline", "render", str(song), "--output", str(folder), "--quiet"]
    subprocess.run(command, check=True, cwd=ROOT)
    (row,) = map(json.loads, (folder / "manifest.jsonl").read_text().splitlines())
    return {"status": "rendered", **row}


def made_up_rows(example: dict[str, Any], count: int) -> Iterator[dict[str, Any]]:
    """Makes rows of songs with other names, lengths and instruments; one of 50 has failed."""
    chance = random.Random(0)
    for number in range(count):
        word = chance.choice(_WORDS)
        name = f"composer {number // 40 + 1}/{word} {number % 40 + 1}.mid"
        if number % 50 == 49:
            failure = {"code": "midi-truncated", "message": "the file ends before its first track"}
            yield {"status": "failed", "song_id": name, "source": f"/midi/{name}", "stage": "read", **failure}
            continue
        some = sorted(chance.sample(range(len(_INSTRUMENTS)), chance.randint(1, 4)))
        parts = [
            {"program": _PROGRAMS[i], "track": "", "instrument": _INSTRUMENTS[i], "rule": "bank", "notes": 9}
            for i in some
        ]
        notes = {**example["notes"], "played": chance.randint(20, 9000), "shortened": int(number % 17 == 0)}
        shape = bytes(min(255, int(abs(chance.gauss(110, 50)))) for _ in range(256))
        yield {
            **example,
            "song_id": name,
            "seconds": chance.uniform(8, 400),
            "notes": notes,
            "instruments": [_INSTRUMENTS[i] for i in some],
            "parts": parts,
            "repairs": ["hanging_notes"] if number % 23 == 0 else [],
            "peaks": base64.b64encode(shape).decode(),
        }


def write(folder: Path, example: Path, row: dict[str, Any], count: int) -> float:
    """Writes a page of `count` songs that links to the example's files; returns the seconds that it took."""
    from pipeline.config import load_config
    from pipeline.page import write_pages

    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("audio", "spectrograms", "piano_rolls", "rolls"):
        if (example / kind).is_dir() and not (folder / kind).exists():
            shutil.copytree(example / kind, folder / kind)
    for name in ("manifest.jsonl", "errors.jsonl", "config.yaml"):
        shutil.copy(example / name, folder / name)
    config = load_config(str(example / "config.yaml"), output=str(folder))
    began = time.perf_counter()
    write_pages(config, made_up_rows(row, count))  # type: ignore[arg-type]
    return time.perf_counter() - began


def measure(tab: Any, url: str) -> dict[str, float]:
    """Opens a page and measures it."""
    tab.goto(url)
    _wait(tab, "performance.getEntriesByName('gansynth-complete').length > 0")
    _wait(tab, "document.querySelectorAll('#list > *').length > 0")
    figures = tab.evaluate(
        """() => ({
          listed: performance.getEntriesByName('gansynth-listed')[0].startTime,
          complete: performance.getEntriesByName('gansynth-complete')[0].startTime,
          nodes: document.querySelectorAll('*').length,
        })"""
    )
    for name, control, value in (("search", "find", "waltz 7"), ("sort", "sort", "-seconds")):
        figures[name] = tab.evaluate(
            """async ([id, value]) => {
              const control = document.getElementById(id), began = performance.now();
              control.value = value;
              control.dispatchEvent(new Event('input'));
              await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
              const took = performance.now() - began;
              control.value = id === 'sort' ? 'name' : '';
              control.dispatchEvent(new Event('input'));
              return took;
            }""",
            [control, value],
        )
    tab.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    tab.wait_for_timeout(300)
    figures["nodes"] = max(figures["nodes"], tab.evaluate("document.querySelectorAll('*').length"))
    return dict(figures)


def _wait(tab: Any, condition: str) -> None:
    end = time.monotonic() + 60
    while not tab.evaluate(condition):
        if time.monotonic() > end:
            raise SystemExit(f"the page did not get so far: {condition}")
        tab.wait_for_timeout(10)


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, rounds=3)
    options.add_argument("--sizes", type=int, nargs="+", default=[3, 300, 10_000], metavar="N", help="numbers of songs")
    options.add_argument("--keep", type=Path, metavar="DIR", help="keep the pages in this folder")
    args = options.parse_args(argv)
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    results = {}
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = args.keep or Path(temporary)
        row = rendered_example(folder / "example")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--mute-audio"])
        print("| songs | listed | complete | DOM nodes | index.html | page/ | search | sort | written in |")
        print("|---|---|---|---|---|---|---|---|---|")
        for size in args.sizes:
            out = folder / f"songs-{size}"
            took = write(out, folder / "example", row, size)
            tab = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True).new_page()
            rounds = [measure(tab, (out / "index.html").as_uri()) for _ in range(args.rounds + 1)][1:]
            figures = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
            data = sum(path.stat().st_size for path in out.glob("page/*.js"))
            page = (out / "index.html").stat().st_size
            results[size] = {**figures, "index_bytes": page, "data_bytes": data, "written": took}
            print(
                f"| {size:,} | {figures['listed']:.0f} ms | {figures['complete']:.0f} ms | {figures['nodes']:.0f} "
                f"| {page / 1e3:,.0f} kB | {data / 1e6:.1f} MB | {figures['search']:.0f} ms | {figures['sort']:.0f} ms "
                f"| {took:.1f} s |",
                flush=True,
            )
            tab.context.close()
        browser.close()
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
