"""What brings a drawing back: links, PNG files, and the history of the browser."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from threading import Event
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from conftest import serve, visit
from fakes import FakeStudio
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from program import running
from steps import await_gallery, copied_link, draw, drop_file, open_page, open_panel, set_number, starred, write

from dalle import share
from dalle.contracts import Borders

PROMPT = "#prompt textarea"
DIFFERENT = "the pictures will be others"


@pytest.fixture
def desk(page: Page, stripes) -> Page:
    studio, address = stripes
    studio.pause = 0.01
    open_page(page, address)
    return page


def pictures(page: Page) -> list[str]:
    """The SHA-256 of every picture that a gallery shows, best first."""
    home = page.url.partition("?")[0]
    addresses = [card.get_attribute("href") for card in page.locator("#pictures a.plate").all()]
    return [hashlib.sha256(page.request.get(f"{home}{address}").body()).hexdigest() for address in addresses]


def test_a_link_draws_the_same_files_in_a_fresh_browser_after_a_restart(
    page: Page, browser: Browser, program: str, model: str
):
    open_page(page, program)
    set_number(page, "samples", 4)
    set_number(page, "keep", 3)
    draw(page, "a blue strawberry")
    await_gallery(page)
    drawn, link = pictures(page), copied_link(page)
    assert len(drawn) == 4 and link.startswith(program)
    with running(model) as (address, _):
        for visitor in visit(browser):
            visitor.goto(link.replace(program, address))
            await_gallery(visitor)
            assert pictures(visitor) == drawn
            expect(visitor.locator(PROMPT)).to_have_value("a blue strawberry")
            expect(visitor.locator("#same input")).to_be_checked()


def test_a_link_brings_the_kept_part_of_a_picture_along(desk: Page, browser: Browser, stripes, tmp_path: Path):
    studio, _ = stripes
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "start.png")
    open_panel(desk, "priming")
    desk.locator("#prime input[type=file]").set_input_files(tmp_path / "start.png")
    expect(desk.locator("#unprime")).to_be_visible()
    draw(desk, "a red bird")
    await_gallery(desk)
    asked, drawn = studio.requests[-1], pictures(desk)
    for visitor in visit(browser):
        visitor.goto(copied_link(desk))
        await_gallery(visitor)
        assert studio.requests[-1] == asked and np.array_equal(studio.requests[-1].kept, asked.kept)
        assert pictures(visitor) == drawn


def test_what_is_kept_on_every_side_of_a_picture_comes_back(desk: Page, stripes):
    studio, address = stripes
    kept = Borders(top=3, bottom=2, left=5, right=1).of(np.arange(256).reshape(16, 16))
    bundle = studio.bundle
    recipe = share.Recipe("a red bird", bundle.name, bundle.fingerprint, 5, 2, 2, bundle.options, kept)
    desk.goto(f"{address}?{share.link(recipe)}")
    await_gallery(desk)
    assert np.array_equal(studio.requests[-1].kept, kept)
    set_number(desk, "rows", 1)  # the upper border moves, what is known beyond the lower one stays
    draw(desk, "a red bird")
    await_gallery(desk)
    assert np.array_equal(studio.requests[-1].kept, Borders(top=1, bottom=2, left=5, right=1).of(kept))


def test_a_link_is_shown_where_it_cannot_be_copied(desk: Page):
    draw(desk, "a red bird")
    await_gallery(desk)
    desk.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    desk.get_by_role("button", name="Copy link").click()
    field = desk.locator(".address input")
    expect(field).to_be_focused()
    assert parse_qs(urlsplit(field.input_value()).query)["prompt"] == ["a red bird"]


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        (lambda link: link[:-3], "lost a part"),
        (lambda link: link.replace("seed=", "seed=1"), "lost a part"),
    ],
)
def test_a_damaged_link_says_so_and_leaves_a_page_that_draws(desk: Page, change, answer: str):
    draw(desk, "a red bird")
    await_gallery(desk)
    desk.goto(change(copied_link(desk)))
    expect(desk.locator("#status .alarm")).to_contain_text(answer)
    draw(desk, "a red bird")
    await_gallery(desk)


def test_a_link_of_another_model_sets_the_prompt_and_draws_nothing(desk: Page, stripes):
    studio, address = stripes
    recipe = share.Recipe("a green cat", "other", "f" * 16, 5, 4, 2, studio.bundle.options)
    asked = len(studio.requests)
    desk.goto(f"{address}?{share.link(recipe)}")
    expect(desk.locator("#status .alarm")).to_contain_text(DIFFERENT)
    expect(desk.locator(PROMPT)).to_have_value("a green cat")
    assert len(studio.requests) == asked


def test_on_a_space_the_link_is_that_of_the_space(desk: Page, monkeypatch):
    monkeypatch.setenv("SPACE_HOST", "someone-dalle.hf.space")
    draw(desk, "a red bird")
    await_gallery(desk)
    assert copied_link(desk).startswith("https://someone-dalle.hf.space/?prompt=a+red+bird&")


# PNG files


def test_a_picture_that_is_dropped_back_restores_all(desk: Page, stripes):
    studio, _ = stripes
    desk.locator("#seed input").fill("4711")
    desk.locator("#same input").check()
    open_panel(desk, "advanced")
    set_number(desk, "temperature", 0.8)
    draw(desk, "a red bird")
    await_gallery(desk)
    asked = studio.requests[-1]
    with desk.expect_download() as download:
        desk.locator(".save").first.click()
    saved = Path(download.value.path())  # waits for the end of the download, which a reload would stop
    desk.reload()
    expect(desk.locator("#status")).to_contain_text("Ready")
    drop_file(desk, saved)
    expect(desk.locator("#status")).to_contain_text("Everything is set")
    expect(desk.locator(PROMPT)).to_have_value("a red bird")
    open_panel(desk, "advanced")
    expect(desk.locator("#temperature input[type=number]")).to_have_value("0.8")
    desk.locator("#draw").click()
    await_gallery(desk)
    assert studio.requests[-1] == asked and asked.seed == 4711 and asked.options.temperature == 0.8


@pytest.mark.parametrize("name", ["other.png", "text.txt"])
def test_other_files_are_refused_in_a_sentence(desk: Page, tmp_path: Path, name: str):
    if name.endswith("png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    else:
        (tmp_path / name).write_text("not a picture")
    write(desk, "stays")
    drop_file(desk, tmp_path / name)
    expect(desk.locator("#status .alarm")).to_contain_text("does not tell how it was made")
    expect(desk.locator(PROMPT)).to_have_value("stays")


# History


def test_a_star_survives_a_reload(desk: Page):
    draw(desk, "a <b>red</b> bird")
    await_gallery(desk)
    star = desk.get_by_role("button", name="Star picture 2")
    star.click()
    expect(star).to_have_attribute("aria-pressed", "true")
    desk.reload()
    desk.get_by_role("tab", name="History").click()
    expect(starred(desk)).to_have_count(1)
    assert "data:image/" in (starred(desk).locator("img").get_attribute("src") or "")
    starred(desk).click()
    expect(desk.locator(PROMPT)).to_have_value("a <b>red</b> bird")
    desk.locator("#draw").click()
    await_gallery(desk)
    expect(desk.get_by_role("button", name="Star picture 2")).to_have_attribute("aria-pressed", "true")
    desk.get_by_role("button", name="Star picture 2").click()
    expect(starred(desk)).to_have_count(0)


def test_what_is_asked_for_while_the_model_loads_waits_for_it(browser: Browser):
    loaded, studio = Event(), FakeStudio(0.01)
    bundle = studio.bundle
    link = share.link(
        share.Recipe("a green cat", bundle.name, bundle.fingerprint, 5, 2, 2, replace(bundle.options, temperature=0.5))
    )
    past = {"recent": [{"link": link, "prompt": "a green cat", "seed": "5", "picture": ""}], "stars": []}
    for _, address in serve(studio, loaded=loaded):
        for early, late in zip(visit(browser), visit(browser), strict=True):
            early.goto(address)
            draw(early, "a red bird")
            expect(early.locator("#status")).to_contain_text("warming up")
            late.add_init_script(f"localStorage.setItem('dalle-history', {json.dumps(json.dumps(past))})")
            late.goto(address)
            late.get_by_role("tab", name="History").click()
            late.locator(".recent button").click()
            loaded.set()
            await_gallery(early)
            assert studio.requests[-1].options is None  # the model's own, not those of sliders that it never set
            expect(late.locator("#status")).to_contain_text("Everything is set")
            open_panel(late, "advanced")
            expect(late.locator("#temperature input[type=number]")).to_have_value("0.5")


def test_the_history_is_this_browsers_own_and_can_be_cleared(desk: Page, browser: Browser, stripes):
    for prompt in ("a red bird", "a blue bird"):
        draw(desk, prompt)
        await_gallery(desk)
    desk.get_by_role("tab", name="History").click()
    expect(desk.locator(".recent b")).to_have_text(["a blue bird", "a red bird"])
    desk.locator(".recent button").last.click()
    expect(desk.locator(PROMPT)).to_have_value("a red bird")
    for other in visit(browser):
        open_page(other, stripes[1])
        other.get_by_role("tab", name="History").click()
        expect(other.get_by_text("What you draw is listed here")).to_be_visible()
        expect(other.locator(".recent button")).to_have_count(0)
    desk.get_by_role("button", name="Clear all of it").click()
    expect(desk.locator(".recent button")).to_have_count(0)
    assert "red bird" not in desk.evaluate("JSON.stringify(localStorage)")
