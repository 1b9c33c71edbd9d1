"""How time and peak memory of attribution grow with the number of facts and of layers, and shrink or grow with the number of workers.

Made-up facts and random weights; every point is a fresh process, and all points are measured in turns. Leave the machine alone meanwhile.

Expected: each of L layers adds 20 copies of a prompt, which go through the layers above it, (L - 1) / 2 on average. So the work per prompt
grows about as L squared; the order of what is counted, product by product, stands beside that of the time. Facts are attributed a few at a
time, so that time grows with their number and memory does not.

`python benchmarks/scaling.py --output data/published/scaling.json`
"""

import argparse
import json
import os
from pathlib import Path

import joblib
from peak_memory import measure


def worker_counts() -> list[int]:
    """Return 1, 2, 4, ... and the number of cores that this process may use."""
    cores = joblib.cpu_count()
    return sorted({cores, *(2**power for power in range(cores.bit_length()) if 2**power <= cores)})


FULL = [("facts", {"facts": count, "layers": 4, "hidden": 64}) for count in (10, 100, 1000, 10000)]
FULL += [("layers", {"facts": 8, "layers": count, "hidden": 256}) for count in (2, 4, 8, 12, 24)]
FULL += [("workers", {"facts": 200, "layers": 4, "hidden": 256, "workers": count}) for count in worker_counts()]
QUICK = [("facts", {"facts": count, "layers": 2, "hidden": 32}) for count in (4, 12)]
QUICK += [("layers", {"facts": 4, "layers": count, "hidden": 32}) for count in (2, 4)]
QUICK += [("workers", {"facts": 24, "layers": 2, "hidden": 32, "workers": count}) for count in (1, 2)]


def measure_all(points: list[tuple[str, dict]], turns: int) -> list[dict]:
    """Return a row per process: the axis that the point belongs to, the turn, the point itself and what was measured there."""
    rows = []
    for turn in range(turns):
        for axis, point in points:
            rows.append({"axis": axis, "turn": turn, "workers": 1} | point | measure(**point))
            print(", ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    return rows


def main() -> None:
    """Measure, print the table and write the file that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="how often each point is measured; the table has the medians")
    parser.add_argument("--output", type=Path, help="write everything to this JSON file")
    parser.add_argument("--quick", action="store_true", help="tiny models and few facts, to see that it runs")
    chosen = parser.parse_args()
    load = os.getloadavg()  # of others, before there is any of ours
    rows = measure_all(QUICK if chosen.quick else FULL, chosen.turns)
    import pandas as pd  # only now: a process started after torch is loaded would count that memory as its own
    from attribution import machine

    from kn_utils.chapters.query_results.numbers import growth

    print(growth(pd.DataFrame(rows)).to_string(index=False, float_format="{:.3g}".format, na_rep=""))
    if chosen.output:
        chosen.output.write_text(json.dumps({"machine": machine() | {"load": load}, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
