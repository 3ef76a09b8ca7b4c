"""Dead letters: the base class of steps that turn an error of one song into its dead letter, so the job goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import apache_beam as beam

from transforms.counters import count
from transforms.elements import Failure

FAILURES = "failures"
"""Name of the output for dead letters, which are keyed by song id."""


class DeadLetterDoFn(beam.DoFn):
    """A step whose exceptions become dead letters in the output FAILURES; subclasses implement `handle`, `identify`.

    Attributes:
        stage: name of the step in dead letters and counters.
    """

    stage: ClassVar[str]

    def process(self, element: Any) -> Iterator[Any]:
        """Yields all outputs of an element, or else its dead letter."""
        try:
            outputs = list(self.handle(element))
        except Exception as error:
            song_id, digest, source = self.identify(element)
            outputs = [self.dead_letter(song_id, digest, source, error)]
        yield from outputs

    def handle(self, element: Any) -> Iterable[Any]:
        """Computes the outputs of an element."""
        raise NotImplementedError

    def identify(self, element: Any) -> tuple[str, str, str]:
        """Returns song id, file digest and file URL of an element; the last two are empty if unknown."""
        raise NotImplementedError

    def dead_letter(self, song_id: str, digest: str, source: str, error: Exception) -> Any:
        """Counts a failed song and makes its dead letter.

        Args:
            song_id: id of the song.
            digest: sha256 of its file; empty if unknown.
            source: path or URL of its file; empty if unknown.
            error: the exception.

        Returns:
            An output of this step.
        """
        count(f"failed_{self.stage}")
        return beam.pvalue.TaggedOutput(FAILURES, (song_id, Failure.of(song_id, self.stage, error, digest, source)))
