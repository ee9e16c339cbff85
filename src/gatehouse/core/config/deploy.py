"""``deploy.yaml``, read strictly, and what the environment says otherwise."""

import os
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from gatehouse.core.doors import known
from gatehouse.core.errors import Stop
from gatehouse.core.files import near
from gatehouse.core.layout import DEPLOY as PATH
from gatehouse.core.project import Project

from .reader import File, Section, read

NAMES = ("staging", "production")
# What each target wants to know besides; one of another package says itself what it does not know.
TARGETS: dict[str, tuple[str, ...]] = {
    "swarm": (),
    "compose": ("timeout",),
    "kubernetes": ("context", "namespace", "timeout", "address"),
}

Text = Annotated[str, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0)]
Yes = Annotated[bool, Field(strict=True)]


class Image(Section):
    """Where it is kept, and what it and its neighbours stand on."""

    repository: Text = ""
    base: Text = ""
    proxy: Text = ""
    trial: Text = ""


class Place(Section):
    """Where a release runs. What a target wants besides stands beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    target: Annotated[Text, AfterValidator(known("targets", *TARGETS))] = "swarm"
    host: Text = ""
    port: Count = 3000
    replicas: Count = 1
    bake_seconds: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 60

    @model_validator(mode="after")
    def _nothing_unknown(self) -> "Place":
        wanted = TARGETS.get(self.target)
        for name in self.model_extra or {} if wanted is not None else ():
            if name not in (wanted or ()):
                nearest = near(name, [*type(self).model_fields, *(wanted or ())])
                raise ValueError(f"{self.target} has no field {name}{nearest}")
        return self


class Environments(Section):
    """The two that there are."""

    staging: Place | None = None
    production: Place | None = None


class Signing(Section):
    """Which signatures count."""

    required: Yes = False
    keys: Text = "deploy/keys"
    identity: Text = ""
    issuer: Text = "https://token.actions.githubusercontent.com"
    provenance: Yes = False


class Deploy(File):
    """The whole file."""

    image: Image = Image()
    environments: Environments = Environments()
    signing: Signing = Signing()


class Environment(Place):
    """One place that a release runs in; ``settings``: what its target wants besides."""

    name: str
    project: str
    proxy: str
    settings: dict[str, Any] = Field(default_factory=dict)
    home: Project = Field(default_factory=Project)

    @property
    def stack(self) -> str:
        """What its containers, networks and services are called by."""
        return f"{self.project}-{self.name}"


def load(project: Project) -> Deploy:
    """The file; raises ``InputError``, one sentence, where it cannot be followed."""
    return read(project / PATH, Deploy)


def image_setting(project: Project, name: str) -> str:
    """``repository``, ``base``, ``proxy`` or ``trial``; the environment's word counts first."""
    told = os.environ.get(f"IMAGE_{name.upper()}")
    if told == "" and name == "repository":
        return ""  # the image stays in the engine that built it
    said: str = told or getattr(load(project).image, name)
    if not said and name != "repository":
        raise Stop("deploy-no-image", f"{PATH} has no image.{name}: say which image that is")
    return said.lower() if name == "repository" else said  # a registry takes no capitals


def environment(project: Project, name: str) -> Environment:
    """Raises ``Stop`` for a name or a setting that cannot be followed."""
    place = getattr(load(project).environments, name, None) if name in NAMES else None
    if place is None:
        raise Stop(
            "deploy-no-environment",
            f"{PATH} describes no environment {name}: say staging or production",
        )
    host = os.environ.get(f"{name.upper()}_HOST") or place.host
    return Environment(
        **place.model_dump(include=set(Place.model_fields) - {"host"}),
        host=host,
        name=name,
        project=project.name,
        proxy=image_setting(project, "proxy"),
        settings=place.model_extra or {},
        home=project,
    )
