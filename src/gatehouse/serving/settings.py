"""Settings of the service: environment variables ``SERVICE_…``, checked once at the start."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gatehouse.core.errors import InputError

PREFIX = "SERVICE_"


class Settings(BaseModel):
    """What may be set; ``docs`` of the project's README names the ones people need."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="address to listen on; a container wants 0.0.0.0")
    port: int = Field(3000, ge=0, lt=65536)
    max_rows: int = Field(1_000, ge=1, description="rows of one batch, given as rows")
    max_column_rows: int = Field(100_000, ge=1, description="rows of one batch, given as columns")
    max_bytes: int = Field(16 * 2**20, ge=1, description="bytes of one request's body")
    body_seconds: float = Field(10, gt=0, description="a body must be here within")
    max_waiting: int = Field(256, ge=1, description="requests at once; more are refused with 429")
    drain_seconds: float = Field(3, ge=0, description="not ready, but answering, after SIGTERM")
    finish_seconds: int = Field(20, ge=0, description="then requests in flight have this long")
    unusual: Literal["flag", "refuse"] = Field(
        "flag", description="values beyond min, max and categories of schema.yaml"
    )
    threads: int = Field(1, ge=1, description="threads of one prediction")
    pages: Literal["auto", "on", "off"] = Field(
        "auto", description="the pages / and /docs.json; auto: unless keys are asked for"
    )
    api_keys: str = Field("", description="name:key, separated by blanks or lines")
    api_keys_file: Path | None = Field(None, description="a file that holds the same")
    jwt_key_file: Path | None = Field(None, description="secret or public key of tokens")
    jwt_algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"] = "RS256"
    jwt_audience: str = ""
    jwt_issuer: str = ""
    rate: float = Field(0, ge=0, description="requests a second and key; 0: no limit")
    precomputed: Path | None = Field(
        None, description="SQLite file of a batch, answered at /predictions/KEY"
    )
    precomputed_table: str = Field("predictions", min_length=1, description="the table in it")
    log: str = Field("", description="module:function that is given every batch of predictions")
    log_folder: Path | None = Field(None, description="the inference log is written below it")
    log_sample: float = Field(1.0, ge=0, le=1, description="share of requests, by hash of the id")
    log_url: str = Field("", description="any fsspec address that closed files are shipped to")
    log_key: str = Field("", description="secret that columns with log: hash are hashed with")
    log_key_file: Path | None = Field(None, description="a file that holds it")
    log_keep_days: float = Field(90, gt=0, description="then a file is removed from the folder")
    log_max_bytes: int = Field(8 * 2**30, ge=2**20, description="of closed files in the folder")
    explain: str = Field("", description="module:function that explains one prediction")

    @field_validator("log_folder", mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        """Nothing means no log, and not the folder where one stands."""
        return value or None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.jwt_key_file and not (self.jwt_audience and self.jwt_issuer):
            raise ValueError("jwt_key_file needs jwt_audience and jwt_issuer as well")
        if self.log_url and not self.log_folder:
            raise ValueError("log_url needs log_folder as well, where files are written first")
        return self


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read them; raises ``InputError`` that names the variable that is wrong or unknown."""
    given = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX)
    }
    if given.get("api_keys", "-").strip() == "":
        raise InputError(
            "keys-empty",
            "SERVICE_API_KEYS is empty, which would let everybody in: give keys, or unset it",
        )
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = PREFIX + (str(first["loc"][0]).upper() if first["loc"] else "…")
        message = first["msg"].removeprefix("Value error, ")
        raise InputError("setting-value", f"{name}: {message}; correct this variable") from None
