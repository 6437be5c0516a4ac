"""Draw a run: Tensorkeep's and RedisAI's rates, each compared with redis-server's beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from figures import REDIS, TENSORKEEP, Load
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke
from published import REDISAI
from report import ratio, short

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from figures import Group, Run
    from matplotlib.axes import Axes

    Bar = tuple[float, float]
    """Requests per second, and how many that is for each of redis-server's."""

LOADS = (Load(1), Load(50), Load(50, 16))
THICKNESS = 0.38
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
LIMITS = (0.004, 9.0)
WIDTH, GROUP_HEIGHT = 8.5, 0.42  # inches


def draw(run: Run, path: Path) -> None:
    """Write the picture of a run as PNG, one panel for each load."""
    panels = {
        load: groups
        for load in LOADS
        if (groups := [group for group in run.groups if group.load == load and ours(group)])
    }
    heights = [len(groups) + 1.5 for groups in panels.values()]
    figure = Figure(figsize=(WIDTH, GROUP_HEIGHT * sum(heights) + 1.2), layout="constrained")
    rows = figure.subplots(len(panels), squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axes, (load, groups) in zip(rows, panels.items(), strict=True):
        burst = "" if load.pipeline == 1 else f" ({load.pipeline} requests at once from each)"
        axes.set_title(load.text + burst, loc="left", fontsize=10, fontweight="bold")
        panel(axes, groups)
    rows[-1].set_xlabel(
        "requests per second for each of redis-server's in the same run "
        "(best repetitions, log scale)"
    )
    handles, labels = rows[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=3, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def panel(axes: Axes, groups: Sequence[Group]) -> None:
    """Draw a pair of bars for each group."""
    axes.set(xscale="log", xlim=LIMITS)
    axes.axvline(1, color="#d1242f", linewidth=1, label=f"{REDIS} = 1", zorder=1)
    halo = [Stroke(linewidth=2, foreground="white"), Normal()]
    pairs = (
        (TENSORKEEP, "#1f6feb", -THICKNESS / 2, [ours(group) for group in groups]),
        ("RedisAI, as published", "#b8bec7", THICKNESS / 2, [published(group) for group in groups]),
    )
    for label, colour, shift, bars in pairs:
        places = [place + shift for place, bar in enumerate(bars) if bar]
        known = [bar for bar in bars if bar]
        ratios = [value for _, value in known]
        drawn = axes.barh(places, ratios, THICKNESS, color=colour, label=label, zorder=2)
        texts = [f"{ratio(value)}  ({short(rate)}/s)" for rate, value in known]
        for text in axes.bar_label(drawn, texts, padding=3, fontsize=7):
            text.set_path_effects(halo)
    axes.set_yticks(range(len(groups)), [group.name for group in groups], fontsize=8)
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS], fontsize=8)
    axes.minorticks_off()
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3, zorder=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)


def ours(group: Group) -> Bar | None:
    """Return Tensorkeep's bar."""
    measured, redis = group.of(TENSORKEEP), group.of(REDIS)
    if measured is None or redis is None:
        return None
    return measured.best, measured.best / redis.best


def published(group: Group) -> Bar | None:
    """Return RedisAI's bar."""
    known = REDISAI.get((group.name, group.load))
    return None if known is None else (known.best, known.best_ratio)
