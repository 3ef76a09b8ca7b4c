"""`python -m training card`: a voice's model card, with numbers from the output of evaluate and train."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

from training.evaluate import GOALS, goal_table, instrument_table

TEMPLATE = Path(__file__).with_name("model_card.md")
"""The bundled voice's card, with a $name where a number belongs."""


NOTES = Path(__file__).with_name("model_card_notes.md")
"""What nobody measures for the bundled voice: its limits, what was tried, the programs' distances."""


def card(digest: str, figures: Path, run: Path, out: Path, template: Path = TEMPLATE) -> None:
    """Writes MODEL_CARD.md, and a picture of each instrument in card/.

    Args:
        digest: digest of the checkpoint; figures of any other checkpoint are rejected.
        figures: folder that evaluate wrote.
        run: folder that train wrote.
        out: folder for the card, usually the checkpoint's.
        template: text of the card, with `$name` for each of `values`.

    Raises:
        SystemExit: a file is missing, the figures are another voice's, or the template names an unknown value.
    """
    result = json.loads(_read(figures / "figures.json", "run `python -m training evaluate` first"))
    if result.get("voice", {}).get("digest") != digest:
        raise SystemExit(f"{figures}: figures of another voice; run `python -m training evaluate` on this one")
    pictures = [figures / f"{name}.png" for name in result["voice"]["instruments"]]
    missing = [path.name for path in pictures if not path.is_file()]
    if missing:
        raise SystemExit(f"{figures}: has no {', '.join(missing)}; run `python -m training evaluate` again")
    log = _read(run / "log.jsonl", "the folder that `python -m training train` wrote is needed").splitlines()
    measures = _read(figures / "measures.md", "run `python -m training measure` first")
    try:
        text = Template(template.read_text(encoding="utf-8")).substitute(values(result, json.loads(log[-1]), measures))
    except (KeyError, ValueError) as error:
        raise SystemExit(f"{template}: {error} is not among the card's values, or a lone $ (write $$)") from None
    (out / "card").mkdir(parents=True, exist_ok=True)
    for path in pictures:
        shutil.copyfile(path, out / "card" / path.name)
    (out / "MODEL_CARD.md").write_text(text, encoding="utf-8")


def values(result: dict[str, Any], last: dict[str, Any], measures: str) -> dict[str, str]:
    """Formats the values that a template may name.

    Args:
        result: figures.json.
        last: the last line of the run's log.
        measures: measures.md, beside the recordings.
    """
    voice, (lowest, highest, step) = result["voice"], result["pitches"]
    out_of_tune = [name if off is None else f"{name} ({off:.0f} cents)" for name, off in result["out of tune"].items()]
    goals = {goal.what: goal for goal in GOALS}
    found = {what: result["summary"][goals[what].figure] for what in result["missed"]}
    missed = [f"{what} ({'not measured' if x is None else f'{x}{goals[what].unit}'})" for what, x in found.items()]
    return {
        "goals": goal_table(result).rstrip(),
        "instruments": instrument_table(result).rstrip(),
        "instrument_count": str(len(voice["instruments"])),
        "instrument_names": ", ".join(voice["instruments"]),
        "notes": f"{len(result['notes']):,}",
        "pitches": f"{lowest}..{highest}" if step == 1 else f"{lowest}..{highest}, every {step}th",
        "megaparameters": f"{voice['parameters'] / 1e6:.1f}",
        "first_megaparameters": f"{voice['first layer'] / 1e6:.1f}",
        "megabytes": f"{voice['megabytes']:.1f}",
        "compressed_megabytes": f"{voice['compressed megabytes']:.1f}",
        "latent_size": str(voice["latent size"]),
        "latent_norm": f"{voice['latent norm']:g}",
        "nearest_degrees": f"{voice['nearest degrees'] or 0:.0f}",
        "steps": f"{last['step']:,}",
        "minutes": f"{last['minutes']:.0f}",
        "cores": str(result["cores"]),
        "missed": "; ".join(missed) or "none",
        "out_of_tune": ", ".join(out_of_tune) or "none",
        "measures": measures.rstrip(),
        "more": NOTES.read_text(encoding="utf-8").rstrip(),
        "target_haze": str(result["summary"]["targets' haze, median dB"]),
    }


def _read(path: Path, advice: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SystemExit(f"{path}: is not there; {advice}") from None
