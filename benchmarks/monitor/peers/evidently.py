"""Evidently's default drift test on each pair of files: ``peers/evidently.py FOLDER``.

Prints, for each pair, which columns drifted.
"""

import json
import sys
from pathlib import Path

import pandas as pd

# This file has the name of the library.
sys.path.pop(0)

from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def main() -> None:
    """Judge every pair."""
    folder = Path(sys.argv[1])
    kinds = json.loads((folder / "kinds.json").read_text())
    of = {"number": "numerical", "integer": "numerical"}
    sides: dict[str, list[str]] = {"numerical": [], "categorical": []}
    for name, kind in kinds.items():
        sides[of.get(kind, "categorical")].append(name)
    definition = DataDefinition(
        numerical_columns=sides["numerical"], categorical_columns=sides["categorical"]
    )
    found = {}
    for old in sorted(folder.glob("*-old.parquet")):
        tables = [pd.read_parquet(str(old).replace("-old", side)) for side in ("-new", "-old")]
        data = [Dataset.from_pandas(table, data_definition=definition) for table in tables]
        said = Report([DataDriftPreset()]).run(*data).dict()
        drifted = []
        for metric in said["metrics"]:
            config = metric["config"]
            if config["type"].endswith("ValueDrift"):
                method, value, threshold = config["method"], metric["value"], config["threshold"]
                if (value < threshold) if "p_value" in method else (value >= threshold):
                    drifted.append(config["column"])
        found[old.name.removesuffix("-old.parquet")] = drifted
    print(json.dumps(found))


if __name__ == "__main__":
    main()
