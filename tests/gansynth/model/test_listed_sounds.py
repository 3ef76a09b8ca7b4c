"""Lists of sounds, which come from files that anybody may have written."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gansynth.model.layout import ModelConfig
from gansynth.model.listed_sounds import NewSounds, as_list, read_list
from gansynth.model.shape import NoteShape
from gansynth.model.sounds import Want

SHAPE = NoteShape(ModelConfig(latent_vector_size=2, start_height=2, start_width=16), "fake")
ONE, TWO = np.float32([1, 2]).tobytes(), np.float32([-1, 0.5]).tobytes()
WANTED: set[Want] = {((ONE, 60), 16), ((ONE, 60), 128), ((ONE, 24), 32), ((TWO, 84), 16)}


def test_a_list_is_read_as_it_was_written() -> None:
    listed = as_list(WANTED)
    assert listed == {"AACAPwAAAEA=": {"24": [32], "60": [16, 128]}, "AACAvwAAAD8=": {"84": [16]}}
    assert read_list(json.loads(json.dumps(listed)), SHAPE) == WANTED
    assert as_list([]) == {}


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([], "not a list of sounds"),
        (None, "not a list of sounds"),
        ({"AACAPwAAAEA=": [60]}, "not a list of sounds"),
        ({"AACAPwAAAEA": {"60": [16]}}, "not base64"),
        ({"ä": {"60": [16]}}, "not base64"),
        ({"AACAPw==": {"60": [16]}}, "has 1 numbers; those of the checkpoint have 2"),
        ({"AAAAAAAAwH8=": {"60": [16]}}, "all finite"),
        ({"AACAPwAAAEA=": {"85": [16]}}, "'85' is no pitch of the checkpoint"),
        ({"AACAPwAAAEA=": {"x": [16]}}, "'x' is no pitch"),
        ({"AACAPwAAAEA=": {"-1": [16]}}, "'-1' is no pitch"),
        ({"AACAPwAAAEA=": {"60": [17]}}, "'17' is no number of rows"),
        ({"AACAPwAAAEA=": {"60": [True]}}, "'True' is no number of rows"),
        ({"AACAPwAAAEA=": {"60": [16.0]}}, "'16.0' is no number of rows"),
        ({"AACAPwAAAEA=": {"60": {}}}, "'{}' is no number of rows"),
    ],
)
def test_other_content_is_refused(listed: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_list(listed, SHAPE)


def test_what_an_earlier_list_had_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    new = NewSounds()
    assert new.of(as_list(WANTED)) == as_list(WANTED)
    assert new.of(as_list(WANTED)) == {}
    more: Want = ((ONE, 60), 32)
    assert new.of(as_list({*WANTED, more})) == as_list({more})
    monkeypatch.setattr("gansynth.model.listed_sounds._REMEMBERED", 3)
    assert new.of(as_list(WANTED)) == as_list(WANTED)  # forgotten, since memory is bounded
