"""What the Python peers share: how chains are timed and told."""

import json
import time


def percentile(times: list[float], percent: int) -> float:
    """The value at or below which so many percent of the times lie."""
    ordered = sorted(times)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def measure(submit, wait, jobs: int, idle: int) -> None:
    """Times `idle` chains one after another and `jobs` submitted at once; prints one line of JSON.

    `submit` starts a chain and answers it; `wait` returns when the result of its last task is readable.
    """
    for _ in range(min(50, jobs)):  # connections, code and queues are warm for everybody
        wait(submit())
    times = []
    for _ in range(idle):
        began = time.perf_counter()
        wait(submit())
        times.append((time.perf_counter() - began) * 1000)
    began = time.perf_counter()
    chains = [submit() for _ in range(jobs)]
    for chain in chains:
        wait(chain)
    seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "idle_jobs": idle,
                "idle_p50_ms": percentile(times, 50),
                "idle_p99_ms": percentile(times, 99),
                "jobs": jobs,
                "seconds": seconds,
                "jobs_per_second": jobs / seconds,
                "stages_per_second": 5 * jobs / seconds,
            }
        )
    )
