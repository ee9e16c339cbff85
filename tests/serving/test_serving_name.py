"""What a project is called where no hyphen may be: in topics, in the client, by BentoML."""

from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[project]\nname = "flight-delays"\n', "flight_delays"),
        ('[project]\nname = "9-Lives"\n', "model_9_lives"),
        ("[project]\n", "some_folder"),
        ("no TOML", "some_folder"),
        (None, "some_folder"),
    ],
)
def test_it_is_an_identifier(tmp_path: Path, text: str | None, name: str) -> None:
    from gatehouse.serving.name import service_name

    folder = tmp_path / "some folder"
    folder.mkdir()
    if text is not None:
        (folder / "pyproject.toml").write_text(text)
    assert service_name(folder) == name
    assert name.isidentifier()
