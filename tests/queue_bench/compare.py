"""Runs the queue and its peers by turns on the same servers and prints tables in Markdown."""

import argparse
import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BENCH = Path(os.environ["QUEUE_BENCH"]).resolve()
WINDOWS = (64, 256)
NAMES = ("raw", "clara", "celery", "dramatiq", "bullmq", "growth", "scale")
GROWTH = (100, 100_000)


def free_address() -> str:
    """A loopback address with a port that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


def busy_seconds() -> float:
    """Seconds that all cores together have worked since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def other_work() -> float:
    """How many cores something else keeps busy."""
    before, began = busy_seconds(), time.monotonic()
    time.sleep(1.0)
    return (busy_seconds() - before) / (time.monotonic() - began)


class Servers:
    """A private RabbitMQ and Redis."""

    def __init__(self, folder: Path):
        self.folder = folder
        said = subprocess.run(
            [ROOT / "scripts/services.sh", "start", folder], check=True, text=True, stdout=subprocess.PIPE
        ).stdout
        self.values = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def environment(self, database: int) -> dict[str, str]:
        """What a program needs to find them; each system has a Redis database of its own."""
        redis = self.values["REDIS_URL"].rsplit("/", 1)[0] + f"/{database}"
        amqp = self.values["AMQP_URL"]
        home = self.folder / f"home-{database}"
        return os.environ | {
            "AMQP_URL": amqp,
            "REDIS_URL": redis,
            "CLARA_BROKER__URL": amqp,
            "CLARA_STATE__URL": redis,
            "CLARA_HOME": str(home),
            "CLARA_TELEMETRY__LOG_FILTER": "warn",
            "CLARA_WORKER__SLOTS": "64",
            "CLARA_SCHEDULER__MAX_ACTIVE_JOBS_PER_TENANT": "1000",
        }

    def empty(self, database: int) -> None:
        """Removes all keys of one database."""
        url = self.values["REDIS_URL"].rsplit("/", 1)[0] + f"/{database}"
        subprocess.run(["redis-cli", "-u", url, "flushdb"], check=True, stdout=subprocess.DEVNULL)

    def wipe(self) -> None:
        """Ends them and removes their data."""
        subprocess.run([ROOT / "scripts/services.sh", "wipe", self.folder], check=True)


@contextlib.contextmanager
def running(command: list, environment: dict[str, str], log: Path):
    """A process beside the measured one, ended afterwards."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=environment, cwd=HERE, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listening(address: str, process: subprocess.Popen, log: Path) -> None:
    """Waits until something listens."""
    host, port = address.rsplit(":", 1)
    until = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
            return
        if process.poll() is not None or time.monotonic() > until:
            sys.exit(f"bench-queue: nothing listens at {address}; see {log}:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def last_line(command: list, environment: dict[str, str]) -> dict:
    """What a program measured."""
    done = subprocess.run(command, env=environment, cwd=HERE, text=True, stdout=subprocess.PIPE, timeout=1200)
    if done.returncode != 0:
        sys.exit(f"bench-queue: {' '.join(map(str, command))} failed with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def run_raw(servers: Servers, window: int, jobs: int, idle: int) -> dict:
    """The limit: no bookkeeping at all."""
    environment, address = servers.environment(0), free_address()
    flags = ["--address", address, "--jobs", jobs, "--window", window, "--idle", idle]
    flags = list(map(str, flags))
    with running([BENCH, "raw-worker", *flags], environment, servers.folder / "raw.log"):
        return last_line([BENCH, "raw-coordinator", *flags], environment)


def run_clara(servers: Servers, window: int, jobs: int, idle: int, backlog: int = 0) -> dict:
    """Our coordinator and no-op workers, as two processes."""
    environment, address = servers.environment(1), free_address()
    log = servers.folder / "clara.log"
    command = [BENCH, "coordinator", "--listen", address, "--http", "127.0.0.1:0"]
    if backlog:
        environment["CLARA_SCHEDULER__MAX_ACTIVE_JOBS"] = str(window)
    with running(command, environment, log) as coordinator:
        listening(address, coordinator, log)
        load = [BENCH, "load", "--coordinator", f"http://{address}", "--http", "127.0.0.1:0"]
        load += ["--jobs", str(jobs), "--window", str(window), "--idle", str(idle), "--backlog", str(backlog)]
        told = last_line(load, environment)
        status = Path(f"/proc/{coordinator.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return told | {"coordinator_peak_mib": int(peak.split()[1]) / 1024}


def run_celery(servers: Servers, jobs: int, idle: int) -> dict:
    """Celery, prefork with two processes."""
    environment = servers.environment(2)
    python = Path(sys.executable)
    worker = [python, "-m", "celery", "-A", "celery_chain", "worker", "--concurrency", "2"]
    worker += ["--without-gossip", "--without-mingle", "--loglevel", "warning"]
    with running(worker, environment, servers.folder / "celery.log"):
        return last_line([python, "celery_chain.py", str(jobs), str(idle)], environment)


def run_dramatiq(servers: Servers, jobs: int, idle: int) -> dict:
    """Dramatiq, two processes with eight threads each."""
    environment = servers.environment(3)
    python = Path(sys.executable)
    worker = [python, "-m", "dramatiq", "dramatiq_chain", "--processes", "2", "--threads", "8"]
    with running(worker, environment, servers.folder / "dramatiq.log"):
        return last_line([python, "dramatiq_chain.py", str(jobs), str(idle)], environment)


def run_bullmq(servers: Servers, jobs: int, idle: int) -> dict:
    """BullMQ, flows with concurrency 64; Redis alone."""
    environment = servers.environment(4)
    with running(["node", "bullmq_chain.mjs", "worker"], environment, servers.folder / "bullmq.log"):
        return last_line(["node", "bullmq_chain.mjs", str(jobs), str(idle)], environment)


def run_scale(servers: Servers) -> dict:
    """Three coordinators and 64 worker processes with one slot for each stage; jobs of two tenants."""
    environment = servers.environment(5) | {
        "CLARA_SCHEDULER__MAX_ACTIVE_JOBS": "128",
        "CLARA_WORKER__SLOTS": "1",
        "TOKIO_WORKER_THREADS": "1",
    }
    log = servers.folder / "scale.log"
    addresses = [free_address() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        for address in addresses:
            command = [BENCH, "coordinator", "--listen", address, "--http", "127.0.0.1:0"]
            listening(address, stack.enter_context(running(command, environment, log)), log)
        for number in range(64):
            url = f"http://{addresses[number % 3]}"
            worker = [BENCH, "worker", "--coordinator", url, "--http", "127.0.0.1:0"]
            stack.enter_context(running(worker, environment, log))
        scale = [BENCH, "scale", "--coordinator", f"http://{addresses[0]}", "--http", "127.0.0.1:0"]
        return last_line(scale, environment)


def rounds_of(servers: Servers, arguments: argparse.Namespace) -> dict[str, list[dict]]:
    """All measurements, by name, by turns."""
    figures: dict[str, list[dict]] = {}

    def take(name: str, measure) -> None:
        other = other_work()
        told = measure() | {"other_work": other}
        figures.setdefault(name, []).append(told)
        print(f"{name}: {json.dumps(told)}", file=sys.stderr, flush=True)

    jobs, idle = arguments.jobs, arguments.idle
    peers = {"celery": run_celery, "dramatiq": run_dramatiq, "bullmq": run_bullmq}
    for _ in range(arguments.rounds):
        for window in WINDOWS:
            for name, run in (("raw", run_raw), ("clara", run_clara)):
                if name in arguments.only:
                    first = window == WINDOWS[0]
                    take(f"{name} {window}", lambda: run(servers, window, jobs, idle if first else 0))
            servers.empty(0)
            servers.empty(1)
        for name, run in peers.items():
            if name in arguments.only:
                # The slower ones get fewer jobs, so that a round takes about as long for each.
                share = {"celery": 4, "dramatiq": 2}.get(name, 1)
                take(name, lambda: run(servers, max(50, jobs // share), idle))
                servers.empty({"celery": 2, "dramatiq": 3, "bullmq": 4}[name])
        if "growth" in arguments.only:
            for backlog in GROWTH:
                take(f"queued {backlog}", lambda: run_clara(servers, WINDOWS[0], jobs, 0, backlog))
                servers.empty(1)
    if "scale" in arguments.only:
        take("scale", lambda: run_scale(servers))
    return figures


def spread(values: list[float], digits: int = 0) -> str:
    """Least, median and greatest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{low:,.{digits}f} / **{middle:,.{digits}f}** / {high:,.{digits}f}"


def table(figures: dict[str, list[dict]]) -> str:
    """Every system's figures: least, median, greatest of the rounds."""
    rows = ["| | stages/s | idle job p50, ms | p99, ms | other work, cores |", "|---|---|---|---|---|"]
    for name, told in figures.items():
        timed = [one for one in told if one.get("idle_jobs")]
        idle = [spread([one[key] for one in timed], 1) if timed else "" for key in ("idle_p50_ms", "idle_p99_ms")]
        stages = spread([one["stages_per_second"] for one in told])
        other = max(one["other_work"] for one in told)
        rows.append(f"| {name} | {stages} | {idle[0]} | {idle[1]} | ≤ {other:.2f} |")
    return "\n".join(rows)


def ratios(figures: dict[str, list[dict]]) -> str:
    """Ours over each peer's stages per second, round by round."""
    lines = []
    for window in WINDOWS:
        ours = figures.get(f"clara {window}", [])
        for peer in (f"raw {window}", "celery", "dramatiq", "bullmq"):
            theirs = figures.get(peer, [])
            pairs = [a["stages_per_second"] / b["stages_per_second"] for a, b in zip(ours, theirs)]
            if pairs:
                lines.append(f"clara {window} / {peer}: {spread(pairs, 2)}")
    for told in figures.get("scale", []):
        lines.append(
            f"scale: {told['done_once']:,} of {told['jobs']:,} jobs done once in {told['seconds']:.1f} s, "
            f"{told['executions_beyond_one']} executions beyond one a stage; share of the smaller tenant while both "
            f"had jobs waiting {told['share_of_few_while_both_wait']:.2f}"
        )
    few, many = (figures.get(f"queued {backlog}", []) for backlog in GROWTH)
    for one, other in zip(few, many):
        lines.append(
            f"with {GROWTH[1]:,} queued jobs / with {GROWTH[0]}: "
            f"{other['stages_per_second'] / one['stages_per_second']:.2f}; "
            f"peak memory of the coordinator {other['coordinator_peak_mib']:.0f} MiB"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--idle", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clara-bench-") as folder:
        servers = Servers(Path(folder) / "servers")
        try:
            figures = rounds_of(servers, arguments)
        finally:
            servers.wipe()
    print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}, {time.strftime('%Y-%m-%d')}\n")
    print(table(figures))
    print()
    print(ratios(figures))


if __name__ == "__main__":
    main()
