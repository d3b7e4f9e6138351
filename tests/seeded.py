# SPDX-License-Identifier: Apache-2.0
"""What the suites of generated scripts share: their arguments, and how a script is run by psql and judged.

A suite gives `main` a function that runs one seed. `judge` runs a script that ends with the line "NAME: done" when
all that it compared was equal.
"""
import argparse
import os
import subprocess
import sys


def main(description, run, name, seeds, steps, add_arguments=lambda parser: None):
    """Runs seeds one after the other and exits with their outcome. `run(seed, args)` returns whether all was well."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--seeds", type=int, default=seeds, help="how many")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--database", default=name)
    parser.add_argument("--psql", default=os.environ.get("PSQL", "psql"))
    add_arguments(parser)
    args = parser.parse_args()
    results = [run(seed, args) for seed in range(args.seed, args.seed + args.seeds)]
    sys.exit(0 if all(results) else 1)


def print_argument(parser):
    """For suites whose seeds are scripts."""
    parser.add_argument("--print", action="store_true", help="print the SQL instead of running it")


def judge(name, title, script, args, expected_errors=(), stop_at_errors=False):
    """Runs a script with psql, or prints it; returns whether it came to its end without an error that is not expected."""
    if args.print:
        print(script)
        return True
    stop = ["-v", "ON_ERROR_STOP=1"] if stop_at_errors else []
    result = subprocess.run([args.psql, "-X", "-q", *stop, "-d", args.database], input=script, capture_output=True, text=True)
    errors = [line for line in result.stderr.splitlines() if ("ERROR" in line or "FATAL" in line)
              and not any(text in line for text in expected_errors)]
    good = f"{name}: done" in result.stdout and not errors
    print(f"{'ok' if good else 'not ok'} - {title}", flush=True)
    if not good:
        print(result.stdout[-2000:], *errors[:10], f"repeat with the same options and --seeds 1 --steps {args.steps}", sep="\n")
    return good
