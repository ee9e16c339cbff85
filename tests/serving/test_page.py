"""The page of the service, used in a real browser as a person would."""

import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from baked import BakedProject
from odd_service import MARKUP, QUOTES, TARGET, WHEN, golden, listening, odd_project, served
from projects import shared
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.chrome.webdriver import WebDriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

KEY = "0123456789abcdef"
SIZE = "größe in m²"
PATIENCE = 30
READABLE = 4.5  # contrast of text, WCAG 2.2, AA


def programs() -> tuple[str, str]:
    """Browser and driver; skipped without them, but not in CI, which installs them."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    reason = "chromium or chromedriver is missing: apt-get install chromium chromium-driver"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("ci", ["", "true"])
def test_without_a_browser_ci_is_red(ci: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CI", ci)
    outcome = pytest.fail.Exception if ci else pytest.skip.Exception
    with pytest.raises(outcome, match="chromedriver is missing"):
        programs()


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    program, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # A container has neither a sandbox for root nor much shared memory.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield started
    finally:
        started.quit()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> BakedProject:
    return odd_project(shared(tmp_path_factory))


@pytest.fixture(scope="module")
def address(project: BakedProject) -> Iterator[str]:
    with served(project) as url:
        yield url


@pytest.fixture
def page(browser: WebDriver, address: str) -> WebDriver:
    return opened(browser, address)


def opened(browser: WebDriver, address: str) -> WebDriver:
    """The page, loaded without a word in the console."""
    console(browser)
    browser.get(f"{address}/")
    assert console(browser) == []
    return browser


def console(browser: WebDriver) -> list[Any]:
    """What the console was told since it was last asked: a violation of the policy, an error."""
    return list(browser.get_log("browser"))  # type: ignore[no-untyped-call]


def control(page: WebDriver, label: str) -> WebElement:
    """The input of this label: found as a screen reader finds it."""
    [found] = [
        one
        for one in page.find_elements(By.TAG_NAME, "label")
        if one.get_property("textContent") == label
    ]
    return page.find_element(By.ID, str(found.get_attribute("for")))


def fill(page: WebDriver, row: dict[str, Any]) -> None:
    for label, value in row.items():
        element = control(page, label)
        if element.tag_name == "select":
            text = json.dumps(value) if isinstance(value, bool) else (value or "")
            Select(element).select_by_value(text)
        elif element.get_attribute("type") == "datetime-local":
            # Which keys give a date depends on the language of the browser.
            page.execute_script("arguments[0].value = arguments[1]", element, value)
        else:
            element.clear()
            element.send_keys("" if value is None else str(value))


def predict(page: WebDriver) -> str:
    """Press the button; what is shown then."""
    page.execute_script("document.getElementById('answer').textContent = ''")
    page.find_element(By.XPATH, "//button[.='Predict']").click()
    return answer(page)


def answer(page: WebDriver) -> str:
    shown = page.find_element(By.ID, "answer")
    WebDriverWait(page, PATIENCE).until(lambda _: shown.text)
    return str(shown.text)


def wrong(page: WebDriver) -> dict[str, str]:
    """Label -> problem of every field that is marked."""
    return {
        str(box.find_element(By.TAG_NAME, "label").get_property("textContent")): (
            box.find_element(By.CLASS_NAME, "problem").text
        )
        for box in page.find_elements(By.CLASS_NAME, "wrong")
    }


def post(url: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_golden_rows_get_their_golden_answers(page: WebDriver, project: BakedProject) -> None:
    offline = golden(project)
    different = set()
    for row, expected in list(zip(offline["rows"], offline["answers"], strict=True))[:8]:
        fill(page, row)
        assert predict(page) == f"{TARGET}: {expected['prediction']}"
        lines = page.find_elements(By.CSS_SELECTOR, "#probabilities tr")
        shown = {
            str(line.find_element(By.TAG_NAME, "th").get_property("textContent")): float(
                line.find_elements(By.TAG_NAME, "td")[1].text
            )
            for line in lines
        }
        assert shown == pytest.approx(expected["probabilities"], abs=0.001)
        different.add(expected["prediction"])
    assert len(different) == 2
    assert page.find_element(By.ID, "digest").text == offline["model_digest"]
    assert console(page) == []


@pytest.mark.slow
def test_one_click_gives_a_prediction(page: WebDriver) -> None:
    assert predict(page).startswith(f"{TARGET}: ")
    assert wrong(page) == {}
    assert control(page, SIZE).get_property("value") == "20"
    assert control(page, QUOTES).get_property("value") == "</script>"


@pytest.mark.slow
def test_a_wrong_value_is_named_and_marked(
    page: WebDriver, project: BakedProject, address: str
) -> None:
    row = golden(project)["rows"][0]
    fill(page, {**row, SIZE: "1.5", MARKUP: None})
    status, said = post(f"{address}/predict", {**row, SIZE: 1.5, MARKUP: None})
    assert status == 422
    assert predict(page) == said["error"]
    assert wrong(page) == {one["field"]: one["problem"] for one in said["fields"]}
    assert set(wrong(page)) == {SIZE, MARKUP}
    assert page.switch_to.active_element == control(page, MARKUP), "the first of them"
    assert control(page, SIZE).get_attribute("aria-invalid") == "true"
    assert control(page, QUOTES).get_attribute("aria-invalid") == "false"
    described = str(control(page, SIZE).get_attribute("aria-describedby")).split()
    assert "valid integer" in " ".join(page.find_element(By.ID, i).text for i in described)
    assert page.find_elements(By.CSS_SELECTOR, "#probabilities tr") == []
    fill(page, row)
    assert predict(page).startswith(f"{TARGET}: ")
    assert wrong(page) == {}


@pytest.mark.slow
def test_what_the_browser_cannot_read_is_not_sent_as_missing(page: WebDriver) -> None:
    control(page, SIZE).clear()
    control(page, SIZE).send_keys("-")
    assert predict(page).startswith(f"{SIZE}: Input should be a valid integer")


@pytest.mark.slow
def test_enter_submits(page: WebDriver) -> None:
    control(page, SIZE).send_keys(Keys.ENTER)
    assert answer(page).startswith(f"{TARGET}: ")
    assert page.current_url.endswith("/"), "nothing was navigated"


@pytest.mark.slow
def test_the_keyboard_reaches_every_field_in_order(page: WebDriver) -> None:
    control(page, MARKUP).click()
    order: list[WebElement] = []
    for _ in range(40):
        element = page.switch_to.active_element
        if element.tag_name == "button":
            break
        if not order or order[-1] != element:  # a date has several stops
            order.append(element)
        element.send_keys(Keys.TAB)
    assert order == [control(page, n) for n in (MARKUP, QUOTES, "class", WHEN, SIZE)]
    assert page.switch_to.active_element.text == "Predict"


@pytest.mark.slow
def test_markup_in_names_is_text(page: WebDriver) -> None:
    predict(page)
    assert page.find_element(By.TAG_NAME, "h1").text == f"Try a prediction of {TARGET}"
    choices = [option.text for option in Select(control(page, QUOTES)).options]
    assert choices == ["</script>", "<b>bold</b>", "it's", 'say "no"']
    assert page.find_elements(By.CSS_SELECTOR, "img, b, i") == []
    assert len(page.find_elements(By.TAG_NAME, "script")) == 2


@pytest.mark.slow
def test_the_log_would_show_a_violation(page: WebDriver) -> None:
    page.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s)"
    )
    assert page.execute_script("return window.ran") is None
    assert "Content Security Policy" in str(console(page))


@pytest.mark.slow
def test_without_pages_there_is_none(project: BakedProject) -> None:
    for settings in ({"pages": "off"}, {"api_keys": f"name:{KEY}"}):
        with served(project, **settings) as address:
            for path in ("/", "/docs.json"):
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(address + path, timeout=PATIENCE)
                assert refused.value.code == 404
                assert json.load(refused.value) == {"error": "there is no such page"}


@pytest.mark.slow
def test_a_key_is_asked_for(browser: WebDriver, project: BakedProject) -> None:
    with served(project, api_keys=f"name:{KEY}", pages="on") as address:
        page = opened(browser, address)
        assert predict(page).startswith("no valid key")
        assert set(wrong(page)) == {"API key"}
        assert page.switch_to.active_element == control(page, "API key")
        control(page, "API key").send_keys(KEY)
        assert predict(page).startswith(f"{TARGET}: ")
        assert wrong(page) == {}
        curl = str(page.find_element(By.ID, "curl").get_property("textContent"))
        assert '-H "X-API-Key: $KEY"' in curl
        assert KEY not in curl


@pytest.mark.slow
def test_a_service_that_is_gone(browser: WebDriver, project: BakedProject) -> None:
    with served(project) as address:
        page = opened(browser, address)
    assert predict(page) == "the service cannot be reached"


# --- schemas of many columns, and of the oddest, over a model that says the same of every row

LONG = "long 🕑 " * 60
ODD: dict[str, dict[str, Any]] = {
    "/*SCRIPT*/": {"type": "number", "min": 1.00001, "max": 1.00002},
    "/*FACTS*/": {"type": "number", "max": 7},
    "__proto__": {"type": "integer", "nullable": False},
    "constructor": {"type": "integer", "min": 2, "max": 2},
    "large": {"type": "integer", "min": -(2**62), "max": 2**62},
    "<!--<script>": {"type": "string", "categories": [f"<script>{k}" for k in range(300)]},
    'a"b&amp;c\\': {"type": "string", "nullable": False},
    "two\nlines": {"type": "boolean", "nullable": False},
    LONG: {"type": "number"},
}
WIDE = {f"column {k}": {"type": "number", "min": k, "max": k + 1} for k in range(200)}


@pytest.fixture
def stub(tmp_path: Path) -> Any:
    def start(columns: dict[str, Any], **answers: Any) -> Any:
        schema = {"task": "regression", "target": "y", **answers}
        schema["columns"] = {**columns, "y": {"type": "number", "role": "target"}}
        path = tmp_path / "schema.yaml"
        path.write_text(yaml.safe_dump(schema, sort_keys=False), encoding="utf-8")
        program = [sys.executable, str(Path(__file__).with_name("stub_service.py"))]
        return listening([*program, str(path)], tmp_path, {})

    return start


def sent(page: WebDriver) -> dict[str, Any]:
    """The row that was sent, as the curl line says it."""
    text = str(page.find_element(By.ID, "curl").get_property("textContent"))
    return dict(json.loads(text.split(" -d '")[1].removesuffix("'")))


@pytest.mark.slow
def test_the_oddest_names(browser: WebDriver, stub: Any) -> None:
    with stub(ODD) as address:
        page = opened(browser, address)
        assert predict(page) == "y: 1"
        row = sent(page)
        assert list(row) == list(ODD)
        assert 1.00001 <= row["/*SCRIPT*/"] <= 1.00002
        assert (row["/*FACTS*/"], row["__proto__"], row["constructor"]) == (7, 0, 2)
        assert (row["<!--<script>"], row['a"b&amp;c\\'], row["two\nlines"]) == (
            "<script>0",
            "",
            False,
        )
        control(page, "large").clear()
        control(page, "large").send_keys(str(2**53 + 1))
        control(page, LONG).send_keys("-")
        assert "valid number" in predict(page)
        assert set(wrong(page)) == {LONG}
        assert sent(page)["large"] == 2**53 + 1
        assert len(page.find_elements(By.TAG_NAME, "script")) == 2


def edge(element: WebElement, side: str) -> float:
    script = "return arguments[0].getBoundingClientRect()[arguments[1]]"
    return float(element.parent.execute_script(script, element, side))


@pytest.mark.slow
@pytest.mark.parametrize("width", [400, 1200])
def test_two_hundred_columns(width: int, browser: WebDriver, stub: Any) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    with stub(WIDE, task="multiclass", classes=[f"class {k}" for k in range(60)]) as address:
        page = opened(browser, address)
        assert predict(page) == "y: class 0", "the button is in sight"
        assert len(sent(page)) == 200
        lines = page.find_elements(By.CSS_SELECTOR, "#probabilities tr")
        assert (len(lines), lines[-1].text) == (6, "and 55 less probable")
        assert page.execute_script(
            "return document.documentElement.scrollWidth <= window.innerWidth"
        )
        bar = page.find_element(By.ID, "bar")
        page.execute_script("window.scrollTo(0, 0)")
        inputs = page.find_elements(By.TAG_NAME, "input")
        behind = next(one for one in inputs if edge(one, "bottom") > edge(bar, "top"))
        page.execute_script("arguments[0].focus()", behind)
        assert edge(behind, "bottom") <= edge(bar, "top"), "the bar hides what is focused"
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_every_field_has_its_label(page: WebDriver) -> None:
    inputs = page.find_elements(By.CSS_SELECTOR, "input, select")
    assert [one.accessible_name for one in inputs] == [MARKUP, QUOTES, "class", WHEN, SIZE]


COLOURS = """
const found = {};
for (const [name, css] of Object.entries(arguments[0])) {
  const element = document.querySelector(css);
  let behind = element;
  while (getComputedStyle(behind).backgroundColor === "rgba(0, 0, 0, 0)") behind = behind.parentElement;
  found[name] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor];
}
return found;
"""
TEXTS = {
    name: name
    for name in ("h1", "label", ".hint", "input", ".problem", "button", "footer", "a", ".refused")
}


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.split("(")[1].rstrip(")").split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(scheme: str, page: WebDriver) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    control(page, SIZE).clear()
    predict(page)
    backgrounds = set()
    for name, colours in page.execute_script(COLOURS, TEXTS).items():
        dark, light = sorted(map(luminance, colours))
        assert (light + 0.05) / (dark + 0.05) >= READABLE, (name, colours)
        backgrounds.add(colours[1])
    assert ("rgb(255, 255, 255)" in backgrounds) == (scheme == "light")
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
