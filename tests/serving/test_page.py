"""The page at `/` in a real browser: an image is dropped, its mask appears in the classes' colours."""

import base64
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.serving.toy_server import encoded

pytestmark = [pytest.mark.tf_only, pytest.mark.timeout(120)]

# A drop carries files in a DataTransfer, which only a script in the page can make.
_DROP = """
const [target, name, b64] = arguments;
const bytes = Uint8Array.from(atob(b64), (letter) => letter.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name));
for (const type of ["dragenter", "dragover", "drop"]) {
  target.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}
"""
_READ = "return document.getElementById(arguments[0]).toDataURL('image/png').split(',')[1]"


@pytest.fixture
def browser(port):
    """The page in a headless Chromium; skips where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    # Without a sandbox, which root in a container does not have.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        opened.get(f"http://127.0.0.1:{port}/")
        yield opened
    finally:
        opened.quit()


def wait(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30, poll_frequency=0.1).until(condition)


def find(browser, name):
    return browser.find_element("id", name)


def test_a_dropped_image_gets_its_mask(browser, tmp_path):
    wait(browser, lambda b: find(b, "model").text.strip() == "toy (version 3)")
    image = np.zeros((40, 60, 3), "uint8")
    image[:, 20:40] = (210, 20, 20)
    image[:, 40:] = (20, 20, 210)
    browser.execute_script(
        _DROP, find(browser, "drop"), "flag.png", base64.b64encode(encoded(image)).decode()
    )
    wait(browser, lambda b: find(b, "state").text.startswith("flag.png: 60 x 40 pixels"))
    browser.execute_script(
        "const slider = document.getElementById('opacity'); slider.value = 100;"
        "slider.dispatchEvent(new Event('input'))"
    )
    overlay = np.asarray(Image.open(io.BytesIO(base64.b64decode(browser.execute_script(_READ, "overlay")))))
    assert overlay.shape[:2] == (40, 60)
    # Black background leaves the picture as it is; the classes have their colours.
    for column, color in ((10, (0, 0, 0)), (30, (200, 30, 30)), (50, (30, 30, 200))):
        np.testing.assert_array_equal(overlay[20, column, :3], color)
    legend = find(browser, "legend").text
    assert all(f"{name} 33.3 %" in legend for name in ("background", "red", "blue"))
    assert find(browser, "save").get_attribute("href").startswith("blob:")
    assert browser.get_log("browser") == []
    browser.save_screenshot(str(tmp_path / "page.png"))


def test_a_file_may_be_chosen_and_errors_are_said(browser, tmp_path):
    wait(browser, lambda b: find(b, "model").text.strip())
    (tmp_path / "notes.png").write_bytes(b"no image at all")
    find(browser, "file").send_keys(str(tmp_path / "notes.png"))
    wait(browser, lambda b: "not an image that is served here" in find(b, "state").text)
    assert "error" in find(browser, "state").get_attribute("class")
    assert not find(browser, "result").is_displayed()
    (tmp_path / "red.jpg").write_bytes(encoded(np.full((9, 9, 3), (250, 0, 0), "uint8"), "JPEG"))
    find(browser, "file").send_keys(str(tmp_path / "red.jpg"))
    wait(browser, lambda b: "red 100.0 %" in find(b, "legend").text)
    assert find(browser, "state").get_attribute("class") == ""
