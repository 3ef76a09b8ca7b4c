"""Command line of the training tool: python -m training prepare, train, export, evaluate, measure, card and others."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np

_HERE = Path(__file__).parent


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return int(text)


def main(arguments: list[str] | None = None) -> None:
    """Parses the command line and runs one of the commands."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument("--data", type=Path, default=_HERE / "data", help="prepared data set")
        return added

    prepare = command("prepare", "Render notes, or read WAV files, and make targets of them.")
    prepare.add_argument("--notes", type=Path, help="folder of NSynth-style WAV files; default: FluidSynth renders")
    prepare.add_argument("--soundfont", type=Path, help="for FluidSynth; default: FluidR3_GM")
    prepare.add_argument("--jobs", type=_positive, default=2)

    train = command("train", "Train, or go on from the run's last state.")
    train.add_argument("--run", type=Path, default=_HERE / "runs" / "main", help="state, log and images")
    train.add_argument("--steps", type=_positive, help="last step; may be changed when a run goes on")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--recipe", type=json.loads, default={}, help='changes as JSON: {"shape": {"fmap_max": 48}}')
    train.add_argument("--minutes", type=float, default=float("inf"), help="stop and save after so many")
    train.add_argument("--threads", type=int, default=0, help="CPU threads; 0: as many as there are cores")

    export = command("export", "Write a run's generator as a checkpoint in Magenta's layout.")
    export.add_argument("--run", type=Path, default=_HERE / "runs" / "main")
    export.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    export.add_argument("--full", action="store_true", help="float32, every variable that Magenta's Saver wants")

    evaluate = command("evaluate", "Play every instrument and pitch through gansynth, and measure.")
    evaluate.add_argument("--checkpoint", default="mini")
    evaluate.add_argument("--out", type=Path, default=_HERE / "runs" / "figures")
    evaluate.add_argument("--pitch-step", type=_positive, default=1, help="step between pitches")
    evaluate.add_argument("--full", type=Path, help="the same voice by export --full: compare with Magenta's own code")

    measure = command("measure", "Compare the voice that evaluate played with the recordings; writes an audition page.")
    measure.add_argument("--notes", type=Path, default=_HERE / "runs" / "figures" / "notes.npz")
    measure.add_argument("--out", type=Path, default=_HERE / "runs" / "figures")

    programs = command("programs", "Choose each GM program's nearest instrument, and measure instruments' levels.")
    programs.add_argument("--notes", type=Path, default=_HERE / "runs" / "figures" / "notes.npz")
    programs.add_argument("--soundfont", type=Path, help="for FluidSynth; default: FluidR3_GM")
    programs.add_argument("--out", type=Path, default=_HERE / "runs" / "figures")

    card = command("card", "Write a voice's model card from what evaluate measured.")
    card.add_argument("--checkpoint", default="mini")
    card.add_argument("--figures", type=Path, default=_HERE / "runs" / "figures", help="what evaluate wrote")
    card.add_argument("--run", type=Path, default=_HERE / "runs" / "main", help="what train wrote")
    card.add_argument("--template", type=Path, default=_HERE / "model_card.md")
    card.add_argument("--out", type=Path, required=True, help="for MODEL_CARD.md and card/")

    releases = commands.add_parser("releases", help="Measure how quickly instruments fall silent when released.")
    releases.add_argument("--soundfont", type=Path, help="for FluidSynth; default: FluidR3_GM")

    kits = commands.add_parser("kits", help="Render a drum kit with FluidSynth.")
    kits.add_argument("--soundfont", type=Path, help="for FluidSynth; default: FluidR3_GM")
    kits.add_argument("--velocity", type=int, choices=range(1, 128), metavar="1..127", default=127)
    kits.add_argument("--out", type=Path, required=True, help="folder of the kit, which is replaced")
    kits.add_argument("--figures", type=Path, default=_HERE / "runs" / "figures", help="for kits.html, to listen to")
    options = parser.parse_args(arguments)

    if options.command == "prepare":
        from training import render
        from training.prepare import prepare as run_prepare

        run_prepare(options.data, options.notes, options.soundfont or render.SOUNDFONT, options.jobs)
    elif options.command == "train":
        import torch

        from training.train import Recipe
        from training.train import train as run_train

        if options.threads:
            torch.set_num_threads(options.threads)
        recipe = dataclasses.replace(Recipe(), seed=options.seed).changed(options.recipe)
        recipe = dataclasses.replace(recipe, steps=options.steps or recipe.steps)
        run_train(options.data, options.run, recipe, 60 * options.minutes)
    elif options.command == "export":
        from training.export import export as run_export
        from training.instruments import listed

        with np.load(options.run / "generator.npz") as archive:
            weights = {name: archive[name] for name in archive.files}
        instruments = listed((options.run / "instruments.json").read_text())
        experiment = json.loads((options.run / "experiment.json").read_text())
        run_export(weights, experiment, instruments, options.out, options.full)
    elif options.command == "evaluate":
        from training.evaluate import evaluate as run_evaluate

        result = run_evaluate(options.checkpoint, options.data, options.out, options.pitch_step, full=options.full)
        print(json.dumps({"summary": result["summary"], "missed": result["missed"]}, indent=1))
    elif options.command == "kits":
        from training import render
        from training.kits import make_kits

        make_kits(options.out, options.soundfont or render.SOUNDFONT, options.velocity, options.figures)
    elif options.command == "releases":
        from training import render
        from training.releases import main as print_releases

        print_releases(options.soundfont or render.SOUNDFONT)
    elif options.command == "measure":
        from training.measure import measure as run_measure

        result = run_measure(options.data, options.notes, options.out)
        print(json.dumps({key: result[key] for key in ("summary", "targets", "lowest")}, indent=1))
    elif options.command == "programs":
        from training import render
        from training.programs import measure_programs

        measure_programs(options.data, options.notes, options.out, options.soundfont or render.SOUNDFONT)
    else:
        from gansynth.model import checkpoint
        from training.card import card as run_card

        digest = checkpoint.load(options.checkpoint).digest
        run_card(digest, options.figures, options.run, options.out, options.template)


if __name__ == "__main__":
    main()
