"""Makes the data in this folder from the oracle's recordings of Magenta's own code.

    python tests/data/make_data.py ORACLE

ORACLE is the folder with ckpts/ and goldens/, made with magenta 2.1.4 and random weights as its README describes. This
folder keeps a selection, so that the tests need nothing else:

- checkpoints/NAME: the EMA shadows of the generator and `global_step` of every save, bit for bit. The discriminator,
  the optimizer and the raw weights, which sampling does not read, are left out. tiny_scaleH and tiny_wave, whose
  first kernel has 1024 columns, are zipped (NAME.zip), and of that kernel the rows of pitches that no kept golden
  plays are zero: one-hot labels never reach them.
- goldens/NAME.npz: the first 12000 and last 4000 samples of two or three notes, as float32, and the peak of each
  whole note; some rows of fake_data, if there is one.
- goldens/e2e_cli_tiny.npz: the whole shortest clip, and the first and last 16000 samples of the other two.
- goldens/{z_notes,combine_notes,envelope,load_midi}: the first two unchanged; of envelopes that differ from env_0.3
  only by more samples of 1, the number of these; of load_midi, the notes of the file or the exception.
- midi/: the small files that the goldens were made from.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.support.checkpoints import EMA, SCOPE, write_save  # noqa: E402

HEAD, TAIL = 12000, 4000
KEPT_ROWS = np.r_[0:12, 62:66, 124:128]
WIDE = ("tiny_scaleH", "tiny_wave")


def reduce_save(prefix: Path, target: Path, pitches: list[int] | None) -> None:
    reader = tf.train.load_checkpoint(str(prefix))
    variables = {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name == "global_step" or (name.startswith(SCOPE) and name.endswith(EMA))
    }
    if pitches is not None:
        first = f"{SCOPE}progressive_gan_block_1/conv0/conv2d/kernel{EMA}"
        latent = variables[first].shape[2] - 61
        unheard = [latent + pitch - 24 for pitch in range(24, 85) if pitch not in pitches]
        variables[first][:, :, unheard] = 0
    write_save(target, variables)


def reduce_checkpoint(folder: Path, pitches: list[int]) -> None:
    wide = folder.name in WIDE
    target = Path(tempfile.mkdtemp()) / folder.name if wide else HERE / "checkpoints" / folder.name
    for state in sorted(folder.glob("stage_*/checkpoint")):
        stage = target / state.parent.name
        for index in sorted(state.parent.glob("*.index")):
            reduce_save(index.with_suffix(""), stage / index.stem, pitches if wide else None)
        shutil.copyfile(state, stage / "checkpoint")
    shutil.copyfile(folder / "experiment.json", target / "experiment.json")
    for asset in folder.glob("assets/*.npz"):
        if not asset.name.startswith("DONE"):
            (target / "assets").mkdir(exist_ok=True)
            shutil.copyfile(asset, target / "assets" / asset.name)
    if wide:
        (HERE / "checkpoints").mkdir(exist_ok=True)
        with zipfile.ZipFile(HERE / "checkpoints" / f"{folder.name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(p for p in target.rglob("*") if p.is_file()):
                entry = zipfile.ZipInfo(str(path.relative_to(target)), (1980, 1, 1, 0, 0, 0))
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, path.read_bytes())
        shutil.rmtree(target.parent)


def reduce_golden(path: Path) -> list[int]:
    golden = np.load(path)
    notes = [0, 3, 5] if path.stem == "tiny8" else [0, 3]
    audio = golden["audio"][notes]
    kept = {
        "z": golden["z"][notes],
        "pitches": golden["pitches"][notes],
        "head": audio[:, :HEAD],
        "tail": audio[:, -TAIL:],
        "peak": np.abs(audio).max(axis=1),
    }
    if "fake_data" in golden:
        kept |= {"fake_data": golden["fake_data"][:, KEPT_ROWS], "fake_data_rows": KEPT_ROWS}
    np.savez_compressed(HERE / "goldens" / path.name, **kept)
    return golden["pitches"][notes].tolist()


def reduce_clips(path: Path) -> None:
    clips, kept = np.load(path), {}
    for name in ("fourteen_seconds", "order", "sustain"):
        wav = clips[f"{name}_wav"]
        where = np.arange(len(wav)) if name == "sustain" else np.r_[0:16000, len(wav) - 16000 : len(wav)]
        kept[f"{name}_wav"], kept[f"{name}_length"] = wav[where], len(wav)
        kept[f"{name}_first"] = len(wav) if name == "sustain" else 16000
        for part in ("z_instruments", "t_instruments", "z_notes"):
            kept[f"{name}_{part}"] = clips[f"{name}_{part}"]
    np.savez_compressed(HERE / "goldens" / path.name, **kept)


def reduce_envelopes(path: Path) -> None:
    golden = np.load(path)
    ramps = np.concatenate([golden["env_0.3"][:160], golden["env_0.3"][-4800:]])
    kept = {}
    for name in golden:
        values = golden[name]
        if name != "lengths" and len(values) > len(golden["env_0.3"]):
            assert (values[160:-4800] == 1).all()
            assert (np.concatenate([values[:160], values[-4800:]]) == ramps).all()
            values = np.array(len(values))
        kept[name] = values
    np.savez_compressed(HERE / "goldens" / "envelope.npz", **kept)


def main(oracle: Path) -> None:
    for name in ("checkpoints", "goldens", "midi"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / "goldens").mkdir()
    for folder in sorted((oracle / "ckpts").iterdir()):
        reduce_checkpoint(folder, reduce_golden(oracle / "goldens" / f"{folder.name}.npz"))
    reduce_clips(oracle / "goldens" / "e2e_cli_tiny.npz")
    util = oracle / "goldens" / "util"
    reduce_envelopes(util / "envelope.npz")
    for name in ("z_notes.npz", "combine_notes.npz", "combine_notes.json"):
        shutil.copyfile(util / name, HERE / "goldens" / name)
    songs = json.loads((util / "load_midi.json").read_text())
    kept = ("exception", "ns_num_notes", "ns_notes", "pitches", "velocities", "start_times", "end_times")
    reduced = {name: {k: v for k, v in song.items() if k in kept} for name, song in songs.items()}
    (HERE / "goldens" / "load_midi.json").write_text(json.dumps(reduced) + "\n")
    (HERE / "midi").mkdir()
    for path in (oracle / "goldens" / "midi").iterdir():
        shutil.copyfile(path, HERE / "midi" / path.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
