"""What infra/ ships for a Prefect server of one's own fits the flows as they are."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import get_current_settings

from flows.server import PrefectServer

INFRA = Path(__file__).parents[2] / "infra"
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((INFRA / "prefect.yaml").read_text())[
    "deployments"
]
AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((INFRA / "automations.yaml").read_text())[
    "automations"
]


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    module, _, name = deployment["entrypoint"].rpartition(".")
    found = getattr(importlib.import_module(module), name)
    assert isinstance(found, Flow)
    return found


def test_all_three_jobs_are_deployed() -> None:
    assert {deployment["entrypoint"] for deployment in DEPLOYMENTS} == {
        "flows.preprocess.preprocess_films",
        "flows.train.train_network",
        "flows.render.render_film",
    }


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_a_deployment_fits_its_flow(deployment: dict[str, Any]) -> None:
    flow = flow_of(deployment)
    given = deployment["parameters"]
    parameters = inspect.signature(flow.fn).parameters
    assert given.keys() <= parameters.keys()
    required = {name for name, one in parameters.items() if one.default is inspect.Parameter.empty}
    if given.keys() >= required:
        flow.validate_parameters(given)
    else:  # then somebody fills in the rest: it must not start by the clock
        assert not deployment.get("schedules")


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_nothing_starts_by_the_clock_until_switched_on(deployment: dict[str, Any]) -> None:
    assert not any(schedule["active"] for schedule in deployment.get("schedules", []))


@pytest.mark.parametrize("data", AUTOMATIONS, ids=lambda data: data["name"])
def test_the_server_takes_the_automations(prefect_api: PrefectServer, data: dict[str, Any]) -> None:
    automation = AutomationCore.model_validate(data)
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/automations/", json=automation.model_dump(mode="json"))
    assert answer.json()["trigger"]["posture"] == "Proactive"


def test_dead_runs_are_told_from_slow_ones() -> None:
    """Three missed heartbeats, as runs send them by default, and only of runs that have begun."""
    (trigger,) = (data["trigger"] for data in AUTOMATIONS)
    heartbeat_s = get_current_settings().flows.heartbeat_frequency
    assert heartbeat_s is not None
    assert trigger["within"] > 3 * heartbeat_s
    ends = {
        f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled")
    }
    assert ends < set(trigger["expect"])
