"""What a person sees while a run goes on: a bar on a terminal, plain lines elsewhere, on standard error."""

from __future__ import annotations

import sys
import time

PLAIN_SECONDS = 10.0


class Progress:
    """Shows steps done, loss, clips a second and time left; holds the time of the last plain line."""

    def __init__(self, *, steps: int, done: int, quiet: bool):
        self.steps = steps
        self.started = time.monotonic()
        self.first = done
        self.shown = -PLAIN_SECONDS
        self.plain = not quiet and not sys.stderr.isatty()
        self.bar = None
        if not quiet and not self.plain:
            from tqdm import tqdm

            self.bar = tqdm(total=steps, initial=done, unit="step", dynamic_ncols=True, file=sys.stderr)

    def advance(self) -> None:
        """One more step is done."""
        if self.bar is not None:
            self.bar.update()

    def report(self, step: int, loss: float, clips_per_s: float) -> None:
        """New figures for the bar, or a line if the last is some seconds old or this is the end."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.4f}, {clips_per_s:.1f} clips/s")
        now = time.monotonic()
        if self.plain and (now - self.shown >= PLAIN_SECONDS or step == self.steps):
            self.shown = now
            left = (now - self.started) / max(1, step - self.first) * (self.steps - step)
            minutes, seconds = divmod(round(left), 60)
            say(
                f"step {step}/{self.steps}  loss {loss:.4f}  {clips_per_s:.1f} clips/s  {minutes}:{seconds:02d} left"
            )

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()


def say(line: str) -> None:
    """A line on standard error, at once."""
    print(line, file=sys.stderr, flush=True)
