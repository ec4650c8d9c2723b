"""The colors and letters of the page: warm paper, ink, one ultramarine. The style sheet builds on them."""

import gradio as gr

_SERIF = ("Newsreader", "Iowan Old Style", "Palatino", "Georgia", "serif")
_SANS = ("Instrument Sans", "system-ui", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "monospace")

# name: (light, dark); text on its ground has a contrast of at least 4.5, the edge of a field at least 3
_PALETTE = {
    "paper": ("#f6f2ea", "#141311"),
    "sheet": ("#fffdf9", "#1d1b18"),
    "ink": ("#1e1b16", "#f0ebe1"),
    "pencil": ("#655e52", "#aba395"),
    "line": ("#dfd8ca", "#36322c"),
    "edge": ("#918877", "#777063"),
    "accent": ("#2c3ecf", "#b3bcff"),
    "on_accent": ("#ffffff", "#14163a"),
    "wash": ("#e9e8f5", "#26273d"),
    "alarm": ("#a1301c", "#ffb4a2"),
}

_ROLES = {
    "body_background_fill": "paper",
    "body_text_color": "ink",
    "body_text_color_subdued": "pencil",
    "background_fill_primary": "sheet",
    "background_fill_secondary": "paper",
    "block_background_fill": "paper",
    "block_border_color": "line",
    "block_label_background_fill": "paper",
    "block_label_border_color": "paper",
    "block_label_text_color": "pencil",
    "block_title_text_color": "pencil",
    "block_info_text_color": "pencil",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "ink",
    "button_primary_text_color": "on_accent",
    "button_primary_text_color_hover": "paper",
    "button_secondary_background_fill": "sheet",
    "button_secondary_background_fill_hover": "wash",
    "button_secondary_border_color": "edge",
    "button_secondary_text_color": "ink",
    "checkbox_background_color": "sheet",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "edge",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_background_fill": "paper",
    "checkbox_label_text_color": "ink",
    "color_accent_soft": "wash",
    "error_background_fill": "sheet",
    "error_border_color": "alarm",
    "error_icon_color": "alarm",
    "error_text_color": "alarm",
    "input_background_fill": "sheet",
    "input_border_color": "edge",
    "input_border_color_focus": "accent",
    "input_placeholder_color": "pencil",
    "link_text_color": "accent",
    "link_text_color_active": "accent",
    "link_text_color_hover": "ink",
    "link_text_color_visited": "accent",
    "loader_color": "accent",
    "panel_background_fill": "paper",
    "slider_color": "accent",
}


def theme() -> gr.themes.Base:
    colors = {}
    for variable, name in _ROLES.items():
        colors[variable], colors[variable + "_dark"] = _PALETTE[name]
    return gr.themes.Base(font=_SANS, font_mono=_MONO, radius_size="sm", spacing_size="md").set(
        **colors,
        block_border_width="0px",
        block_shadow="none",
        block_label_text_weight="500",
        block_title_text_weight="500",
        block_padding="0px",
        button_primary_border_color="transparent",
        button_primary_border_color_dark="transparent",
        button_primary_border_color_hover="transparent",
        button_primary_border_color_hover_dark="transparent",
        input_border_width="1px",
        input_shadow="none",
        input_shadow_focus="none",
        layout_gap="20px",
    )
