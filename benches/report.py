"""Report: collects the figures of all languages into target/bench.json, a table, and the README.

Usage: report.py BENCH-JSON README LINES-FILE...
Each line of a LINES-FILE that is a JSON object with an `id` is one figure; everything else is passed on.
"""

import json
import os
import platform
import re
import sys

# Id, goal in words, whether a figure reaches it. Throughputs are a second, ratios are ours / baseline in time a call.
GOALS = {
    "P1": ("ratio at most 1.0 to a raw ETS lookup", lambda f: f["ratio"] <= 1.0),
    "P2": ("ratio at most 1.4 to a bare fdatasync append", lambda f: f["ratio"] <= 1.4),
    "P3": ("at least 200 k calls/s", lambda f: f["value"] >= 200e3),
    "P4": ("at least 400 k calls/s", lambda f: f["value"] >= 400e3),
    "P5": ("at least 1.0 M keys/s", lambda f: f["value"] >= 1.0e6),
    "P5x8": ("at least 1.8 M keys/s", lambda f: f["value"] >= 1.8e6),
    "P5r": ("at least 1.0 M keys/s", lambda f: f["value"] >= 1.0e6),
    "P5rx8": ("at least 1.8 M keys/s", lambda f: f["value"] >= 1.8e6),
    "P6": ("at least 450 k calls/s", lambda f: f["value"] >= 450e3),
    "P6x1024": ("at least 700 k calls/s", lambda f: f["value"] >= 700e3),
    "P7c": ("at most 250 ns", lambda f: f["value"] <= 250),
    "P7py": ("at most 300 ns", lambda f: f["value"] <= 300),
    "P8": ("at least 2 k calls/s", lambda f: f["value"] >= 2e3),
    "P8x128": ("at least 100 k calls/s", lambda f: f["value"] >= 100e3),
    "P9": ("at least 12 k calls/s", lambda f: f["value"] >= 12e3),
    "P9x128": ("at least 250 k calls/s", lambda f: f["value"] >= 250e3),
    "P10": ("at most 300 bytes a record", lambda f: f["value"] <= 300),
    "P11open": ("at most 2 s", lambda f: f["value"] <= 2),
    "P11pause": ("at most 20 ms", lambda f: f["value"] <= 20),
    "W1": ("ratio at most 1.03 to the same without history", lambda f: f["ratio"] <= 1.03),
    "W2": ("ratio at most 1.03 to the same without history", lambda f: f["ratio"] <= 1.03),
    "W3": ("at least 100 k events/s", lambda f: f["value"] >= 100),
    "Q1": ("ratio at most 2 to the same picked from 10 k keys", lambda f: f["ratio"] <= 2),
    "Q2": ("ratio at most 2 to the same picked from 10 k keys", lambda f: f["ratio"] <= 2),
    "Q3": ("ratio at most 2 to the same picked from 10 k keys", lambda f: f["ratio"] <= 2),
    "Q4": ("at most 1,000 ns a record", lambda f: f["value"] <= 1000),
    "Q5": ("at most 1,000 ms", lambda f: f["value"] <= 1000),
    "I2": ("at most 3,000 ms", lambda f: f["value"] <= 3000),
    "I3": ("at most 100 µs", lambda f: f["value"] <= 100),
    "X1": ("ratio at most 2 to a bulk put of 2 keys", lambda f: f["ratio"] <= 2),
    "T1": ("ratio at most 1.03 to telemetry off", lambda f: f["ratio"] <= 1.03),
    "P12": ("at most 500 ms", lambda f: f["value"] <= 500),
    "P13": ("at least 50 k calls/s", lambda f: f["value"] >= 50e3),
    "P14": ("at least 20 k calls/s", lambda f: f["value"] >= 20e3),
}

MARKERS = ("<!-- figures: `make bench` writes this table -->", "<!-- end of figures -->")


def read_figures(paths):
    """Every figure of the files, each id once, in the order of their ids."""
    figures = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for line in file:
                try:
                    figure = json.loads(line)
                except ValueError:
                    continue
                if isinstance(figure, dict) and "id" in figure:
                    figures[figure["id"]] = figure
    return sorted(figures.values(), key=lambda figure: order(figure["id"]))


def against_the_faster_append(figures):
    """Hold P2 against the fastest bare append of the run: Elixir's own loop pays for a scheduler hop a call as well."""
    known = {figure["id"]: figure for figure in figures}
    if "P2" in known and "P6base" in known:
        put, append_us = known["P2"], 1e6 / known["P6base"]["value"]
        if append_us < put["baseline"]:
            put.update(
                baseline=append_us,
                ratio=put["value"] / append_us,
                baseline_name="P6base, the faster append of this run",
            )


def order(name):
    """P2 before P10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def amount(value, unit):
    """A number as people read it."""
    if value is None:
        return "-"
    if unit.endswith("/s"):
        for size, letter in ((1e6, "M"), (1e3, "k")):
            if value >= size:
                return f"{value / size:.3g} {letter} {unit}"
    digits = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{digits} {unit}"


def rows(figures):
    """The table's cells; `reached` is empty where there is no goal."""
    for figure in figures:
        goal, reaches = GOALS.get(figure["id"], ("", None))
        reached = "" if reaches is None else ("yes" if reaches(figure) else "NO")
        baseline = amount(figure.get("baseline"), figure.get("baseline_unit", figure["unit"]))
        if figure.get("baseline_name"):
            baseline += f" ({figure['baseline_name']})"
        ratio = figure.get("ratio")
        ratio = "-" if ratio is None else f"{ratio:.3g}"
        yield (figure["id"], figure["name"], amount(figure["value"], figure["unit"]), baseline, ratio, goal, reached)


HEAD = ("id", "what", "figure", "baseline", "ratio", "goal", "reached")


def plain_table(cells):
    """Columns of equal width."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def markdown_table(cells):
    """The same for the README, with the machine that made it."""
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    lines.insert(1, "|--" * len(HEAD) + "|")
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return (
        "\n".join(lines)
        + f"\n\nMeasured by `make bench` on one machine ({machine}); ratios are ours / baseline in time or bytes."
    )


def write_readme(path, table):
    """Replaces what stands between the markers."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, rest = text.split(MARKERS[0], 1)
    _, after = rest.split(MARKERS[1], 1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{MARKERS[0]}\n{table}\n{MARKERS[1]}{after}")


def main(target, readme, *paths):
    """Writes the file, prints the table, renews the README."""
    figures = read_figures(paths)
    if not figures:
        sys.exit("no figure was measured")
    against_the_faster_append(figures)
    keys = ("id", "name", "value", "unit", "baseline", "ratio")
    with open(target, "w", encoding="utf-8") as file:
        json.dump([{key: figure.get(key) for key in keys} for figure in figures], file, indent=1)
        file.write("\n")
    cells = [HEAD, *rows(figures)]
    print(plain_table(cells))
    missing = sorted(set(GOALS) - {figure["id"] for figure in figures}, key=order)
    if missing:
        print(f"\nnot measured in this run: {', '.join(missing)}")
    else:
        write_readme(readme, markdown_table(cells))
    missed = [row[0] for row in cells if row[-1] == "NO"]
    print(f"\nbench: {len(figures)} figures, {len(missed)} goals missed{': ' + ', '.join(missed) if missed else ''}")


if __name__ == "__main__":
    main(*sys.argv[1:])
