"""The capacity model, held against loads whose answer is known."""

import pytest

from bench.capacity import Model, Point, checked, fitted, needed, simulated

COSTS = Model(refresh=400e-6, batch=1e-3, locked_each=50e-6, locked_batch=2e-3)


def measured(model: Model, connections: int, processes: int = 1) -> Point:
    """What a bench of a service that is just as the model says would have measured."""
    run = simulated(model, connections, processes)
    locked = model.locked_batch + model.locked_each * run.batch
    service = model.refresh + model.batch / run.batch
    return Point(connections, processes, run.rate, run.p50, run.batch, locked, service, 200e-6)


def test_one_connection_waits_for_each_step_in_turn() -> None:
    run = simulated(COSTS, 1)

    assert 1 == run.batch
    assert pytest.approx(400e-6 + 1e-3 + 2.05e-3) == run.p50
    assert pytest.approx(1 / run.p50, rel=0.01) == run.rate


def test_many_connections_are_bounded_by_the_processor() -> None:
    run = simulated(COSTS._replace(locked_each=0.0), 256)

    assert pytest.approx(1 / (400e-6 + 1e-3 / run.batch), rel=0.05) == run.rate


def test_two_processes_are_twice_one_while_the_head_is_free() -> None:
    model = COSTS._replace(locked_each=1e-6, locked_batch=1e-5)

    assert pytest.approx(2, rel=0.05) == simulated(model, 128, 2).rate / simulated(model, 64, 1).rate


def test_a_head_that_is_always_locked_bounds_any_number_of_processes() -> None:
    model = Model(refresh=1e-5, batch=0.0, locked_each=1e-3, locked_batch=0.0)

    assert pytest.approx(1000, rel=0.02) == simulated(model, 256, 8).rate


def test_the_costs_are_found_again_from_what_was_measured() -> None:
    found = fitted([measured(COSTS, connections) for connections in (1, 16, 64, 256)])

    assert pytest.approx(COSTS, rel=0.01) == found


def test_a_model_of_itself_is_right_everywhere() -> None:
    table = checked([measured(COSTS, connections) for connections in (1, 16, 256)])

    assert 3 == table.count("(1.00 ×)")


def test_what_families_need_grows_with_them_and_with_their_peak() -> None:
    costs = {"points": [measured(COSTS, 256)._asdict()], "bytes_per_rotation": 1000}
    one = needed(costs, 900_000, active=1, period=900, peak=2)

    assert 2000 == one.rate
    assert pytest.approx(1000 * 1000 * 365 * 86_400 / 1e9) == one.gigabytes
    assert pytest.approx(10 * one.processes) == needed(costs, 9_000_000, active=1, period=900, peak=2).processes
