"""Hostile YAML, JSON and .npz files end in an error at once, which names the file and what is wrong."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gansynth.audio.kits import load_kit
from gansynth.errors import CheckpointError, ConfigError
from gansynth.io import structured
from gansynth.model import checkpoint
from gansynth.model.layout import ModelConfig
from gansynth.score.instruments import load_bank
from pipeline.config import load_config

HOSTILE = Path(__file__).parents[4] / "shared" / "hostile"


ERRORS = {
    "a: [1\nb: }\n": "line 2, column 2 (b: }): a list is not closed: a comma or ] is missing",
    "a: {b: 1": "at its end: a mapping is not closed: a comma or } is missing",
    "notes:\n\tx: 1\n": "line 2, column 1 (x: 1): a tab; lines are indented with spaces",
    "a: b: c": "line 1, column 5 (a: b: c): a colon where no name can end",
    "a: @x": "line 1, column 4 (a: @x): a value cannot begin with this character",
    "a: 'x": "line 1, column 6 (a: 'x): a quotation mark is not closed",
    "a:\n  b: 1\n c: 2": "line 3, column 2 (c: 2): a setting is written as NAME: VALUE",
    "a: 1\nb": "at its end: a setting is written as NAME: VALUE; the colon is missing",
    "- a\nb: 1": "line 2, column 1 (b: 1): an entry of the list begins with -",
    "a: *x": "line 1, column 4 (a: *x): the name behind * is not defined",
    "a: !x y": "line 1, column 4 (a: !x y): tags such as !name are not accepted",
    "a: \x01": "a control character",
    b"a: \xff": "the text is not UTF-8",
    "a: 1\n---\nb: 1": "line 2, column 1 (---): a second document begins here",
    "{[1]: 2}": "line 1, column 2 ({[1]: 2}): a list or a mapping cannot be a name",
    'a: "\\q"': 'line 1, column 5 (a: "\\q"): \\ has a meaning in double quotation marks',
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors_of_yaml_are_told_in_words_and_where(text: str | bytes) -> None:
    with pytest.raises(ValueError, match="not valid YAML: ") as error:
        structured.parse_yaml(text)
    assert str(error.value).removeprefix("not valid YAML: ").startswith(ERRORS[text])


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "x:\n  a: {c: 1}\n  b: [1, 2]\n  a: 1", "{a: 1, ? a : 2}"])
def test_a_name_that_is_given_twice_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"^line \d: a is given twice, first in line \d$"):
        structured.parse_yaml(text)


def test_names_are_distinct_in_each_mapping_alone() -> None:
    text = "a: {b: 1}\nc: {b: [b, b, {b: b}]}\n1: x\n'1': y\nd: &d {b: 1}\ne: *d\nf: {<<: *d, g: 1}\n"
    assert structured.parse_yaml(text)["c"] == {"b": ["b", "b", {"b": "b"}]}


def aliases(levels: int, width: int = 10) -> str:
    lines = ["a0: &a0 [" + ",".join("x" * width) + "]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]
    return "\n".join(lines)


YAML = {
    "aliases": (aliases(10), "more values"),
    "merged aliases": (aliases(8) + "\nb: {<<: {c: *a7}}", "more values"),
    "alias of itself": ("a: &a [" + ",".join(["*a"] * 500_001) + "]", "more values"),
    "depth of lists": ("[" * 100_000, "more levels"),
    "depth of mappings": ("{a: " * 100_000, "more levels"),
    "depth of blocks": ("- " * 100_000, "more levels"),
    "long integer": ("a: " + "9" * 5000, "more digits"),
    "tagged integer": ("a: !!int '" + "9" * 5000 + "'", "more digits"),
    "sexagesimal": ("a: 1" + ":59" * 100_000, "more digits"),
    "hexadecimal": ("a: 0x" + "f" * 100_000, "more digits"),
    "many values": ("[" + "a," * 600_000 + "]", "more values"),
    "no timestamp": ("a: !!timestamp x", "not valid YAML"),
    "no integer": ("a: !!int ''", "."),
    "no boolean": ("a: !!bool x", "not valid YAML"),
    "object": ("!!python/object/apply:os.getcwd []", "not valid YAML"),
    "binary": ("\x00\x01", "not valid YAML"),
}


@pytest.mark.parametrize("kind", YAML)
def test_yaml_out_of_bounds(kind: str) -> None:
    text, reason = YAML[kind]
    with pytest.raises(ValueError, match=reason):
        structured.parse_yaml(text.encode())


def test_yaml_within_bounds() -> None:
    text = "a: &a [1, 0x10, 2.5, x]\nb: *a\nc: {<<: {d: " + "x" * 1000 + "}}\n" + "e: " + "[" * 60 + "]" * 60
    assert structured.parse_yaml(text) == yaml.safe_load(text)
    assert structured.parse_yaml(b"") is None


JSON = {
    "depth of lists": ("[" * 100_000, "more levels"),
    "depth of objects": ('{"a":' * 100_000, "more levels"),
    "depth, closed": ("[" * 100 + "]" * 100, "more levels"),
    "long integer": ("[" + "9" * 5000 + "]", "more digits"),
    "long fraction": ("0." + "9" * 5000, "more digits"),
    "many values": ("[" + "0," * 600_000 + "0]", "more values"),
    "nothing": ("", "Expecting value"),
    "no UTF-8": (b"\xff\xfe", "decode"),
}


@pytest.mark.parametrize("kind", JSON)
def test_json_out_of_bounds(kind: str) -> None:
    text, reason = JSON[kind]
    with pytest.raises(ValueError, match=reason):
        structured.parse_json(text)


def test_json_within_bounds() -> None:
    value = {"a": [1, -2.5, "x", None, True, {"b": []}], "c": 10**300}
    assert structured.parse_json(json.dumps(value)) == value


def npy(header: str, content: bytes = b"") -> bytes:
    head = header.encode() + b" " * (-(11 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + content


def npz(member: bytes, name: str = "latents.npy", method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, member)
    return bytearray(file.getvalue())


def patched(data: bytearray, at: int, value: int) -> bytearray:
    """Sets a byte of the local header, and of the directory's entry two bytes further on."""
    data[at] = data[data.index(b"PK\x01\x02") + at + 2] = value
    return data


def header(shape: object, dtype: str = "<f8") -> str:
    return str({"descr": dtype, "fortran_order": False, "shape": shape})


NPZ: dict[str, tuple[Callable[[], bytes | bytearray], str]] = {
    "shape of 80 TB": (lambda: npz(npy(header((10**13,)))), "states 80000000000000 bytes and holds 0"),
    "negative shape": (lambda: npz(npy(header((-1, -1)), bytes(8))), "states 8 bytes"),
    "huge dtype": (lambda: npz(npy(header((1,), "<U500000000"))), "states"),
    "dtype of no bytes": (lambda: npz(npy(header((10**9,), "<U0"))), "dtype"),
    "objects": (lambda: npz(npy(header((1,), "|O"), b"cos\nsystem\n")), "dtype object"),
    "header that is no literal": (lambda: npz(npy("__import__('os')")), "."),
    "header of brackets": (lambda: npz(npy("(" * 9000)), "."),
    "64 MiB and more": (lambda: npz(npy(header((1 << 27,), "|u1"), bytes(1 << 27))), "larger than 64 MiB"),
    "encrypted": (lambda: patched(npz(b"x"), 6, 1), "encrypted"),
    "method 99": (lambda: patched(npz(b"x"), 8, 99), "compression"),
    "another array": (lambda: npz(npy(header((1,)), bytes(8)), "other.npy"), "latents"),
    "many members": (lambda: b"PK\x01\x02" * 1001, "more members"),
    "no zip": (lambda: b"PK\x03\x04 not really", "zip"),
    "nothing": (lambda: b"", "zip"),
}


@pytest.mark.parametrize("kind", NPZ)
def test_npz_out_of_bounds(kind: str) -> None:
    make, reason = NPZ[kind]
    data = bytes(make())
    tracemalloc.start()
    with pytest.raises(ValueError, match=reason):
        structured.parse_npz(data, ["latents"])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * structured.MAX_BYTES


@pytest.mark.parametrize("at", range(30, 110, 7))
def test_a_damaged_npz_is_an_error_or_holds_what_it_says(at: int) -> None:
    data = npz(npy(header((4,)), bytes(range(32))))
    data[at] ^= 0x55
    try:
        (array,) = structured.parse_npz(bytes(data), ["latents"])
    except ValueError:
        return
    assert array.tobytes() == bytes(range(32))


@pytest.mark.parametrize("order", ["C", "F"])
def test_npz_within_bounds(order: Any) -> None:
    arrays = {"latents": np.asarray(np.arange(6.0).reshape(2, 3), order=order), "names": np.array(["a", "é"])}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    for found, array in zip(structured.parse_npz(file.getvalue(), [*arrays]), arrays.values(), strict=True):
        np.testing.assert_array_equal(found, array)
        assert found.dtype == array.dtype


# Whatever is read from outside


@pytest.mark.parametrize("text", ["a: *a\n", aliases(10), "[" * 10_000, "output: " + "9" * 5000])
def test_configs(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"--config .*c\.yaml: "):
        load_config(str(tmp_path / "c.yaml"))
    with pytest.raises(ConfigError, match="--set output="):
        load_config(None, ["output=" + "[" * 10_000])


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("text", [aliases(10), "[" * 10_000, '{"a": ' * 10_000, "instruments: " + "9" * 5000])
def test_banks(text: str, suffix: str, tmp_path: Path) -> None:
    bank = tmp_path / f"bank.{suffix}"
    bank.write_text(text)
    with pytest.raises(ConfigError, match=rf"instruments\.bank .*bank\.{suffix}: cannot be read"):
        load_bank(str(bank), 16)


@pytest.mark.parametrize("value", ["[[1]]", "{}", "[1e999]", "x", "[" + "9" * 300 + "]", "!!timestamp 2001-01-01"])
@pytest.mark.parametrize("key", ["name", "latent", "family", "programs"])
def test_banks_of_other_types(key: str, value: str, tmp_path: Path) -> None:
    entry = {"name": "a", "latent": "[0.5]"} | {key: value}
    bank = tmp_path / "bank.yaml"
    bank.write_text("instruments:\n- {" + ", ".join(f"{name}: {item}" for name, item in entry.items()) + "}")
    with contextlib.suppress(ConfigError):
        load_bank(str(bank), 1)


def test_a_kits_index(tmp_path: Path) -> None:
    (tmp_path / "36.wav").touch()
    (tmp_path / "index.yaml").write_text(aliases(10))
    with pytest.raises(ConfigError, match=r"index\.yaml: is not valid YAML \(it has more values"):
        load_kit(str(tmp_path), 16000)


SETTINGS = {
    "fmap_decay": (1e308, -1e308, float("nan")),
    "fmap_base": (10**400, 0),
    "fmap_max": (10**399,),
    "scale_base": (256, 65_536, 2**31, 10**390),
    "num_resolutions": (17, 10**300),
    "start_height": (10**300, 2**22),
    "kernel_size": (10**300,),
    "latent_vector_size": (10**300,),
    "audio_length": (10**300,),
    "stable_stage_num_images": (10**390,),
    "mag_normalizer_a": (1e308, float("inf")),
    "train_time_limit": (1e308,),
    "train_time_stage_multiplier": (1e308, 1e-308),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SETTINGS.items() for value in values])
def test_flags_of_checkpoints(name: str, value: object) -> None:
    flags = {"num_resolutions": 8, "start_height": 1, "start_width": 1024, "scale_mode": "H"} | {name: value}
    with pytest.raises(CheckpointError, match=r"experiment\.json: "):
        ModelConfig.from_json(json.dumps(flags), "experiment.json")


def test_time_that_is_too_short_for_a_stage(oracle_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    flags = {"train_time_limit": 1.0, "train_time_stage_multiplier": 0.01}
    with pytest.raises(CheckpointError, match="leaves no time"):
        checkpoint._progress(ModelConfig.model_validate(flags), 12, 7, lambda _: 0.5)


@pytest.mark.parametrize("named", ["/", "", "a" * 100_000, "/" + "a/" * 50_000 + "b", "\\0", "..", "a\x00b", "x" * 300])
def test_a_save_that_cannot_be(named: str, oracle_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    folder = shutil.copytree(oracle_checkpoint("tiny"), tmp_path / "checkpoint")
    state = folder / "stage_00012" / "checkpoint"
    state.write_text(f'model_checkpoint_path: "{named}"\n')
    with pytest.raises(CheckpointError, match="checkpoint: ") as raised:
        checkpoint.load(str(folder))
    assert len(str(raised.value)) < 1000


# The files of ../shared/hostile

needs_hostile = pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs ../shared/hostile")


@needs_hostile
@pytest.mark.parametrize("name", sorted(path.name for path in HOSTILE.glob("bank_*")))
def test_hostile_banks(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load_bank(str(HOSTILE / name), 16)


@needs_hostile
def test_a_hostile_config() -> None:
    with pytest.raises(ConfigError, match="config_yaml_bomb"):
        load_config(str(HOSTILE / "config_yaml_bomb.yaml"))


@needs_hostile
def test_a_hostile_checkpoint() -> None:
    path = HOSTILE / "experiment_wrap.json"
    with pytest.raises(CheckpointError, match=r"experiment_wrap\.json: the network's output is larger"):
        ModelConfig.from_json(path.read_text(), str(path))
