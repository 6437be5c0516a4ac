"""Joins what the members report, while they run: waits for their lists, and keeps one of its own.

simulate.py starts it. The environment names the members, SSKEYIN; they are read in turn.
"""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np
from member import STATES
from smartredis import Client, Dataset

ENSEMBLE = "ensemble"  # the list of what was joined
LOOK_EVERY_MS, LOOKS = 20, 3000  # for so long a member may report nothing: a minute


def state_of(client: Client, member: str, number: int) -> Dataset:
    """Wait for a member's report; the first has number 0.

    Raises:
        TimeoutError: It did not come.
    """
    client.set_data_source(member)
    if not client.poll_list_length_gte(STATES, number + 1, LOOK_EVERY_MS, LOOKS):
        raise TimeoutError(f"{member} did not report for {LOOK_EVERY_MS * LOOKS / 1000:.0f} s")
    (state,) = client.get_dataset_list_range(STATES, number, number)
    return Dataset.from_pybind(state)


def joined(states: list[Dataset]) -> Dataset:
    """Return what the members' states at one step are together.

    It holds `vorticity`, [members, y, x], and the energy's mean and spread over the members.
    """
    (step,) = {int(state.get_meta_scalars("step")[0]) for state in states}
    energies = [state.get_meta_scalars("energy")[0] for state in states]
    ensemble = Dataset(f"ensemble_{step}")
    ensemble.add_tensor("vorticity", np.stack([state.get_tensor("vorticity") for state in states]))
    ensemble.add_meta_scalar("step", step)
    ensemble.add_meta_scalar("energy", float(np.mean(energies)))
    ensemble.add_meta_scalar("spread", float(np.std(energies)))
    seconds = [state.get_meta_scalars("step_seconds")[0] for state in states]
    ensemble.add_meta_scalar("step_seconds", float(np.mean(seconds)))
    return ensemble


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--reports", type=int, required=True, help="how many each member makes")
    options = parser.parse_args()
    members = os.environ["SSKEYIN"].split(",")
    client = Client(None, logger_name="collect")
    for number in range(options.reports):
        try:
            states = [state_of(client, member, number) for member in members]
        except TimeoutError as error:
            sys.exit(str(error))
        ensemble = joined(states)
        client.put_dataset(ensemble)
        client.append_to_list(ENSEMBLE, ensemble)


if __name__ == "__main__":
    main()
