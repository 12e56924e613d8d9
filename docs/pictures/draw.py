#!/usr/bin/env python3
"""Draws the pictures of the documents anew: docs/pictures/draw.py [FOLDER], this one by default. Needs no package.

Words are measured before they are drawn: one that would leave its box, or the picture, ends the script.
"""

import pathlib
import sys
from xml.sax.saxutils import escape

BLUE, ORANGE, GREY, WHITE = "#9ecae1", "#fdae6b", "#e0e0e0", "#ffffff"
INK, PALE = "#222222", "#777777"
LETTER = 0.56  # mean width of a letter of the font, by its size


class Picture:
    def __init__(self, width, height):
        self.width, self.height, self.parts = width, height, []

    def text(self, x, y, words, size=14, anchor="middle", color=INK, weight="normal", room=None):
        """`y` is the middle of the line; `room` what there is for its width."""
        wide = len(words) * size * LETTER
        left = x - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        if wide > (room or self.width) or left < 0 or left + wide > self.width or not size / 2 <= y <= self.height - size / 2:
            sys.exit(f"draw.py: no room for '{words}'")
        self.parts.append(f'<text x="{x:g}" y="{y + 0.35 * size:g}" font-size="{size}" text-anchor="{anchor}" '
                          f'fill="{color}" font-weight="{weight}">{escape(words)}</text>')

    def box(self, x, y, width, height, lines=(), fill=WHITE, size=14, round=4, stroke=INK):
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{round}" fill="{fill}" '
                          f'stroke="{stroke}"/>')
        lines = [lines] if isinstance(lines, str) else lines
        for i, line in enumerate(lines):
            self.text(x + width / 2, y + height / 2 + (i - (len(lines) - 1) / 2) * size * 1.3, line, size,
                      room=width - 4)

    def line(self, *points, arrow=True, color=INK, width=1.5):
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"/>')
        if arrow:
            (x0, y0), (x, y) = points[-2:]
            length = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5
            u, v = (x - x0) / length, (y - y0) / length
            corners = ((x, y), (x - 8 * u - 4 * v, y - 8 * v + 4 * u), (x - 8 * u + 4 * v, y - 8 * v - 4 * u))
            self.parts.append(f'<polygon points="{" ".join(f"{a:g},{b:g}" for a, b in corners)}" fill="{color}"/>')

    def svg(self, title):
        return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                          f'width="{self.width}" height="{self.height}" font-family="sans-serif">',
                          f"<title>{escape(title)}</title>",
                          f'<rect width="{self.width}" height="{self.height}" fill="{WHITE}"/>', *self.parts, "</svg>", ""])


def coupled_group():
    """One channel through a convolution, its norm and the convolution that reads it."""
    p = Picture(900, 330)
    cut, side, top, bottom = 2, 28, 72, 306
    channels, inputs, filters = 4, 3, 5
    row = 55  # from one channel to the next

    def kernel(x, y, fill):
        for i in range(9):
            p.box(x + i % 3 * side / 3, y + i // 3 * side / 3, side / 3, side / 3, fill=fill, round=0, stroke=PALE)

    for k in range(channels):
        y, middle, fill = top + k * row, top + k * row + side / 2, BLUE if k == cut else WHITE
        p.text(22, middle, str(k), color=PALE)
        for i in range(inputs):
            kernel(44 + i * 40, y, fill)
        for i in range(4):
            p.box(246 + i * 40, y, side, side, fill=fill, round=2, stroke=PALE)
        for start, end in ((166, 234), (406, 464), (546, 616)):
            p.line((start, middle), (end, middle), color=INK if k == cut else GREY)
    p.box(466, top - 6, 78, (channels - 1) * row + side + 12, ["ReLU"], fill=GREY)
    for o in range(filters):
        for c in range(channels):
            kernel(660 + c * 48, top + o * (channels - 1) * row / (filters - 1), BLUE if c == cut else WHITE)
    for c in range(channels):
        p.text(660 + c * 48 + side / 2, top - 18, str(c), color=PALE)
    for i, name in enumerate(("\u03b3", "\u03b2", "mean", "var")):
        p.text(246 + i * 40 + side / 2, top - 18, name, 12, color=PALE, room=40)
    p.text(98, 22, "conv1.weight [4,3,3,3]")
    p.text(320, 22, "bn1, [4] each")
    p.text(746, 22, "conv2.weight [5,4,3,3]")
    p.text(98, bottom, "filter 2 makes it", 13, room=190)
    p.text(320, bottom, "four numbers of the norm", 13, room=230)
    p.text(505, bottom, "nothing to cut", 13, room=130)
    p.text(746, bottom, "input 2 of every filter reads it", 13, room=300)
    return p.svg("What goes with channel 2 of a convolution: its filter, four numbers of the norm, an input of the next one")


def residual_graph():
    """A residual block: which channels its sum couples."""
    p = Picture(1080, 310)
    top, high = 96, 46
    middle, right = top + high / 2, 70  # where the next op begins
    place = {}
    p.text(30, middle, "image", 13)
    p.line((54, middle), (right, middle))
    for name, width, reads, makes in (
            ("conv1", 74, GREY, BLUE), ("bn1", 52, BLUE, BLUE), ("relu", 50, None, None), ("block.conv1", 74, BLUE, ORANGE),
            ("block.bn1", 52, ORANGE, ORANGE), ("relu", 50, None, None), ("block.conv2", 74, ORANGE, BLUE),
            ("block.bn2", 52, BLUE, BLUE), ("+", 34, None, None), ("relu", 50, None, None), ("pool", 54, None, None),
            ("fc", 74, BLUE, GREY)):
        place.setdefault(name, (right, right + width))
        if not reads:
            p.box(right, top + 6, width, high - 12, name, round=16)
        else:
            p.text(right + width / 2, top + high + 14, name, 13, room=width + 22)
            if reads == makes:
                p.box(right, top, width, high, fill=reads, round=0)
            else:
                p.box(right, top, width / 2, high, "in", fill=reads, size=12, round=0)
                p.box(right + width / 2, top, width / 2, high, "out", fill=makes, size=12, round=0)
        p.line((right + width, middle), (right + width + 24, middle))
        right += width + 24
    split, plus = place["relu"][1] + 10, sum(place["+"]) / 2
    p.line((split, middle), (split, 44), (plus, 44), (plus, top + 6))
    p.text((split + plus) / 2, 26, "the block's result is added to what came into it", 13)
    for y, color, lines in (
            (204, BLUE, ("one group: the sum adds channel c to channel c, so conv1 and block.conv2 lose the same filters, their "
                         "norms the same", "numbers, and block.conv1 and fc the inputs that read them")),
            (256, ORANGE, ("another group: channels that nothing outside the block sees",)),
            (288, GREY, ("never cut: the image's channels, the classes",))):
        p.box(70, y - 9, 24, 18, fill=color, round=0)
        for i, line in enumerate(lines):
            p.text(106, y + 20 * i, line, 13, "start")
    return p.svg("A residual block: which channels are cut together")


LAYERS = (  # folder, what it is; then of a batch, of its gradient, of a cut: (step, what happens there)...
    ("cli", "commands", (), (), ()),
    ("run", "configs, checkpoints", ((10, "metrics.jsonl and a live line"),), (),
     ((1, "a stage or a callback asks for it"), (8, "the checkpoint keeps the history"))),
    ("train", "loop, callbacks, loss", ((2, "Trainer::step calls the model"), (9, "its loss is counted")),
     ((1, "loss.backward()"),), ()),
    ("data", "data sets, loader", ((1, "Loader: read, augment, normalise"),), (), ()),
    ("penalty", "what prepares for a cut", (), ((6, "a penalty adds its gradient"),), ()),
    ("prune", "units, criteria, selection", (), (), ((4, "scores, then a selection"),)),
    ("channels", "dependency groups, surgery", (), (), ((3, "channel_graph: the groups"), (5, "fold constants, cut"))),
    ("optim", "optimizers, schedules", (), ((7, "clip, then one step"),), ()),
    ("nn", "modules, parameters, models", ((3, "Module::forward calls ops"),), ((5, "Parameter: gradient and mask"),),
     ((6, "Parameter: its tensors shrink"),)),
    ("graph", "ops and their gradients", ((4, "an op checks shapes"), (6, "and records its backward"), (8, "the last op: the loss")),
     ((3, "the op's backward"),), ((2, "an example pass, traced"),)),
    ("autograd", "variables, the engine", ((7, "Variable: value and maker"),), ((2, "walks the makers backwards"),), ()),
    ("core", "tensors, kernels", ((5, "a kernel: conv2d_forward, ..."),),
     ((4, "kernels: conv2d_backward_..."), (8, "one fused update of all weights")), ((7, "copies what stays"),)),
    ("config", "JSON, schema", (), (), ()),
    ("util", "errors, names, text, files", (), (), ((9, "checkpoint: all or nothing"),)),
)


def architecture():
    """The layers, and what happens in which of them to a batch, a gradient and a cut."""
    left, top, line, gap = 200, 52, 19, 12
    heights = [max(2, *map(len, ways)) * line + 12 for _, _, *ways in LAYERS]
    p = Picture(1080, top + sum(heights) + gap * len(heights) + 30)
    columns = [left + 20 + i * 286 for i in range(3)]
    for x, name in zip(columns, ("a batch", "its gradient", "a cut")):
        p.text(x + 138, 26, name, 15)
    y = top
    for (folder, what, *ways), high in zip(LAYERS, heights):
        p.box(20, y, left - 20, high, fill=BLUE)
        p.text(20 + (left - 20) / 2, y + high / 2 - 9, folder, 14, room=left - 24)
        p.text(20 + (left - 20) / 2, y + high / 2 + 9, what, 11, room=left - 24)
        for x, steps in zip(columns, ways):
            if steps:
                p.box(x, y, 276, high)
            for i, (step, words) in enumerate(steps):
                middle = y + high / 2 + (i - (len(steps) - 1) / 2) * line
                p.text(x + 14, middle, str(step), 13, color=PALE)
                p.text(x + 28, middle, words, 13, "start", room=246)
        y += high + gap
    p.line((10, top), (10, y - gap), color=PALE)
    p.text(20, y + 8, "Uses go down only: nothing sees what lies above it, and the build holds it to that.", 13, "start",
           color=PALE)
    return p.svg("The layers, and the ways of a batch, of its gradient and of a cut through them, step by step")


PICTURES = {"architecture": architecture, "coupled_group": coupled_group, "residual_graph": residual_graph}


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
