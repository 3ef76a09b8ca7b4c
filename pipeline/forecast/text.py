"""The forecast as text, on a terminal or in a file."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gansynth.figures.axes import clock
from pipeline import runners
from pipeline.config import JobConfig
from pipeline.forecast.forecast import Forecast
from pipeline.outcomes import event_outcomes, note_outcomes
from pipeline.report import done_text
from pipeline.terminal import say
from pipeline.web import display

_EXAMPLES = 2
_UNWRAPPED = 20_000
"""Length of a line that is longer than any fact."""


def as_text(result: Forecast, config: JobConfig, width: int = 110) -> str:
    """Formats a forecast as plain text.

    Args:
        result: the forecast.
        config: the job's settings.
        width: length of a line in characters.
    """
    console = Console(width=width, color_system=None, force_terminal=False, record=True, file=io.StringIO())
    console.print(_renderable(result, config))
    return "\n".join(line.rstrip() for line in console.export_text().splitlines()) + "\n"


def show(result: Forecast, config: JobConfig, console: Console | None = None) -> None:
    """Prints a forecast.

    Args:
        result: the forecast.
        config: the job's settings.
        console: destination; standard output if None.
    """
    if console is None and not sys.stdout.isatty():  # whoever reads a pipe wraps the lines
        say(as_text(result, config, width=_UNWRAPPED).rstrip("\n"), to_stdout=True)
        return
    (console or Console(highlight=False)).print(_renderable(result, config))


def _renderable(result: Forecast, config: JobConfig) -> RenderableType:
    """Lays out a forecast as tables and lines."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column()
    for name, fact in _facts(result, config):
        facts.add_row(name, Text(fact))
    blocks: list[RenderableType] = [facts]
    if result.failed:
        blocks += [Text(), Text(f"Will fail: {result.failed:,}", style="bold")]
        for code, count in result.reasons.most_common():
            examples = [failure for failure in result.failures if failure[1] == code][:_EXAMPLES]
            blocks.append(Text.assemble((f"{count:>6,}  ", ""), (code, "red")))
            blocks += [Padding(Text(f"{display(song)}: {display(why)}"), (0, 0, 0, 8)) for song, _, why in examples]
            if count > len(examples):
                blocks.append(Padding(Text(f"and {count - len(examples):,} more", style="dim"), (0, 0, 0, 8)))
    if result.paths:
        blocks += [Text(), Text("Input -> output", style="bold")]
        blocks += [Text(f"  {display(url)} -> {display(target)}") for url, target in result.paths]
        if more := result.songs + result.finished - len(result.paths):
            blocks.append(Text(f"  and {more:,} more", style="dim"))
    return Group(*blocks)


def _facts(result: Forecast, config: JobConfig) -> Iterator[tuple[str, str]]:
    others = [(result.finished, "already finished"), (result.failed, "will fail")]
    more = "".join(f", {count:,} {what}" for count, what in others if count)
    yield "Songs", f"{result.songs:,} to render{more}; {result.files:,} files, {result.input_bytes / 1e6:,.1f} MB"
    if not result.songs:
        if result.finished:
            yield "Job", done_text(result.finished, result.failed, result.files)
        return
    yield "Audio", _length(result.seconds)
    outcomes = "; ".join(note_outcomes(result.notes))
    yield "Notes", f"{result.notes['played']:,} played" + (f" ({outcomes})" if outcomes else "")
    for ignored in event_outcomes(result.ignored):
        yield "Events", ignored
    if result.repairs:
        yield "Repairs", ", ".join(f"{name} ({count:,})" for name, count in sorted(result.repairs.items()))
    share = 100 * result.distinct / max(1, result.notes["played"])
    yield "Sounds", f"{result.distinct:,} distinct: {share:.3g} % of the notes; the other notes repeat them"
    names = [f"{display(name)} ({count:,})" for name, count in result.instruments.most_common(8)]
    rest = len(result.instruments) - len(names)
    yield "Instruments", ", ".join(names) + (f" and {rest:,} more" if rest else "")
    yield "Network", f"{result.gflop:,.0f} GFLOP"
    for rule in result.unused_rules:
        yield "Unused", display(rule)
    calibration, here, network = result.calibration, result.seconds_here, result.network_seconds
    if calibration is not None and here is not None and network is not None:
        processes = f"{result.workers} process{'es' if result.workers > 1 else ''}"
        yield (
            "This machine",
            f"about {clock(here)} with {processes}, if it does nothing else: {clock(calibration.startup)} to start, "
            f"{network:,.1f} s of network, {calibration.minute:.2f} s per minute of audio, shared by the processes",
        )
    else:
        yield "This machine", "not calibrated"
    prices = config.plan.prices
    if result.runner == runners.DATAFLOW or any(
        price is not None for price in (prices.worker_hour, prices.gpu_worker_hour)
    ):
        yield "Dataflow", _on_dataflow(result, config)


def _on_dataflow(result: Forecast, config: JobConfig) -> str:
    amounts, prices = result.dataflow(config), config.plan.prices
    known = [
        f"{amount:,.2f} {name.replace('_', ' ').replace('gb', 'GB').replace('gpu', 'GPU')}"
        for name, amount in amounts.items()
        if amount is not None and not name.startswith("cost")
    ]
    text = f"{', '.join(known)}, if workers are as fast as this machine"
    if amounts.get("gpu_worker_hours", 0) is None:
        text += "; GPU worker hours: unknown, set plan.gpu_gflops"
    if amounts["cost"] is None:
        return f"{text}; cost: unknown, set plan.prices"
    date = f"prices of {prices.date}" if prices.date else "at the configured prices"
    return f"{text}; {amounts['cost']:,.2f} {prices.currency} ({date}), not counting worker start-up and storage"


def _length(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds >= 7200 else f"{seconds / 60:,.1f} minutes"
