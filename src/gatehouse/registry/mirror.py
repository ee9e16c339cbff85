"""MLflow's registry as a mirror of the record: versions with tags, aliases.

Everything is derived from the history of the branch, so whatever was missed while MLflow was down
is made up for the next time. Nothing reads a decision back from here.
"""

import os
from pathlib import Path
from typing import Any

from gatehouse.core.console import say
from gatehouse.core.files import write_text
from gatehouse.core.project import Project

from . import record
from .catalogue import HOME, connect, experiment, tracking_uri
from .record import short

DONE = Path("reports/mirrored")  # up to which commit of the branch


def mirror(project: Project, verb: str, top: str | None = None) -> None:
    """Bring the registry to what the record says; where that fails, say so in one sentence."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and not (project / HOME).exists():
        return
    # A release does not wait long for its mirror: what is missed is made up for.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    try:
        top = record.tip(project, fetch=False) if top is None else top
        lacking = _mirror(project, top)
        write_text(project / DONE, top)
    except Exception as error:  # whatever the server, its driver or its store may raise
        say(f"{verb}: MLflow was not told ({type(error).__name__}): the record holds all the same")
    else:
        if lacking:
            names = ", ".join(map(short, lacking[-5:]))
            say(f"{verb}: MLflow has no run of {len(lacking)} model(s), so no version: {names}")


def catch_up(project: Project, verb: str, top: str) -> None:
    """``mirror`` where it has not been done for this state of the branch; MLflow takes seconds."""
    if top and (not (project / DONE).exists() or (project / DONE).read_bytes() != top.encode()):
        mirror(project, verb, top)


def _mirror(project: Project, top: str) -> list[str]:
    """Versions, tags and aliases; the models that no run is known of."""
    releases = record.history(project, top, *record.ENVIRONMENTS)[::-1]
    now = dict(releases)  # the newest of each environment
    client, name = connect(tracking_uri()).MlflowClient(), experiment(project)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    found = client.search_model_versions(f"name = '{name}'")
    versions = {v.tags.get("model"): v for v in sorted(found, key=lambda v: -int(v.version))}
    lacking = []
    for model, one in {one.model: one for _, one in releases}.items():  # the newest of each
        where = sorted(place for place, current in now.items() if current.model == model)
        tags = {"model": model, "commit": one.commit, "image": one.image}
        tags |= {"blessing": one.blessing, "environment": ",".join(where)}
        if model not in versions:
            if (run := _run(client, name, model)) is None:
                lacking.append(model)
                continue
            # With its tags at once: a version without them would be made again.
            there = run.outputs.model_outputs[0].model_id
            versions[model] = client.create_model_version(
                name, f"models:/{there}", run.info.run_id, tags=tags, model_id=there
            )
        known = versions[model].tags
        for key, value in tags.items():
            if known.get(key) != value:
                client.set_model_version_tag(name, versions[model].version, key, value)
    champion = now.get("production")
    previous = record.before(project, "production", champion)
    aliases = {"champion": champion, "previous": previous, "staging": now.get("staging")}
    has = client.get_registered_model(name).aliases
    for alias, release in aliases.items():
        version = versions.get(release.model) if release else None
        if version is not None and str(has.get(alias)) != str(version.version):
            client.set_registered_model_alias(name, alias, version.version)
        elif version is None and alias in has:
            client.delete_registered_model_alias(name, alias)
    return lacking


def _run(client: Any, name: str, model: str) -> Any:
    """The newest run that logged this model; None without one."""
    place = client.get_experiment_by_name(name)
    runs = client.search_runs([place.experiment_id], f"tags.model = '{model}'") if place else []
    return next((run for run in runs if run.outputs and run.outputs.model_outputs), None)
