"""Dead letters: the base class of steps that turn an error of one song into its dead letter, so the job goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, TypeVar

import apache_beam as beam

from gansynth.io import urls
from transforms.attempts import Attempts, alone, digest
from transforms.counters import count
from transforms.elements import Failure

FAILURES = "failures"
"""Name of the output for dead letters, which are keyed by song id."""

_Step = TypeVar("_Step", bound="DeadLetterDoFn")


class DeadLetterDoFn(beam.DoFn):
    """A step whose exceptions become dead letters in the output FAILURES; subclasses implement `handle`, `identify`.

    Attributes:
        stage: name of the step in dead letters and counters.
        attempts: the markers of its attempts; None if the runner itself finds out which song kills a worker.
    """

    stage: ClassVar[str]
    attempts: Attempts | None = None
    _suspects: frozenset[str] = frozenset()

    def marked(self: _Step, folder: str | None) -> _Step:
        """Sets the folder of the markers of all steps; returns this step."""
        self.attempts = Attempts(urls.join(folder, self.stage)) if folder else None
        return self

    def start_bundle(self) -> None:
        """Looks for suspects: a bundle that is tried again after the death of a worker is a new one."""
        if self.attempts is not None:
            self._suspects = self.attempts.suspects()

    def process(self, element: Any) -> Iterator[Any]:
        """Yields all outputs of an element, or else its dead letter."""
        try:
            outputs = self.attempt(element)
        except Exception as error:
            song_id, digest, source = self.identify(element)
            outputs = [self.dead_letter(song_id, digest, source, error)]
        yield from outputs

    def attempt(self, element: Any) -> list[Any]:
        """Computes the outputs of an element; those of a suspect in a child process.

        Raises:
            WorkerDied: the child process died.
            Exception: what `handle` raises.
        """
        keys = () if self.attempts is None else self.keys(element)
        if self.attempts is None or not keys:
            return list(self.handle(element))
        with self.attempts.trying(keys):
            return alone(_handle, self, element) if self.is_suspect(keys) else list(self.handle(element))

    def keys(self, element: Any) -> tuple[str, ...]:
        """Returns the keys by which attempts name an element; none if it cannot harm a worker."""
        return (self.identify(element)[0],)

    def is_suspect(self, keys: Iterable[str]) -> bool:
        """Tells whether an earlier attempt, of any of these keys, may have killed its worker."""
        return bool(self._suspects) and any(digest(key) in self._suspects for key in keys)

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


def _handle(step: DeadLetterDoFn, element: Any) -> list[Any]:
    """Does all that a worker would do for an element."""
    step.setup()
    return list(step.handle(element))
