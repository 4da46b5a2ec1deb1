"""Reports in a real browser, headless: nothing breaks, nothing is fetched, all can be reached."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optional
import page_documents as documents
import pytest

from mlbench.report.html.write import write_report

pytest.importorskip("matplotlib", reason=optional.REPORT)
pytest.importorskip("jinja2", reason=optional.REPORT)
webdriver = pytest.importorskip("selenium.webdriver", reason=optional.SELENIUM)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.chromium,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=optional.CHROMIUM),
]
WIDTHS = (390, 1280)
PAGES = ("run", "runs", "trial", "sweep", "hostile")
EVIL = "<script>window.evil=1</script><img src=x onerror='window.evil=1'>" + "x" * 300
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind, and one of a file that means harm."""
    folder = tmp_path_factory.mktemp("pages")
    hostile = documents.run_document(notes=[EVIL], cmdline=EVIL)
    hostile["settings"] |= {"model": EVIL, EVIL: EVIL}
    hostile["results"]["exponential"]["0.05"]["notes"] = [EVIL]
    sources = {
        "run": [documents.run_document()],
        "runs": [documents.run_document(), documents.run_document(speed=1.2)],
        "trial": [documents.trial_document()],
        "sweep": [documents.sweep_document()],
        "hostile": [hostile],
    }
    made = {}
    for name, own in sources.items():
        paths = [folder / f"{name}-{number}.json" for number in range(len(own))]
        for path, document in zip(paths, own, strict=True):
            path.write_text(json.dumps(document))
        if name == "trial":
            paths.append(_raw_file(folder / "trial.npz"))
        made[name] = folder / f"{name}.html"
        write_report(paths, made[name])
    return made


def _raw_file(path: Path) -> Path:
    due_ns = np.arange(2000, dtype=np.int64) * 10**6
    start_ns = due_ns + 5 * 10**5
    done_ns = start_ns + np.random.default_rng(1).integers(10**6, 10**8, 2000)
    documents.write_raw(path, due_ns, start_ns, done_ns, np.ones(2000, np.uint8))
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium that logs its console and what it asks the network for."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def visit(browser: Any, pages: dict[str, Path]) -> Open:
    """Return a function that opens a page at a width, in light or dark mode."""

    def visit(name: str, width: int = 1280, scheme: str = "light") -> Any:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        preference = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
        for kind in ("browser", "performance"):
            browser.get_log(kind)
        browser.get(pages[name].as_uri())
        return browser

    return visit


def _requested(browser: Any) -> list[str]:
    """Return what was asked for since the log was read, but for data in the page."""
    entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"] for e in entries if e["method"] == "Network.requestWillBeSent"]
    urls = [params["request"]["url"] for params in sent]
    return [url for url in urls if not url.startswith("data:")]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_fetched_or_complained_about(visit: Open, pages: dict, name: str) -> None:
    """The page itself is the only request, the console is empty, and no script has run."""
    browser = visit(name)
    assert browser.get_log("browser") == []
    assert _requested(browser) == [pages[name].as_uri()]
    assert browser.execute_script("return typeof window.evil") == "undefined"


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_screen(visit: Open, name: str, width: int) -> None:
    """Tables scroll in their own frames, also when all that is folded is open."""
    browser = visit(name, width)
    wide = """
        document.querySelectorAll('details').forEach(one => one.open = true);
        const out = [...document.querySelectorAll('body *')].filter(
            one => !one.closest('.scroll, .skip, svg')
                && one.getBoundingClientRect().right > innerWidth + 1);
        return [document.documentElement.scrollWidth <= innerWidth, out.map(one => one.outerHTML)];
    """
    assert browser.execute_script(wide) == [True, []]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_each_chart_is_there_once(visit: Open, name: str, width: int) -> None:
    """The one for this width, large enough to read, with letters of nine pixels or more."""
    browser = visit(name, width)
    seen = """
        return [...document.querySelectorAll('figure')].map(figure => {
            const shown = [...figure.querySelectorAll('svg[role=img]')].filter(
                svg => svg.getBoundingClientRect().width > 0);
            const scale = shown[0].getBoundingClientRect().width / shown[0].viewBox.baseVal.width;
            const letters = [...shown[0].querySelectorAll('text')].map(
                one => parseFloat(getComputedStyle(one).fontSize) * scale);
            return [shown.length, Math.min(...letters) >= 9,
                    shown[0].getAttribute('aria-label').length > 20];
        });
    """
    charts = browser.execute_script(seen)
    assert len(charts) > 0
    assert charts == [[1, True, True]] * len(charts)


@pytest.mark.parametrize("name", PAGES)
def test_a_keyboard_reaches_all_that_opens_and_scrolls(visit: Open, name: str) -> None:
    """Tab comes by each summary and each frame that scrolls; Enter opens the numbers."""
    browser = visit(name, 390)
    keys, body = webdriver.Keys, browser.find_element("css selector", "body")
    wanted = browser.execute_script(
        """
        const all = [...document.querySelectorAll('summary, .scroll, pre')].filter(
            one => one.getBoundingClientRect().width > 0
                && !(one.tagName != 'SUMMARY' && one.closest('details:not([open])')));
        all.forEach((one, number) => one.dataset.number = number);
        return all.length;
        """
    )
    reached = set()
    for _ in range(wanted + 2):
        body.send_keys(keys.TAB)
        body = browser.switch_to.active_element
        reached.add(body.get_attribute("data-number"))
    assert {str(number) for number in range(wanted)} <= reached
    summary = browser.find_element("css selector", "summary")
    summary.send_keys(keys.ENTER)
    assert browser.execute_script("return arguments[0].parentNode.open", summary)


def test_dark_mode_has_its_own_colours(visit: Open) -> None:
    """Of the page, and of letters and lines in charts."""
    colours = """
        const style = (at) => getComputedStyle(document.querySelector(at));
        return [style('body').backgroundColor, style('body').color,
                style('figure svg[role=img] text').fill];
    """
    light = visit("run").execute_script(colours)
    dark = visit("run", scheme="dark").execute_script(colours)
    assert all(one != other for one, other in zip(light, dark, strict=True))


def test_on_paper_charts_are_wide_and_folded_tables_open(visit: Open) -> None:
    """Print has the wide charts and black on white, in dark mode too."""
    browser = visit("run", 390, "dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    seen = """
        const style = (at) => getComputedStyle(document.querySelector(at));
        return [style('.wide').display, style('.narrow').display, style('body').backgroundColor];
    """
    try:
        assert browser.execute_script(seen) == ["block", "none", "rgb(255, 255, 255)"]
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
