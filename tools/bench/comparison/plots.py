# SPDX-License-Identifier: BSL-1.0
"""Plots as inline SVG. Colours, fonts and dark mode come from the page's style sheet, by classes."""
import math
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 440, 290
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 12, 44      # around the plot
MARKS = ["M-3.5 0A3.5 3.5 0 1 0 3.5 0A3.5 3.5 0 1 0-3.5 0Z", "M-3-3H3V3H-3Z", "M0-4.2 4 3H-4Z", "M0-4.4 4.4 0 0 4.4-4.4 0Z",
         "M0 4.2 4-3H-4Z", "M-4-1.4H-1.4V-4H1.4V-1.4H4V1.4H1.4V4H-1.4V1.4H-4Z", "M-4 0-2-3.5H2L4 0 2 3.5H-2Z",
         "M-3.5-1.5 0-4.2 3.5-1.5 2.2 3.2H-2.2Z"]


@dataclass
class Series:
    name: str
    style: str                                  # classes: the colour, and what is said by weight and dashes
    mark: int
    points: list = field(default_factory=list)  # (x, y) or (x, y, low, high)


@dataclass
class Axis:
    title: str
    text: callable                              # of a tick
    log: bool = False
    unit: int = 1                               # linear: ticks are round numbers of it
    low: float = None
    high: float = None                          # what lies beyond is cut off
    ticks: list = None

    def fit(self, values):
        values = [v for v in values if v is not None and (v > 0 or not self.log)] or [1]
        low, high = min(values), max(values)
        if self.log:
            self.low = self.low or low / 1.15
            self.high = self.high or high * 1.15
            self.ticks = self.ticks or log_ticks(self.low, self.high)
            return self
        self.low = 0 if self.low is None else self.low
        self.high = self.high or (high * 1.08 or 1)
        unit = self.unit if self.high > 2 * self.unit else 1
        self.ticks = self.ticks or [t * unit for t in linear_ticks(self.low / unit, self.high / unit)]
        return self

    def place(self, value):
        """0 to 1 within the axis."""
        if self.log:
            value = max(value, self.low)
            return (math.log(value) - math.log(self.low)) / ((math.log(self.high) - math.log(self.low)) or 1)
        return (value - self.low) / ((self.high - self.low) or 1)


def linear_ticks(low, high, most=6):
    raw = (high - low) / most
    scale = 10 ** math.floor(math.log10(raw))
    step = next(s * scale for s in (1, 2, 2.5, 5, 10) if s * scale >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, int(high / step + 1e-9) + 1)]


def log_ticks(low, high, most=7):
    for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
        ticks = [s * 10.0 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for s in steps]
        ticks = [t for t in ticks if low <= t <= high]
        if len(ticks) <= most:
            break
    return ticks or [low, high]


def thinned(values, nearest=0.15):
    """Of the values on a logarithmic axis those whose texts have room; the first and the last in any case."""
    whole = math.log(values[-1] / values[0]) or 1
    kept = values[:1]
    for v in values[1:-1]:
        if math.log(v / kept[-1]) / whole > nearest and math.log(values[-1] / v) / whole > nearest:
            kept.append(v)
    return kept + values[-1:] if len(values) > 1 else kept


def number(v):
    return f"{v:.1f}".rstrip("0").rstrip(".")


def figure(ident, title, description, body, width=WIDTH, height=HEIGHT):
    return (f'<svg viewBox="0 0 {width} {height}" role="img" aria-labelledby="{ident}-t {ident}-d">'
            f'<title id="{ident}-t">{escape(title)}</title><desc id="{ident}-d">{escape(description)}</desc>{"".join(body)}</svg>')


def mark(index, x, y, style, tip=""):
    return (f'<path class="mark {style}" transform="translate({number(x)} {number(y)})" d="{MARKS[index % len(MARKS)]}">'
            f'<title>{escape(tip)}</title></path>')


def frame(x, y, width, height):
    """Grid, ticks and titles of both axes; `x` and `y` are fitted."""
    right, bottom = width - RIGHT, height - BOTTOM
    out = []
    for t in y.ticks:
        at = number(bottom - y.place(t) * (bottom - TOP))
        out.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{at}" y2="{at}"/>'
                   f'<text class="tick" x="{LEFT - 6}" y="{at}" dy=".32em" text-anchor="end">{escape(y.text(t))}</text>')
    for t in x.ticks:
        at = number(LEFT + x.place(t) * (right - LEFT))
        out.append(f'<line class="tickmark" x1="{at}" x2="{at}" y1="{bottom}" y2="{bottom + 4}"/>'
                   f'<text class="tick" x="{at}" y="{bottom + 17}" text-anchor="middle">{escape(x.text(t))}</text>')
    out.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
               f'<text class="name" x="{number((LEFT + right) / 2)}" y="{height - 8}" text-anchor="middle">{escape(x.title)}</text>')
    return out


def line_chart(ident, title, description, series, x, y, marks=True):
    """Lines through the medians, with whiskers from the lowest to the highest round."""
    x.fit([p[0] for s in series for p in s.points])
    y.fit([v for s in series for p in s.points for v in p[1:]])
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    px = lambda v: LEFT + x.place(v) * (right - LEFT)
    py = lambda v: bottom - y.place(v) * (bottom - TOP)
    out = frame(x, y, WIDTH, HEIGHT)
    out.append(f'<clipPath id="{ident}-c"><rect x="{LEFT}" y="{TOP - 6}" width="{right - LEFT + 6}" height="{bottom - TOP + 6}"/>'
               f'</clipPath><g clip-path="url(#{ident}-c)">')
    for s in series:
        path = " ".join(f"{number(px(p[0]))},{number(py(p[1]))}" for p in s.points)
        whiskers = "".join(f"M{number(px(p[0]))} {number(py(p[2]))}V{number(py(p[3]))}" for p in s.points if len(p) > 2)
        out.append(f'<path class="whisker {s.style}" d="{whiskers}"/>' if whiskers else "")
        out.append(f'<polyline class="line {s.style}" points="{path}"><title>{escape(s.name)}</title></polyline>')
        if marks:
            out += [mark(s.mark, px(p[0]), py(p[1]), s.style, f"{s.name}: {y.text(p[1])} at {x.text(p[0])}") for p in s.points]
    out.append("</g>")
    return figure(ident, title, description, out)


def bar_chart(ident, title, description, bars, text, most=None):
    """Bars: (name, style, median, low, high, note), one below the other. Those longer than `most` are cut, and say so."""
    row, label, room = 24, 104, 112
    high = max(max(b[2], b[4]) for b in bars) or 1
    cut = most is not None and high > most
    high = most if cut else high
    scale = (WIDTH - label - room) / high
    out = []
    for i, (name, style, median, low, top, note) in enumerate(bars):
        y = i * row + 4
        end = label + min(median, high) * scale
        out.append(f'<text class="label" x="{label - 8}" y="{y + 8}" dy=".34em" text-anchor="end">{escape(name)}</text>'
                   f'<rect class="bar {style}" x="{label}" y="{y}" width="{number(max(end - label, 1))}" height="16" rx="2">'
                   f'<title>{escape(f"{name}: {text(median)}, {text(low)} to {text(top)}")}</title></rect>')
        if median > high:
            out.append(f'<path class="torn" d="M{number(end - 14)} {y - 2}l5 20m3-20l5 20"/>')
        else:
            a, b = number(label + low * scale), number(label + min(top, high) * scale)
            out.append(f'<path class="whisker {style}" d="M{a} {y + 8}H{b}M{a} {y + 4}v8M{b} {y + 4}v8"/>')
            end = max(end, label + min(top, high) * scale)
        out.append(f'<text class="value" x="{number(end + 6)}" y="{y + 8}" dy=".34em">{escape(text(median))}'
                   f'<tspan class="note" dx="6">{escape(note)}</tspan></text>')
    return figure(ident, title, description, out, height=len(bars) * row + 4)
