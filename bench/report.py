# SPDX-License-Identifier: Apache-2.0
"""docs/benchmarks.md: each benchmark owns the section between its two marker comments."""
import datetime
import os
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
PAGE = REPO / "docs" / "benchmarks.md"


def write_section(name, title, text):
    """Replaces the section of this name, or appends it."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    section = f"{begin}## {title}\n\n{text.rstrip()}\n{end}"
    page = PAGE.read_text()
    if begin in page:
        page = page[:page.index(begin)] + section + page[page.index(end) + len(end):]
    else:
        page = page.rstrip("\n") + "\n\n" + section
    PAGE.write_text(page)
    print(section)


def stamp(command, *versions):
    """When, where and how a section was measured."""
    commit = subprocess.run(["git", "-C", str(REPO), "describe", "--always", "--dirty"], capture_output=True, text=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**30
    today = datetime.date.today().isoformat()
    return f"Measured {today} at {commit} with `{command}`; {os.cpu_count()} cores, {memory} GB; {', '.join(versions)}."


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(" --- " if n == 0 else " ---: " for n in range(len(header))) + "|"]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def mebibytes(count):
    return f"{count / 2**20:,.1f} MB"
