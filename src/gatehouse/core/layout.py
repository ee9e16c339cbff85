"""Files that more than one room reads or writes, as paths in a project."""

from pathlib import Path

DEPLOY = Path("deploy.yaml")  # its model: core.config.deploy
CHAMPION_ORIGIN = Path("reports/champion.json")  # where the champion was found: ref and commit
