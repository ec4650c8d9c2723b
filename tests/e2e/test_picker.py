"""Several models on one page, and what it tells of each."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import serve
from fakes import FakeStudio
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Page, expect
from steps import await_gallery, copied_link, draw, open_page, open_panel, set_number, write


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FakeStudio, FakeStudio, str]]:
    stripes, dots = FakeStudio(0.01), FakeStudio(0.01, "dots", can_guide=False)
    dots.bundle.text.length = 9
    dots.read = lambda picture: 255 - stripes.read(picture)  # type: ignore[method-assign]
    for _, address in serve(stripes, dots):
        yield stripes, dots, address


def choose(page: Page, title: str) -> None:
    page.locator(".picker summary").click()
    page.locator(".picker label", has=page.locator(f"[value={title.split()[1]}]")).click()
    expect(page.locator(".picker summary")).to_contain_text(title)


def test_the_page_fits_itself_to_the_model_that_is_chosen(page: Page, served):
    stripes, dots, address = served
    open_page(page, address)
    open_panel(page, "advanced")
    write(page, "one two three")
    expect(page.locator("#meter")).to_contain_text("5 / 64")
    expect(page.locator("#guidance")).to_be_visible()
    choose(page, "Colored dots")
    expect(page.locator("#meter")).to_contain_text("5 / 9")
    expect(page.locator("#guidance")).to_be_hidden()
    draw(page, "a red bird")
    await_gallery(page)
    assert [len(studio.requests) for studio in (stripes, dots)] == [0, 1]
    choose(page, "Colored stripes")
    expect(page.locator("#guidance")).to_be_visible()


def test_a_picture_to_continue_is_read_anew_by_the_model_that_is_chosen(page: Page, served, tmp_path: Path):
    _, dots, address = served
    Image.new("RGB", (40, 40), "red").save(tmp_path / "red.png")
    open_page(page, address)
    open_panel(page, "priming")
    page.locator("#prime input[type=file]").set_input_files(tmp_path / "red.png")
    expect(page.locator("#unprime")).to_be_visible()
    set_number(page, "rows", 3)
    choose(page, "Colored dots")
    expect(page.locator("#status")).to_contain_text("Ready")
    draw(page, "a red bird")
    await_gallery(page)
    kept = dots.requests[-1].kept
    assert (kept[:3] == 255 - 76).all() and (kept[3:] == -1).all()

    page.get_by_role("button", name="Continue picture 1").click()  # made of tokens of this model
    expect(page.locator("#status")).to_contain_text("Start from a picture")
    choose(page, "Colored stripes")
    expect(page.locator("#status .alarm")).to_contain_text("was put away")
    expect(page.locator("#canvas .handle")).to_have_count(0)


def test_a_link_chooses_its_model(page: Page, served):
    _, dots, address = served
    open_page(page, address)
    choose(page, "Colored dots")
    draw(page, "a red bird")
    await_gallery(page)
    asked, link = dots.requests[-1], copied_link(page)
    page.goto("about:blank")
    page.goto(link)
    await_gallery(page)
    expect(page.locator(".picker summary")).to_contain_text("Colored dots")
    assert dots.requests[-1] == asked and dots.requests[-1] is not asked


def test_only_models_that_are_here_can_be_asked_for(page: Page, served):
    _, _, address = served
    open_page(page, address)
    page.locator(".picker summary").click()
    page.evaluate("""() => {
      const radio = document.querySelector('.picker input:disabled');
      radio.disabled = false;
      radio.value = '/etc/passwd';
    }""")
    page.locator(".picker input[value='/etc/passwd']").check()
    expect(page.locator("#status .alarm")).to_contain_text("no such model here")


def test_programs_name_a_model(served):
    _, dots, address = served
    client = Client(address, verbose=False)
    client.predict("a green bird", samples=1, keep=1, model="dots", api_name="/generate")
    assert dots.requests[-1].prompt == "a green bird"


def test_the_page_tells_about_its_model_and_how_programs_call_it(page: Page, program: str):
    open_page(page, program)
    open_panel(page, "about")
    about = page.locator("#about")
    expect(about.locator(".facts")).to_contain_text("tokens out of")
    expect(about.locator("code").first).to_contain_text(f'Client("{program}/")')
