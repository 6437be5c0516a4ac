"""One flow of the ensemble: the simulation loop, whose every step is corrected by the store.

simulate.py starts it for each member. The environment says which one this is: what it puts goes
behind the prefix SSKEYOUT, so that all members use the same names, and model and script, which have
no prefix, are there once for all.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

import flow
from smartredis import Client, Dataset

if TYPE_CHECKING:
    from flow import Field

MODEL, SCRIPT = "subgrid", "subgrid_script"
STATES = "states"  # the list of what a member reports


def corrected_step(client: Client, field: Field) -> Field:
    """Return the field a step later: what the coarse grid says, and what the model adds."""
    client.put_tensor("field", field)
    client.run_script(SCRIPT, "prepare", ["field"], ["fields", "size"])
    client.run_model(MODEL, ["fields"], ["answer"])
    client.run_script(SCRIPT, "scale", ["answer", "size"], ["correction"])
    return flow.coarse_step(field) + flow.smoothed(client.get_tensor("correction"))


def report(client: Client, field: Field, step: int, step_seconds: float) -> None:
    """Put the state into the store and append it to the member's list."""
    state = Dataset(f"state_{step}")
    state.add_tensor("vorticity", field)
    state.add_meta_scalar("step", step)
    state.add_meta_scalar("energy", flow.energy(field))
    state.add_meta_scalar("step_seconds", step_seconds)
    client.put_dataset(state)
    client.append_to_list(STATES, state)


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, required=True, help="draws how the flow begins")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--every", type=int, required=True, help="steps between two reports")
    options = parser.parse_args()
    name = os.environ["SSKEYOUT"]
    client = Client(None, logger_name=name)
    client.set_data_source(name)  # it reads what it has put itself
    field = flow.smoothed(flow.beginning(options.seed, flow.POINTS * flow.FINER))
    report(client, field, 0, 0.0)
    for first in range(0, options.steps, options.every):
        began = time.perf_counter()
        for _ in range(options.every):
            field = corrected_step(client, field)
        seconds = (time.perf_counter() - began) / options.every
        report(client, field, first + options.every, seconds)


if __name__ == "__main__":
    main()
