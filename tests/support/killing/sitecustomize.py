"""Kills every process that gives a song named `kill-STAGE.mid` to that stage, if it is in a folder on PYTHONPATH."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any

from gansynth.score.plan import NoteChunk
from transforms import expand_notes, mix_songs, read_midi, synthesize, write_songs


def die_of(song_id: str, stage: str) -> None:
    if song_id.endswith(f"kill-{stage}.mid"):
        os.kill(os.getpid(), signal.SIGKILL)


def kill(step: Any) -> None:
    handle = step.handle

    def killing(self: Any, element: Any) -> Any:
        for key in self.keys(element):
            die_of(key, self.stage)
        return handle(self, element)

    step.handle = killing


for step in (read_midi._Parse, expand_notes._Plan, mix_songs._Add, write_songs._Write):
    kill(step)

play = synthesize.play


def killing_play(chunks: Sequence[NoteChunk], *arguments: Any) -> Any:
    for chunk in chunks:
        die_of(chunk.song_id, "synthesize")
    return play(chunks, *arguments)


synthesize.play = killing_play
