"""The base of all steps that must not fail: an error of one song becomes its dead letter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import apache_beam as beam

from transforms.counters import count
from transforms.elements import Failure

FAILURES = "failures"
"""The output that dead letters go to, keyed by song id."""


class DeadLetterDoFn(beam.DoFn):
    """A step over songs whose errors become dead letters in the output FAILURES; subclasses write `handle`.

    Attributes:
        stage: name of the step in dead letters and counters.
    """

    stage: ClassVar[str]

    def process(self, element: Any) -> Iterator[Any]:
        """Handles an element; all of its outputs, or its dead letter."""
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
        """Returns the id of an element's song, and the digest and URL of its file, empty where they are not known."""
        raise NotImplementedError

    def dead_letter(self, song_id: str, digest: str, source: str, error: Exception) -> Any:
        """Counts a failed song and makes its dead letter, an output of this step."""
        count(f"failed_{self.stage}")
        return beam.pvalue.TaggedOutput(FAILURES, (song_id, Failure.of(song_id, self.stage, error, digest, source)))
