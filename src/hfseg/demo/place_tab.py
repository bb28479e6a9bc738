# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The tab of points and boxes: clicks and dragged boxes on the image, drawn on it, taken back one by one.

The text field is the only record of what was clicked. `SCRIPT` turns what the pointer does into entries of that field
and draws the field's entries over the image; the server never gets another image than the one that was uploaded.
"""

import math
from typing import Any

import gradio as gr

from ..inference.predictor import Prompts
from .answers import refusal
from .tabs import _Tab, image_field

__all__ = ["CSS", "DRAW", "SCRIPT", "PlaceTab", "add_place", "read_places", "undo_place", "write_places"]

OBJECT, NOT_THIS, BOX = "Object", "Not this", "Box"

CSS = """
.hfseg-band { position: fixed; border: 2px dashed #0072B2; background: rgba(86, 180, 233, 0.25); z-index: 1000;
              pointer-events: none; }
.hfseg-marks { position: absolute; pointer-events: none; overflow: visible; z-index: 1; }
#hfseg-pointer { display: none; }
#hfseg-places img { cursor: crosshair; }
"""
# What Gradio's image lacks: drags, a box by two clicks (a finger that drags scrolls the page), and marks on the image.
# Every entry that is sent to the server has a number of its own, so that the same place may come twice.
SCRIPT = """
() => {
  if (window.hfsegMarks) return;
  const NS = 'http://www.w3.org/2000/svg';
  let start = null, band = null, corner = null, text = '', number = 0, drawn = '';
  let watched = null;
  const watch = () => {  // a tab's parts come when it is opened
    const part = document.querySelector('#hfseg-places');
    if (!part || part === watched) return;
    watched = part;
    new ResizeObserver(mark).observe(part);
    new MutationObserver(mark).observe(part, { childList: true, subtree: true, attributeFilter: ['src'] });
  };
  const picked = () => document.querySelector('#hfseg-places img');
  const scaleOf = (image) => {
    const box = image.getBoundingClientRect();
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    return getComputedStyle(image).objectFit === 'scale-down' ? Math.min(scale, 1) : scale;
  };
  const place = (image, x, y) => {
    const box = image.getBoundingClientRect(), scale = scaleOf(image);
    const left = box.left + (box.width - image.naturalWidth * scale) / 2;
    const top = box.top + (box.height - image.naturalHeight * scale) / 2;
    const clamp = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
    return [clamp((x - left) / scale, image.naturalWidth), clamp((y - top) / scale, image.naturalHeight)];
  };
  const mode = () => {
    const chosen = document.querySelector('#hfseg-places-mode input:checked');
    return chosen ? chosen.value : 'Object';
  };
  const send = (entry) => {
    const field = document.querySelector('#hfseg-pointer textarea, #hfseg-pointer input');
    number += 1;
    field.value = entry + '#' + number;
    field.dispatchEvent(new Event('input', { bubbles: true }));
  };
  const sendBox = (a, b) => {
    const sides = [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
    if (sides[0] < sides[2] && sides[1] < sides[3]) send(sides.join(','));
  };
  const shape = (svg, name, attributes) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    svg.append(made);
    return made;
  };
  const cross = (svg, x, y, plus, fill, ink) => {
    shape(svg, 'circle', { cx: x, cy: y, r: 8, fill, stroke: ink, 'stroke-width': 2 });
    const path = `M${x - 4} ${y}H${x + 4}` + (plus ? `M${x} ${y - 4}V${y + 4}` : '');
    shape(svg, 'path', { d: path, stroke: ink, 'stroke-width': 2, fill: 'none' });
  };
  const mark = () => {
    watch();
    const image = picked();
    if (!image || !image.naturalWidth || !image.offsetParent) {
      document.querySelectorAll('.hfseg-marks').forEach((old) => old.remove());
      drawn = '';
      return;
    }
    const scale = scaleOf(image), width = image.naturalWidth * scale, height = image.naturalHeight * scale;
    const left = image.offsetLeft + (image.offsetWidth - width) / 2;
    const top = image.offsetTop + (image.offsetHeight - height) / 2;
    const key = [text, corner, left, top, width, height, image.src].join('|');
    const there = document.querySelector('.hfseg-marks');
    if (key === drawn && there) return;
    drawn = key;
    document.querySelectorAll('.hfseg-marks').forEach((old) => old.remove());
    const svg = document.createElementNS(NS, 'svg');
    svg.setAttribute('class', 'hfseg-marks');
    Object.assign(svg.style, { left: left + 'px', top: top + 'px', width: width + 'px', height: height + 'px' });
    for (const part of text.split(';').map((entry) => entry.trim()).filter(Boolean)) {
      const minus = part.startsWith('-'), at = part.replace(/^-/, '').split(',').map((value) => Number(value) * scale);
      if (at.some((value) => !Number.isFinite(value))) continue;
      if (at.length === 4) {
        const box = { x: at[0], y: at[1], width: Math.max(at[2] - at[0], 0), height: Math.max(at[3] - at[1], 0) };
        shape(svg, 'rect', { ...box, fill: 'none', stroke: '#000', 'stroke-width': 4 });
        shape(svg, 'rect', { ...box, fill: 'none', stroke: '#fff', 'stroke-width': 2 });
      } else if (at.length === 2) {
        cross(svg, at[0], at[1], !minus, minus ? '#000' : '#fff', minus ? '#fff' : '#000');
      }
    }
    if (corner) {
      const [x, y] = corner.map((value) => value * scale), reach = `M${x} ${y + 18}V${y}H${x + 18}`;
      shape(svg, 'path', { d: reach, fill: 'none', stroke: '#000', 'stroke-width': 5 });
      shape(svg, 'path', { d: reach, fill: 'none', stroke: '#fff', 'stroke-width': 2 });
    }
    image.offsetParent.append(svg);
  };
  window.hfsegMarks = (value) => { text = value || ''; corner = null; mark(); };
  const over = (event) => {
    const image = event.target.closest && event.target.closest('#hfseg-places') && picked();
    const box = image && image.getBoundingClientRect();
    const inside = box && event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top
      && event.clientY <= box.bottom && !event.target.closest('button:has(svg)');
    return inside ? image : null;
  };
  document.addEventListener('pointerdown', (event) => {
    const image = event.isPrimary && event.button === 0 && over(event);
    start = image ? { image, x: event.clientX, y: event.clientY, touch: event.pointerType === 'touch' } : null;
  }, true);
  document.addEventListener('dragstart', (event) => {
    if (event.target.closest && event.target.closest('#hfseg-places')) event.preventDefault();
  }, true);
  document.addEventListener('pointermove', (event) => {
    if (!start || Math.hypot(event.clientX - start.x, event.clientY - start.y) < 6) return;
    if (start.touch) { start = null; return; }
    if (!band) { band = document.createElement('div'); band.className = 'hfseg-band'; document.body.append(band); }
    band.style.left = Math.min(start.x, event.clientX) + 'px';
    band.style.top = Math.min(start.y, event.clientY) + 'px';
    band.style.width = Math.abs(event.clientX - start.x) + 'px';
    band.style.height = Math.abs(event.clientY - start.y) + 'px';
  }, true);
  const stop = () => { start = null; if (band) band.remove(); band = null; };
  document.addEventListener('pointercancel', stop, true);
  document.addEventListener('pointerup', (event) => {
    if (!start) return;
    const { image, x, y } = start, dragged = band !== null;
    stop();
    const from = place(image, x, y), to = place(image, event.clientX, event.clientY);
    if (dragged) { sendBox(from, to); return; }
    if (mode() !== 'Box') { send((mode() === 'Not this' ? '-' : '') + from.join(',')); return; }
    if (corner) { const first = corner; corner = null; sendBox(first, from); } else corner = from;
    mark();
  }, true);
  document.addEventListener('change', (event) => {
    if (event.target.closest && event.target.closest('#hfseg-places-mode')) { corner = null; mark(); }
  }, true);
  document.addEventListener('load', mark, true);
  window.addEventListener('resize', mark);
}
"""
DRAW = "(text) => { if (window.hfsegMarks) window.hfsegMarks(text); }"


def read_places(text: str) -> Prompts:
    """Reads points and boxes as the field has them: `x,y; -x,y; x0,y0,x1,y1`; a `-` stands before a negative point.

    Raises:
        ValueError: Something else, or only negative points.
    """
    found: dict[str, list[list[float]]] = {"points": [], "negative_points": [], "boxes": []}
    for part in filter(None, (part.strip() for part in (text or "").replace("\n", ";").split(";"))):
        minus = part.startswith("-")
        try:
            values = [float(value) for value in part.removeprefix("-").split(",")]
        except ValueError:
            values = []
        if len(values) not in ((2,) if minus else (2, 4)) or not all(0 <= value < math.inf for value in values):
            raise ValueError(f"{part!r} is neither a point x,y or -x,y nor a box x0,y0,x1,y1.")
        found["boxes" if len(values) == 4 else "negative_points" if minus else "points"].append(values)
    if found["negative_points"] and not (found["points"] or found["boxes"]):
        raise ValueError("Click on an object first: a negative point needs a point or a box beside it.")
    return Prompts(points=found["points"], negative_points=found["negative_points"], boxes=found["boxes"])


def write_places(prompts: Any) -> str:
    """Writes points and boxes as `read_places` reads them."""
    minus = [f"-{x:g},{y:g}" for x, y in getattr(prompts, "negative_points", ())]
    return "; ".join([*(",".join(f"{v:g}" for v in place) for place in (*prompts.points, *prompts.boxes)), *minus])


def _entries(text: str) -> list[str]:
    return [part.strip() for part in (text or "").replace("\n", ";").split(";") if part.strip()]


def add_place(text: str, place: str) -> str:
    """Adds what was clicked; boxes replace points and points boxes: a model is asked for one kind at a time.

    >>> add_place("1,2; -3,4", "5,6#9"), add_place("1,2; -3,4", "1,2,9,9#10")
    ('1,2; -3,4; 5,6', '1,2,9,9')
    """
    place, old = place.partition("#")[0], _entries(text)
    other = 1 if place.count(",") == 3 else 3  # commas of the kind that goes
    if not place.startswith("-") and any(part.count(",") == other and part[0] != "-" for part in old):
        old = []
    return "; ".join([*old, place])


def undo_place(text: str) -> str:
    """Takes the last entry back."""
    return "; ".join(_entries(text)[:-1])


class PlaceTab(_Tab):
    """Points and boxes: click and drag on the image."""

    title = "Points and boxes"

    def build(self) -> None:
        with gr.Row():
            with gr.Column():
                model = self.menu()
                image = image_field(label="Image", height=420, elem_id="hfseg-places", buttons=[])
                mode = gr.Radio(
                    [OBJECT, NOT_THIS, BOX], value=OBJECT, label="A click marks", elem_id="hfseg-places-mode",
                    info="A box takes two clicks on its corners; with a mouse, drag it at any time.", interactive=True,
                )  # fmt: skip
                with gr.Row(elem_classes="hfseg-buttons"):
                    undo = gr.Button("Undo", elem_id="hfseg-places-undo", min_width=80)
                    clear = gr.Button("Clear", elem_id="hfseg-places-clear", min_width=80)
                    button = gr.Button("Segment", variant="primary", elem_id="hfseg-places-run", min_width=80)
                places = gr.Textbox(
                    label="Points x,y or -x,y (not this) and boxes x0,y0,x1,y1, with ; between", value="",
                    info="Empty: everything in the image is segmented.", max_length=2000,
                )  # fmt: skip
                pointer = gr.Textbox(elem_id="hfseg-pointer", show_label=False)
                self.examples([image, places], lambda example: [str(example.path), write_places(example)])
            with gr.Column():
                self.outputs()
        del mode  # the script reads it
        self._connect(model, image, places, pointer, button)
        nothing: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        again = undo.click(undo_place, places, places, **nothing).then(
            self._again, [model, image, places, self.opacity], self.results, api_visibility="private"
        )
        self.finish(again, scroll=False)
        gr.on([clear.click, image.clear, image.upload], lambda: "", None, places, **nothing)
        clear.click(lambda: (None, "", None, None), None, self.results, **nothing)

    def _connect(self, model: Any, image: Any, places: Any, pointer: Any, button: Any) -> None:
        """Connects the image, the script and the model."""
        given = [model, image, places, self.opacity]
        places.change(None, places, None, js=DRAW, show_progress="hidden", api_visibility="private")
        clicked = pointer.change(
            add_place, [places, pointer], places, show_progress="hidden", api_visibility="private"
        ).then(self.run, given, self.results, api_visibility="private")
        self.finish(clicked, scroll=False)  # the next click comes soon
        self.finish(button.click(self.run, given, self.results, api_name="places"))
        self.run_examples(self.run, given)

    def run(self, model: str, image: str | None, places: str, opacity: float) -> tuple[Any, ...]:
        """Segments what is marked, or everything."""
        try:
            prompts = read_places(places)
        except ValueError as error:
            raise refusal(error) from error
        return self.answer(model, image, opacity, prompts)

    def _again(self, model: str, image: str | None, places: str, opacity: float) -> tuple[Any, ...]:
        """After an entry was taken back: segments what is left, if anything is."""
        try:
            prompts = read_places(places)
        except ValueError:
            prompts = Prompts()
        if not image or not (prompts.points or prompts.boxes):
            return None, "", None, None
        return self.answer(model, image, opacity, prompts)
