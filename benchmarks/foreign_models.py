"""The peers' side of ``benchmarks.peers``. Run by the Python of an environment that has them, and not this project; prints JSON.

``python foreign_models.py FILE.csv ROUNDS``
"""

import json
import sys
import time
from contextlib import contextmanager


@contextmanager
def timed(into):
    """Adds ``[seconds, processor seconds]`` of the block, all threads together."""
    began, cpu_began = time.perf_counter(), time.process_time()
    yield
    into.append([time.perf_counter() - began, time.process_time() - cpu_began])


def marketing_attribution_models(file):
    """Version 2.1, on polars: read, build its object from the table, run its five rule models."""
    import polars as pl
    from mam.core import MAM

    times = {name: [] for name in ("read", "prepare", "models")}
    with timed(times["read"]):
        table = pl.read_csv(file).with_row_index("journey_id")
    with timed(times["prepare"]):
        built = MAM(
            table,
            format_type="journey",
            channels_colname="path",
            journey_with_conv_colname="total_conversions",
            time_till_conv_colname="hours",
        )
    with timed(times["models"]):
        found = {
            "last": built.run_last_click().to_dict(),
            "first": built.run_first_click().to_dict(),
            "linear": built.run_linear().to_dict(),
            "position": built.run_position_based().to_dict(),
            "time_decay": built.run_time_decay().to_dict(),
        }
    return times, {name: dict(zip(one["channels"], one["attribution"], strict=True)) for name, one in found.items()}


def channel_attribution(file):
    """Version 2.2: read, its three heuristics, its Markov model by simulation as it comes."""
    import pandas as pd
    from ChannelAttribution import heuristic_models, markov_model

    times = {name: [] for name in ("read", "heuristics", "markov")}
    with timed(times["read"]):
        table = pd.read_csv(file)
    with timed(times["heuristics"]):
        rules = heuristic_models(table, "path", "total_conversions", var_value="total_conversion_value", flg_pro=False)
    with timed(times["markov"]):
        simulated = markov_model(
            table, "path", "total_conversions", var_value="total_conversion_value", var_null="total_null", verbose=False, flg_pro=False
        )
    simulated = simulated["result"] if isinstance(simulated, dict) else simulated
    names = {"first": "first_touch_conversions", "last": "last_touch_conversions", "linear": "linear_touch_conversions"}
    found = {name: dict(zip(rules["channel_name"], rules[column].astype(float), strict=True)) for name, column in names.items()}
    conversions = next(column for column in simulated.columns if column in ("total_conversions", "total_conversion"))
    found["markov"] = dict(zip(simulated["channel_name"], simulated[conversions].astype(float), strict=True))
    return times, found


def main():
    file, rounds = sys.argv[1], int(sys.argv[2])
    answer = {}
    for peer in (marketing_attribution_models, channel_attribution):
        whole = {}
        try:
            for _ in range(rounds):
                times, found = peer(file)
                for name, one in times.items():
                    whole.setdefault(name, []).extend(one)
            answer[peer.__name__] = {"times": whole, "found": found}
        except Exception as error:
            answer[peer.__name__] = {"error": f"{type(error).__name__}: {error}"}
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main()
