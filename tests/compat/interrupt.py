"""Interrupt a command: python interrupt.py SIGNAL FILE TEXT COMMAND ...

Sends the signal (KILL, TERM, USR1) as soon as FILE exists and holds TEXT, then prints the exit status.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path


def main(name: str, file: str, text: str, *command: str) -> None:
    process = subprocess.Popen(command)
    wanted = text.encode()
    while process.poll() is None:
        if Path(file).exists() and wanted in Path(file).read_bytes():
            process.send_signal(getattr(signal, f"SIG{name}"))
            break
    print(f"exit status {process.wait()}")


if __name__ == "__main__":
    main(*sys.argv[1:])
