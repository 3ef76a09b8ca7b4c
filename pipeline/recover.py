"""Lists and pages of an output folder from what its jobs have left: of jobs that failed, or that nobody waited for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from gansynth.errors import ConfigError
from gansynth.io import files, listing, paths, urls
from pipeline import remote, resume, rows
from pipeline.config import JobConfig, load_config
from pipeline.earlier import Earlier, read
from pipeline.job import ROWS, rows_folder
from pipeline.lock import Lock
from pipeline.options import separate
from pipeline.report import Summary, summarise, summary_text, write
from pipeline.run import without_row
from pipeline.terminal import say
from transforms.elements import Source
from transforms.manifest import Row

_STOPPED = "it failed or was cancelled"


def report(output: str, beam_args: Sequence[str] = (), quiet: bool = False) -> Summary:
    """Writes the lists, pages and data set of an output folder, and removes the rows that jobs have left.

    A song is rendered if a row or a completion record says so. Inputs of a remote job that have neither are failed
    (`job-stopped`).

    Args:
        output: path or URL of the folder.
        beam_args: Beam options for the connection to the service that is asked whether a remote job has ended.
        quiet: if true, nothing is printed.

    Returns:
        The totals of all songs in the folder.

    Raises:
        ConfigError: no job has begun in the folder, or one still runs.
    """
    _, beam_args = separate(beam_args)
    settings = urls.join(output, resume.CONFIG)
    if listing.kind(settings) != "file":
        raise ConfigError(f"{output}: no job has rendered songs into this folder; it has no {resume.CONFIG}.")
    config = load_config(settings, output=output)
    urls.configure(config.storage)
    with Lock(output, lambda owner: remote.has_ended(owner.remote, beam_args)) as lock:
        earlier, folder = read(config, same_settings=True), rows_folder(output, lock.owner.job)
        rows.write(folder, "found", _found(config, earlier))
        write(config, rows.find(folder), earlier.files, earlier.fits)
        summary = summarise(row for _, row in rows.merge(rows.find_lists(output)))
        files.remove(urls.join(output, ROWS))
    if not quiet:
        say(summary_text(summary, config, None))
    return summary


def _found(config: JobConfig, earlier: Earlier) -> Iterator[Row]:
    """Yields a row for each song that has none: that of its record, else that of an error."""
    have = {song_id for song_id, song in earlier.known.items() if song.digest}
    names = {f"{paths.output_name(song_id)}.json" for song_id in have}
    for row in resume.recorded(config, lambda name: name not in names):
        have.add(row["song_id"])
        yield row
    for url, _ in listing.find(urls.join(config.output, ROWS)):
        if url.endswith(f"/{remote.INPUTS}"):
            for line in files.read_lines(url):
                source = Source(*json.loads(line))
                if source.song_id not in have and source.song_id not in earlier.known:
                    have.add(source.song_id)
                    yield without_row(source, "mix", killed=False, stopped=_STOPPED)
