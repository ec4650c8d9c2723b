"""Opens the page: `python app.py [--model NAME …] [--device auto] [--port 7860]`."""

import argparse
from functools import partial

import dalle
from dalle import ui
from dalle.ui import zerogpu


def main() -> None:
    parser = argparse.ArgumentParser(description="Type a sentence, see a ranked gallery of pictures.")
    parser.add_argument("--model", nargs="+", default=["emoji"], help="names of models, or directories that hold them")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps …")
    parser.add_argument("--dtype", default="float32", help="of the weights: float32, bfloat16, float16")
    parser.add_argument("--host", help="the address to listen on; 0.0.0.0 for the whole network")
    parser.add_argument("--port", type=int, help="the port to listen on; without it the first free one from 7860")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    chosen = parser.parse_args()

    # The model loads beside the page: the page is there at once and says that the model is warming up.
    load = zerogpu.lend(partial(dalle.load, device=chosen.device, dtype=chosen.dtype), chosen.model)
    studios = ui.Studios(load, chosen.model)
    studios.start(studios.first)
    page, options = ui.build(studios)
    page.launch(server_name=chosen.host, server_port=chosen.port, inbrowser=chosen.open, **options)


if __name__ == "__main__":
    main()
