"""Columns that look like personal data, by their values and by their names.

No value ever leaves this module: a finding says the kind and the share.
"""

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gatehouse.core.findings import Finding

ROWS, VALUES = 100_000, 5_000  # rows looked at; different values held against the shapes
FIX = (
    "Remove {name!r} at the source, or declare `pii: true` for it in schema.yaml, with "
    "`role: ignore` besides if it is no feature."
)
EMAIL = r"[\w.+-]+@[\w-]+(\.[\w-]+)*\.[A-Za-z]{2,}"
ISSUERS = r"4\d{12}(\d{3}){0,2}|(5[1-5]|2[2-7]|35|6[05])\d{14}|3[47]\d{13}|3[068]\d{12}"


def luhn(digits: str) -> bool:
    """The check digit of payment cards."""
    doubled = (int(digit) * (1 + k % 2) for k, digit in enumerate(reversed(digits)))
    return sum(d // 10 + d % 10 for d in doubled) % 10 == 0


def iban(text: str) -> bool:
    """The check digits of bank accounts."""
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def ean(digits: str) -> bool:
    """The check digit of Swiss social security numbers."""
    return sum(int(digit) * (1 + 2 * (k % 2)) for k, digit in enumerate(digits)) % 10 == 0


# Kind, the shape of a value without its separators, and its check digits.
CHECKED = [
    ("IBANs", r"[A-Z]{2}\d\d[A-Z0-9]{11,30}", iban),
    ("payment card numbers", ISSUERS, luhn),
    ("social security numbers", r"756\d{10}", ean),
]
# Kind, shape as it is written, and the digits it has at least.
WRITTEN = [
    ("social security numbers", r"(00[1-9]|0[1-9]\d|[1-578]\d\d|6[0-57-9]\d)-\d\d-\d{4}", 9),
    ("ID numbers", r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]|\d{3}\.\d{3}\.\d{3}-\d\d", 7),
    ("ID numbers", r"[A-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-D]", 6),
    ("phone numbers", r"\+[1-9]\d{0,3}([ /.-]?\(?\d{2,9}\)?){2,6}", 8),
    ("phone numbers", r"(\(0\d{1,4}\) ?|0\d{1,4}[ /])\d{2,4}([ .-]?\d{2,4}){1,4}", 9),
    ("phone numbers", r"(1[ .-])?(\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}", 10),
]
# Kind, what the name says, and the shape that half of the values must have besides.
NAMED = [
    ("phone numbers", r"(tele)?phone|telefono?|mobile?|tel|fax|handy|natel|msisdn", r"\+?\d{7,15}"),
    ("payment card numbers", r"card|kreditkarte", r"\d{12,19}"),
    (
        "ID numbers",
        r"ssn|social security|ahv|iban|passport|ausweis|(national|personal|tax|taxpayer) id|nino"
        r"|steuer ?id|personnummer|bsn|cpf|aadhaar|pesel",
        r"[A-Za-z]{0,6}\d[A-Za-z0-9]{5,32}",
    ),
]


def personal(table: pa.Table, schema: dict[str, Any]) -> list[Finding]:
    """A finding ``personal: COLUMN`` for each column that looks personal and is not declared."""
    declared = {name for name, column in schema["columns"].items() if column.get("pii")}
    if table.num_rows > ROWS:
        rows = np.random.default_rng(0).choice(table.num_rows, ROWS, replace=False, shuffle=False)
        table = table.take(np.sort(rows))
    findings = []
    for name in table.column_names:
        if name not in declared and (found := kind_of(name, table[name])):
            kind, share = found
            message = f"{max(share, 0.01):.0%} of its different values look like {kind}"
            fix = FIX.format(name=name)
            findings.append(Finding(f"personal: {name}", "fail", message, fix, round(share, 4), 0))
    return findings


def kind_of(name: str, values: pa.ChunkedArray) -> tuple[str, float] | None:
    """What a column looks like, and the share of its different values that do."""
    text = pa.types.is_string(values.type)
    if (known := _different(values)) is None:
        return None
    if text and (share := _share(pc.match_substring_regex(known, EMAIL), len(known))) >= 0.01:
        return "e-mail addresses", share
    known = pc.utf8_trim_whitespace(known[:VALUES].cast(pa.string()))
    bare = pc.replace_substring_regex(known, r"[\s()./-]", "")
    # A number is what it looks like by chance more often than a text with its separators is.
    for kind, shape, check in CHECKED:
        fitting = bare.filter(_fits(bare, shape)).to_pylist()
        if (share := sum(map(check, fitting)) / len(bare)) >= (0.5 if text else 0.9):
            return kind, share
    digits = pc.utf8_length(pc.replace_substring_regex(known, r"\D", ""))
    for kind, shape, least in WRITTEN if text else []:
        fitting = pc.and_(_fits(known, shape), pc.greater_equal(digits, least))
        if (share := _share(fitting, len(known))) >= 0.3:
            return kind, share
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W\d_]+", " ", name).strip().lower()
    for kind, names, shape in NAMED:
        said = re.fullmatch(rf"(.* )?({names})( (numbers?|no|nr|num|nummer|home|work))?", words)
        if said and (share := _share(_fits(bare, shape), len(bare))) >= 0.5:
            return kind, share
    return None


def _different(values: pa.ChunkedArray) -> pa.Array | None:
    """The different values of a column of text or of whole numbers."""
    if pa.types.is_floating(values.type) and pc.all(pc.equal(values, pc.floor(values))).as_py():
        values = values.cast(pa.int64(), safe=False)  # whole numbers with gaps
    if not (pa.types.is_string(values.type) or pa.types.is_integer(values.type)):
        return None
    known = pc.unique(values.drop_null())
    return known if len(known) else None


def _fits(values: pa.Array, shape: str) -> pa.Array:
    return pc.match_substring_regex(values, f"^({shape})$")


def _share(found: pa.Array, among: int) -> float:
    return float(pc.sum(found).as_py() / among)


def impersonal(schema: dict[str, Any]) -> list[str]:
    """The features that may be written where people read them: as schema.yaml says for the log."""
    columns: dict[str, dict[str, Any]] = schema["columns"]
    return [
        name
        for name, about in columns.items()
        if about.get("role", "feature") in ("feature", "time")
        and (about.get("log") or ("drop" if about.get("pii") else "keep")) == "keep"
    ]
