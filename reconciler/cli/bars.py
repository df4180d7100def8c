"""Running jobs on a terminal: one bar each and, for several, a total. Imported only when there is one to draw on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from reconciler.cli.rate import eta_s, format_eta, format_rate
from reconciler.cli.render.text import elide, pad, printable
from reconciler.cli.terminal import Terminal
from reconciler.core.digest import Digest
from reconciler.core.quantity import format_size
from reconciler.core.transfers import Progress

_LABEL_WIDTH = 24
# 24 label + 12 bar + 17 amount + 12 rate + 7 time left + gaps = 79: a line never wraps at 80 columns.


class ProgressBars:
    """Bars drawn by `update` alone: no thread of their own, so nothing is drawn after `close`."""

    def __init__(self, terminal: Terminal, *, colour: bool) -> None:
        # The streams stay as they are: standard output may be piped while the bars are on standard error.
        console = Console(file=terminal.err, no_color=not colour, highlight=False)
        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[amount]:>17}"),
            TextColumn("{task.fields[rate]:>12}"),
            TextColumn("{task.fields[eta]:>7}"),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def update(self, running: tuple[Progress, ...], labels: Mapping[Digest, str], now_s: float) -> None:
        """Draw `running`, and a total when there are several."""
        self._progress.start()
        for gone in set(self._tasks) - {job.spec.digest for job in running}:
            self._remove(gone)  # also the total: it stands below a bar that is added now
        for job in running:
            label = labels.get(job.spec.digest, job.spec.digest.short)
            text = label if job.state == "downloading" else f"{label} ({job.state})"
            self._draw(job.spec.digest, text, job.done_bytes, job.total_bytes, job.bytes_per_s)
        if len(running) > 1:
            self._draw_total(running)
        self._progress.refresh()

    def line(self, text: str) -> None:
        """Print it above the bars."""
        self._progress.console.print(escape(printable(text)), soft_wrap=True)

    def close(self) -> None:
        """The bars are gone from the screen."""
        self._progress.stop()

    def _draw_total(self, running: tuple[Progress, ...]) -> None:
        totals = [job.total_bytes for job in running if job.total_bytes is not None]
        rates = [job.bytes_per_s for job in running if job.bytes_per_s is not None]
        done = sum(job.done_bytes for job in running)
        total = sum(totals) if len(totals) == len(running) else None
        self._draw("total", "total", done, total, sum(rates) if rates else None)

    def _draw(self, key: str, label: str, done: int, total: int | None, rate: float | None) -> None:
        description = escape(pad(elide(printable(label), _LABEL_WIDTH), _LABEL_WIDTH))
        fields: dict[str, Any] = {
            "amount": short_amount(done, total),
            "rate": format_rate(rate),
            "eta": format_eta(eta_s(rate, done, total)),
        }
        if key in self._tasks:
            self._progress.update(self._tasks[key], description=description, total=total, completed=done, **fields)
        else:
            self._tasks[key] = self._progress.add_task(description, total=total, completed=done, **fields)

    def _remove(self, key: str) -> None:
        self._progress.remove_task(self._tasks.pop(key))


def short_amount(done_bytes: int, total_bytes: int | None) -> str:
    """`45.1/90.9 MB` in at most 17 columns, `45.1 MB` when the total is unknown."""
    done = format_size(done_bytes)
    if total_bytes is None:
        return done
    total = format_size(total_bytes)
    same_unit = done.rpartition(" ")[2] == total.rpartition(" ")[2]
    return f"{done.rpartition(' ')[0]}/{total}" if same_unit else f"{done}/{total}"
