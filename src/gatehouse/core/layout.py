"""Files that more than one room reads or writes, as paths in a project."""

from pathlib import Path

DEPLOY = Path("deploy.yaml")  # its model: core.config.deploy
CHAMPION_ORIGIN = Path("reports/champion.json")  # where the champion was found: ref and commit
# What one stage leaves for another; their models: core.config.results.
BLESSING, METRICS = Path("blessing.json"), Path("metrics.json")
CATALOGUE, CHAMPION = Path("reports/catalogue.json"), Path("champion/champion.json")
GOLDEN, PARITY = Path("predictions/golden.json"), Path("predictions/parity.json")
ROUND_TRIP = Path("predictions/round_trip.json")
