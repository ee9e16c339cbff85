"""NannyML's CBPE on each pair of files: ``peers/nannyml.py FOLDER``.

Prints, for each pair and metric, its estimate and the bounds of its confidence band.
"""

import json
import sys
from pathlib import Path

import pandas as pd

# This file has the name of the library.
sys.path.pop(0)

from nannyml import CBPE

METRICS = ("accuracy", "roc_auc", "f1", "precision", "recall")


def main() -> None:
    """Estimate every pair."""
    folder = Path(sys.argv[1])
    found = {}
    for old in sorted(folder.glob("*-old.parquet")):
        reference = pd.read_parquet(old)
        live = pd.read_parquet(str(old).replace("-old", "-new"))
        cbpe = CBPE(
            problem_type="classification_binary",
            y_pred_proba="p_1",
            y_pred="label",
            y_true="truth",
            metrics=list(METRICS),
            chunk_number=1,
        )
        said = cbpe.fit(reference).estimate(live).to_df()
        said = said[said[("chunk", "period")] == "analysis"]
        found[old.name.removesuffix("-old.parquet")] = {
            name: [
                float(said[(name, part)].iloc[0])
                for part in ("value", "lower_confidence_boundary", "upper_confidence_boundary")
            ]
            for name in METRICS
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
