from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from gansynth.errors import ConfigError
from pipeline.config import LATER, JobConfig, load_config

CONFIGS = Path(__file__).parents[2] / "configs"


def test_local_yaml_lists_every_setting_at_its_default() -> None:
    written = yaml.safe_load((CONFIGS / "local.yaml").read_text())
    assert written.pop("beam") == {"runner": "FnApiRunner"}
    defaults = JobConfig().model_dump(mode="json", exclude={"input", "beam"})
    assert written == defaults


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_presets_load_and_survive_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = load_config(str(path))
    again = tmp_path / "again.yaml"
    again.write_text(config.to_yaml())
    assert load_config(str(again)) == config


def test_magenta_preset_is_the_reference() -> None:
    config = load_config(str(CONFIGS / "magenta.yaml"))
    assert (config.notes.min_pitch, config.notes.max_pitch, config.notes.out_of_range) == (36, 84, "drop")
    assert config.notes.drums == "play"
    assert not config.notes.sustain_pedal
    assert config.notes.salvage == "off"
    assert (config.envelope.note_peak, config.mix.clip_peak, config.mix.tail) == ("positive", "positive", "reference")
    assert (config.envelope.attack, config.envelope.release, config.envelope.max_sustain) == (0.010, 0.3, 3.0)
    assert config.mix.peak == 0.5
    assert (config.notes.reader, config.envelope.long_notes, config.mix.velocity) == ("note_seq", "cut", "linear")


NEW_DEFAULTS = {
    "notes.reader": "channels",
    "notes.drums": "kit",
    "notes.out_of_range": "stretch",
    "envelope.release": "instrument",
    "envelope.long_notes": "hold",
    "envelope.max_sustain": None,
    "mix.velocity": "general_midi",
    "instruments.variation": 1.0,
}
"""Settings whose default sound versions 2 and 3 changed or added."""


LEFT_TO_DEFAULTS = {
    *("notes.time_stretch", "notes.max_song_seconds", "notes.max_notes", "notes.max_polyphony", "notes.max_file_bytes"),
    *(
        "notes.text_encoding",
        "instruments.seed",
        "instruments.latent_steps",
        "drums.kit",
        "stems.by",
        "stems.format",
        "stems.max_files",
    ),
    *("mix.normalize", "mix.loudness", "mix.true_peak", "mix.panning"),
}
"""Limits, seeds, names, and settings that are off."""


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flattens sections to "section.key"."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def test_no_new_default_reaches_the_magenta_preset() -> None:
    written = flat(yaml.safe_load((CONFIGS / "magenta.yaml").read_text()))
    loaded = flat(load_config(str(CONFIGS / "magenta.yaml")).model_dump(mode="json"))
    defaults = flat(JobConfig().model_dump(mode="json"))
    for name, new in NEW_DEFAULTS.items():
        assert defaults[name] == new
        assert written[name] == loaded[name] != new
    assert written.keys() >= {"notes.min_pitch", "notes.max_pitch", "notes.sustain_pedal", "notes.salvage"}
    # Of what decides the sound, the preset leaves only these to the defaults.
    sections = ("notes", "instruments", "envelope", "mix", "drums", "stems")
    left = {name for name in defaults if name.split(".")[0] in sections} - written.keys()
    assert left == LEFT_TO_DEFAULTS


def test_settings_lie_over_the_file_and_inputs_replace_its_own(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("input: a\nnotes: {drums: play}\n")
    config = load_config(str(path), ["instruments.seed=7", "notes.time_stretch=1.3"], ["b", "c"], "elsewhere")
    assert config.input == ("b", "c")
    assert config.output == "elsewhere"
    assert (config.notes.drums, config.notes.time_stretch, config.instruments.seed) == ("play", 1.3, 7)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("notes.drum=play", r"unknown key notes\.drum; did you mean notes\.drums\?"),
        ("chekpoint=mini", r"unknown key chekpoint; did you mean checkpoint\?"),
        ("notes.drums=loud", r"notes\.drums: .*'kit', 'play' or 'skip'"),
        ("notes.time_stretch=-1", r"notes\.time_stretch: .*greater than 0"),
        ("notes.min_pitch=90", r"min_pitch 90 is above max_pitch 84"),
        ("instruments.times=[0, 1]", r"instruments has 4 entries, times 2|unknown"),
        ("novalue", r"--set novalue: write it as section\.key=value"),
        ("checkpoint.x=1", r"checkpoint is not a section|checkpoint"),
    ],
)
def test_wrong_settings_are_explained(setting: str, message: str) -> None:
    settings = ["instruments.mode=interpolate", setting] if "times" in setting else [setting]
    with pytest.raises(ConfigError, match=message):
        load_config(None, ["checkpoint=mini", *settings])


def test_a_missing_or_broken_config_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load_config(str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    with pytest.raises(ConfigError, match=r"broken\.yaml: not valid YAML: at its end: a value is missing"):
        load_config(str(broken))
    broken.write_text("- a\n")
    with pytest.raises(ConfigError, match="must contain a YAML mapping"):
        load_config(str(broken))


def test_the_word_off_is_understood_as_yaml_reads_it(tmp_path: Path) -> None:
    assert load_config(None).notes.salvage == "safe"
    path = tmp_path / "c.yaml"
    for word in ("off", "'off'", "Off", "false"):
        path.write_text(f"notes: {{salvage: {word}}}\n")
        assert load_config(str(path)).notes.salvage == "off"
        assert load_config(None, [f"notes.salvage={word}"]).notes.salvage == "off"
    with pytest.raises(ConfigError, match=r"notes\.salvage: .*'off', 'safe' or 'aggressive'"):
        load_config(None, ["notes.salvage=on"])


def test_settings_saved_by_earlier_releases_mean_what_they_did(tmp_path: Path) -> None:
    """A saved config without the later settings has the pictures of its time, and the digest that it had then."""
    file = tmp_path / "config.yaml"
    values = yaml.safe_load(load_config(None).to_yaml())
    for name in LATER:
        section, key = name.split(".")
        del values[section][key]
    file.write_text(yaml.safe_dump(values))
    saved = load_config(str(file))
    assert saved.spectrogram.range == "reference"
    assert not saved.piano_roll.data
    sections = ("notes", "instruments", "envelope", "mix", "drums", "stems", "audio", "spectrogram", "piano_roll")
    parts = [values[section] for section in sections]  # as releases before the later settings saw them
    parts[5]["most"] = parts[5].pop("max_files")
    text = json.dumps([*parts, saved.compute.precision, saved.note_files, saved.sound_version], sort_keys=True)
    assert saved.digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert load_config(str(file), ["spectrogram.range=full"]).spectrogram.range == "full"
    del values["sound_version"]  # which only saved configs and configs/local.yaml have
    file.write_text(yaml.safe_dump(values))
    assert load_config(str(file)).digest == load_config(None).digest != saved.digest
    assert load_config(str(CONFIGS / "magenta.yaml")).spectrogram.range == "reference"


def test_settings_of_pictures_that_are_not_drawn_do_not_matter() -> None:
    none = ["spectrogram.png=false", "piano_roll.png=false", "piano_roll.data=false"]
    before = load_config(None, none).digest
    assert load_config(None, [*none, "spectrogram.range=reference", "piano_roll.colour=track"]).digest == before
    assert load_config(None, [*none, "spectrogram.array=true"]).digest != before
    assert load_config(None, ["piano_roll.colour=track"]).digest != load_config(None).digest


def test_digest_follows_the_sound_and_not_the_work() -> None:
    base = load_config(None).digest
    assert load_config(None, ["compute.batch_rows=64", "output=x", "input=[y]"]).digest == base
    assert load_config(None, ["mix.peak=0.5"]).digest != base
    assert load_config(None, ["audio.format=flac"]).digest != base
