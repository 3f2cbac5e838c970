"""Chains of five no-op tasks in Celery, with late acknowledgement and publisher confirms over a quorum queue.

    celery -A celery_chain worker --concurrency 2 --without-gossip --without-mingle --loglevel warning
    python celery_chain.py JOBS IDLE

AMQP_URL and REDIS_URL name the servers.
"""

import os
import sys

from celery import Celery, chain

from measure import measure

app = Celery("celery_chain", broker=os.environ["AMQP_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_queue="celery-chain",
    task_default_queue_type="quorum",
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=4,
    worker_enable_remote_control=False,
)


@app.task
def noop(stage: int) -> int:
    """A stage that does nothing; its result is the number of the next one."""
    return stage + 1


def submit():
    """Starts one chain."""
    return chain(noop.s(0), noop.s(), noop.s(), noop.s(), noop.s()).apply_async()


if __name__ == "__main__":
    measure(submit, lambda result: result.get(timeout=600, interval=0.001), int(sys.argv[1]), int(sys.argv[2]))
