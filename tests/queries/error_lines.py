# SPDX-License-Identifier: Apache-2.0
"""Errors as psql prints them with VERBOSITY verbose: one line each, of all that a client gets but where in the server it arose.

A line is `ERROR 22012: division by zero`, followed by ` | DETAIL: ...`, ` | TABLE NAME: ...` and the like.
"""
import re

START = re.compile(r"^(?:psql:\S+ )?(ERROR|FATAL):  (.*)")
FIELD = re.compile(r"^(DETAIL|HINT|SCHEMA NAME|TABLE NAME|COLUMN NAME|DATATYPE NAME|CONSTRAINT NAME):  (.*)")
# Where in the text or in a function, and where in the server: the names of tables, and what was inlined, decide.
SKIPPED = re.compile(r"^(LINE \d+: |CONTEXT:  |QUERY:  |LOCATION:  )")
# LOCATION is the last field of each.
LAST = "LOCATION:  "


def joined(lines, context=False):
    """The lines, of which those of an error are one; `context`: with the CONTEXT of it."""
    found, error, skipping = [], None, False
    for line in lines:
        if match := START.match(line):
            if error is not None:
                found.append(error)
            error, skipping = f"ERROR {match[2].strip()}", False
        elif error is None:
            # Warnings have one, too.
            found += [line] if not line.startswith(LAST) else []
        elif line.startswith("==="):
            found += [error, line]
            error = None
        elif match := FIELD.match(line):
            error, skipping = f"{error} | {match[1]}: {match[2].strip()}", False
        elif context and line.startswith("CONTEXT:  "):
            error, skipping = f"{error} | {line}", False
        elif SKIPPED.match(line):
            skipping = True
            if line.startswith(LAST):
                found.append(error)
                error = None
        elif not skipping:
            error = f"{error} {line.strip()}"
    return found + ([error] if error is not None else [])


def state(error):
    return error.split(":")[0]


def shape(error):
    """An error without the values in it."""
    return re.sub(r'"[^"]*"|-?\d+(\.\d+)?|\(.*?\)', "?", error.partition(":")[2])


def may_be_of_another_row(one, other):
    """Whether two errors of data may be of two rows: they are of two states, or say the same of two values."""
    return state(one) != state(other) or shape(one) == shape(other)
