"""The real program with a real model, from sentence to ranked gallery."""

import json
from pathlib import Path

from gradio_client import Client
from PIL import Image
from playwright.sync_api import Page, expect
from steps import await_gallery, draw, gallery, open_page, set_number

WATCH = """() => {
  window.seen = new Set();
  const look = () => {
    const first = document.querySelector('.gallery[data-stage=sampling] img');
    if (first) window.seen.add(first.src);
  };
  const all = { attributes: true, childList: true, subtree: true };  // Gradio changes what differs: often only `src`
  new MutationObserver(look).observe(document.querySelector('#pictures'), all);
}"""


def test_a_sentence_becomes_partial_frames_and_then_ranked_cards(page: Page, program: str):
    open_page(page, program)
    page.evaluate(WATCH)
    set_number(page, "samples", 4)
    set_number(page, "keep", 3)
    draw(page, "a red bird")
    ranked = await_gallery(page)
    assert page.evaluate("window.seen.size") >= 3
    scores = [float(text) for text in ranked.locator(".score > :first-child").all_inner_texts()]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    page.locator(".dropped summary").click()
    expect(page.locator(".dropped .card")).to_have_count(1)


def test_the_download_is_a_png_that_says_how_it_was_made(page: Page, program: str):
    open_page(page, program)
    set_number(page, "samples", 1)
    draw(page, "a blue strawberry")
    await_gallery(page)
    with page.expect_download() as download:
        page.locator(".save").first.click()
    with Image.open(download.value.path()) as picture:
        meta = json.loads(picture.info["dalle"])
        assert picture.format == "PNG"
    assert meta["prompt"] == "a blue strawberry"
    assert f"{meta['seed']}-{meta['index']}.png" == download.value.suggested_filename


def test_the_same_seed_draws_the_same_picture(page: Page, program: str):
    open_page(page, program)
    set_number(page, "samples", 1)
    page.locator("#seed input").fill("77")
    page.locator("#same input").check()
    pictures = []
    for _ in range(2):
        draw(page, "a red bird")
        card = await_gallery(page).locator("img")
        pictures.append(page.request.get(page.url + card.get_attribute("src")).body())
    assert pictures[0] == pictures[1]


def test_stop_leaves_a_page_that_draws_again(page: Page, program: str):
    open_page(page, program)
    set_number(page, "samples", 32)
    draw(page, "a red bird")
    expect(gallery(page, "sampling")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#status")).to_have_text("Stopped.", use_inner_text=True)
    expect(page.locator("#draw")).to_be_visible()
    set_number(page, "samples", 2)
    draw(page, "a red bird")
    expect(await_gallery(page).locator(".card")).to_have_count(2)


def test_words_that_the_model_cannot_read_are_refused_in_a_sentence(page: Page, program: str):
    open_page(page, program)
    set_number(page, "samples", 1)
    draw(page, "a red bird")
    before = await_gallery(page).inner_html()
    wall = page.locator("#pictures .gallery").first
    for prompt, answer in (
        ("   ", "Please type"),
        ("🍕🍕🍕", "cannot read"),
        ("a red bird " * 1000, "characters"),
        ("красная птица", "cannot read"),
    ):
        draw(page, prompt)
        expect(page.locator("#status .alarm")).to_contain_text(answer)
        assert wall.inner_html() == before


def test_programs_draw_through_the_named_endpoint(program: str):
    client = Client(program, verbose=False)
    files, scores = client.predict("a red bird", samples=3, keep=2, seed=5, api_name="/generate")
    assert len(files) == len(scores) == 2
    assert scores[0] >= scores[1]
    assert all(Image.open(Path(file)).format == "PNG" for file in files)
    again, _ = client.predict("a red bird", samples=3, keep=2, seed=5, api_name="/generate")
    assert [Path(file).read_bytes() for file in again] == [Path(file).read_bytes() for file in files]
