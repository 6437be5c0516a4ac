"""AI.DAGEXECUTE, AI.DAGRUN and their read-only forms: several operations as one request.

A request becomes one graph of model runs. What goes from one operation to the next is never stored;
what PERSIST names is stored when everything ended well. The original stores some of it when one
of the keys turns out to hold another type: here it is all or nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from tensorkeep.errors import TensorkeepError
from tensorkeep.graph import GraphRun
from tensorkeep.model import Script
from tensorkeep_server.args import Args, keyword, parse_integer
from tensorkeep_server.command import (
    DENYOOM,
    MODULE,
    MOVABLE,
    READONLY,
    WRITE,
    Command,
    command,
)
from tensorkeep_server.commands.deprecated import parse_model_run, read_model_run
from tensorkeep_server.commands.execute import (
    parse_model_execute,
    read_model_execute,
    run_graph,
)
from tensorkeep_server.commands.models import stored_model
from tensorkeep_server.commands.tensors import (
    check_dtype,
    check_target,
    read_form,
    read_tensor,
    show_tensor,
    stored_tensor,
)
from tensorkeep_server.dag_plan import (
    Dialect,
    Execute,
    Plan,
    Put,
    Shown,
    Step,
    Stored,
    read_dag,
)
from tensorkeep_server.dag_plan import Show as ShowOp
from tensorkeep_server.errors import CommandError, error_reply
from tensorkeep_server.reply import OK, Error, Simple
