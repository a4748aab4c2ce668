"""Measurements of `benchmarks.ops` as rows for JSON and as tables for the reader."""

import statistics

from benchmarks.op_cases import CASES, MEMORY_AIM

_TIMES = "  {:32}{:10}{:>10}{:>8}{:>7}{:>8}{:>10}{:>9}"
_PEAKS = "  {:20}{:10}{:>13}{:>13}{:>13}{:>8}"


def time_rows(measured, about, rate, op, dtype, work, quick):
    """One row for each (worker, mode, form), with the ratio to the peer, the aim, and the floor.

    Args:
        measured: dict of (worker, mode, form) to a dict: the worker's reply and "seconds", one a round.
        about: dict of worker to what it says of itself.
        rate: float or None. Bytes a second of a large copy.
        op, dtype, work: str. What was timed.
        quick: bool. Whether the shapes were tiny, for which there are no aims.

    Returns:
        list of dict.
    """
    case = CASES[op]
    peer = measured.get(("peer", None, None), {}).get("seconds")
    peer_seconds = statistics.median(peer) if peer else None
    rows = []
    for (worker, mode, form), known in measured.items():
        row = {"op": op, "shapes": "tiny shapes" if quick else case.shapes, "work": work, "dtype": dtype}
        row |= {"worker": worker, "mode": mode, "form": form, **known, "rounds": known["seconds"]}
        row["seconds"] = statistics.median(known["seconds"]) if known["seconds"] else None
        if row["seconds"] and worker != "peer" and peer_seconds:
            row["ratio"] = row["seconds"] / peer_seconds
        aim = case.aims.get((worker, mode, work))
        on_cpu = about[worker]["device"] == "cpu"
        if aim and form == "default" and dtype == "float32" and on_cpu and not quick:
            row["aim"] = aim
            row["met"] = row["ratio"] <= aim if "ratio" in row else None
        if row["seconds"] and rate:
            row["floor_seconds"] = row["bytes"] / rate
        rows.append(row)
    return rows


def time_table(rows):
    """The rows of one op, work and dtype as text."""
    first = rows[0]
    lines = [f"\n{first['op']}, {first['work']}, {first['dtype']}: {first['shapes']}"]
    lines.append(_TIMES.format("", "form", "ms", "ratio", "aim", "", "floor ms", "x floor"))
    for row in rows:
        layouts = row.get("layout_seconds") or {}
        layout = min(layouts, key=layouts.get, default=None)
        name = " ".join(filter(None, (row["worker"], row["mode"], layout)))
        if row["seconds"] is None:
            lines.append(f"  {name:32}{row['form'] or '':10}  {_reason(row)}")
            continue
        floor = row.get("floor_seconds")
        lines.append(
            _TIMES.format(
                name,
                row["form"] or "",
                _number(row["seconds"] * 1e3),
                _number(row.get("ratio")),
                _number(row.get("aim")),
                {True: "met", False: "missed"}.get(row.get("met"), ""),
                _number(floor and floor * 1e3),
                _number(floor and row["seconds"] / floor),
            )
        )
        lines += [
            f"    in {other}, when the layout was chosen: {_number(seconds * 1e3)} ms"
            for other, seconds in layouts.items()
            if other != layout
        ]
    reasons = sorted({row["unchecked"] for row in rows if "unchecked" in row})
    lines += [f"  the results were not checked: {reason}" for reason in reasons]
    return "\n".join(lines)


def summary(rows):
    """How many aims were met, and which were not; empty where none applied."""
    aimed = [row for row in rows if "aim" in row]
    if not aimed:
        return ""
    lines = [f"\naims met: {sum(row['met'] is True for row in aimed)} of {len(aimed)}"]
    for row in aimed:
        if not row["met"]:
            what = f"{row['op']}, {row['work']}, {row['worker']} {row['mode']}"
            lines.append(f"  missed: {what}: {_number(row.get('ratio')) or 'no ratio'}, aim {row['aim']:.2f}")
    return "\n".join(lines)


def peak_heading(dtype, shapes):
    """The lines above those of `peak_line`."""
    title = f"RoIAlign forward, {dtype}, {shapes}: peak beyond the inputs; aim: {MEMORY_AIM} x output"
    return f"{title}\n" + _PEAKS.format("", "form", "output MB", "peak MB", "x output", "")


def peak_line(row):
    """One row of the memory part as text."""
    name = " ".join(filter(None, (row["worker"], row["mode"])))
    if "failed" in row:
        return f"  {name:20}{row['form'] or '':10}  {row['failed']}"
    sizes = [f"{row[key] / 1e6:.1f}" for key in ("output_bytes", "peak_bytes")]
    met = {True: "met", False: "missed"}.get(row.get("met"), "")
    return _PEAKS.format(name, row["form"] or "", *sizes, _number(row["times_output"]), met)


def _reason(row):
    if row["worker"] == "peer" and "not implemented for" in row["failed"]:
        return f"no kernel for {row['dtype']}"
    return row["failed"]


def _number(value):
    return "" if value is None else f"{value:.2f}"
