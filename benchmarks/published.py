"""RedisAI's figures, to compare ratios with.

They were published with the design of this project: the C module of RedisAI (its last source, with
ONNX Runtime 1.32 and one thread inside an operator) in redis-server 7.0.15, server pinned to one of
two shared cores and load on the other. Each is the median of five repetitions and the best or
least of them. They are not measured here. Another machine gives other figures, so what compares is
the ratio to redis-server, which that machine has answered in the same run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from figures import Load

ORIGIN: Final = (
    "RedisAI: published figures of the C module in redis-server 7.0.15 (ONNX Runtime 1.32, one "
    "thread inside an operator) on two shared cores, which need not be of this processor; not "
    "measured in this run. Only its ratio to redis-server, taken in that other run, compares."
)


@dataclass(frozen=True, slots=True)
class Published:
    """What RedisAI and redis-server answered per second: median and best; CPU time in µs.

    For model runs, what stands for redis-server is its PING.
    """

    rate: float
    best: float
    redis_rate: float
    redis_best: float
    cpu_us: float | None = None
    least_cpu_us: float | None = None

    @property
    def ratio(self) -> float:
        """The ratio of the medians."""
        return self.rate / self.redis_rate

    @property
    def best_ratio(self) -> float:
        """The ratio of the bests."""
        return self.best / self.redis_best


ALONE, ALONE_16 = Load(1), Load(1, 16)
FIFTY, FIFTY_16 = Load(50), Load(50, 16)
PING = {
    ALONE: (9_400, 12_200),
    ALONE_16: (135_000, 157_000),
    FIFTY: (64_000, 74_000),
    FIFTY_16: (1_050_000, 1_090_000),
}

REDISAI: Final[dict[tuple[str, Load], Published]] = {
    ("PING", ALONE): Published(*PING[ALONE], *PING[ALONE]),
    ("PING", ALONE_16): Published(*PING[ALONE_16], *PING[ALONE_16]),
    ("PING", FIFTY): Published(*PING[FIFTY], *PING[FIFTY], 12, 11),
    ("PING", FIFTY_16): Published(*PING[FIFTY_16], *PING[FIFTY_16], 0.9, 0.8),
    ("TENSORSET, 4 floats", ALONE): Published(11_800, 14_900, 8_100, 11_400),
    ("TENSORSET, 4 floats", ALONE_16): Published(124_000, 156_000, 102_000, 169_000),
    ("TENSORSET, 4 floats", FIFTY): Published(60_000, 87_000, 57_000, 60_000, 13),
    ("TENSORSET, 4 floats", FIFTY_16): Published(391_000, 463_000, 855_000, 932_000, 2.4, 1.9),
    ("TENSORGET, 4 floats", ALONE): Published(14_300, 16_400, 8_000, 12_700),
    ("TENSORGET, 4 floats", ALONE_16): Published(112_000, 128_000, 169_000, 193_000),
    ("TENSORGET, 4 floats", FIFTY): Published(64_000, 74_000, 67_000, 81_000, 13),
    ("TENSORGET, 4 floats", FIFTY_16): Published(635_000, 752_000, 941_000, 1_050_000, 1.4, 1.2),
    ("MODELEXECUTE x2", ALONE): Published(6_100, 6_900, *PING[ALONE], 107, 95),
    ("MODELEXECUTE x2", FIFTY): Published(33_700, 36_900, *PING[FIFTY], 27, 26),
    ("MODELEXECUTE x2", FIFTY_16): Published(40_300, 42_000, *PING[FIFTY_16], 25, 24),
    ("MODELEXECUTE mlp", ALONE): Published(3_900, 4_100, *PING[ALONE], 134, 128),
    ("MODELEXECUTE mlp", FIFTY): Published(24_700, 25_100, *PING[FIFTY], 37, 33),
    ("MODELEXECUTE mlp", FIFTY_16): Published(32_100, 37_900, *PING[FIFTY_16], 29, 26),
    ("MODELEXECUTE cnn", ALONE): Published(3_000, 4_300, *PING[ALONE], 226, 165),
    ("MODELEXECUTE cnn", FIFTY): Published(6_900, 8_100, *PING[FIFTY], 140, 122),
    ("MODELEXECUTE cnn", FIFTY_16): Published(7_300, 8_000, *PING[FIFTY_16], 134, 123),
    ("TENSORSET, 602 KB", ALONE): Published(3_868, 4_879, 4_967, 5_878, 168, 126),
    ("TENSORGET, 602 KB", ALONE): Published(3_310, 4_214, 2_615, 3_658, 196, 173),
    ("TENSORSET, 64 MB", ALONE): Published(8.9, 9.8, 15.2, 18.0, 109_000, 99_000),
    ("TENSORGET, 64 MB", ALONE): Published(10, 13, 10.6, 13.1, 69_000, 69_000),
}
MEMORY_MB: Final = 41
"""With the three models loaded into ONNX Runtime."""
