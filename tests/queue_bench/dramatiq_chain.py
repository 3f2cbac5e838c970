"""Chains of five no-op tasks in Dramatiq, with publisher confirms and stored results.

    dramatiq dramatiq_chain --processes 2 --threads 8
    python dramatiq_chain.py JOBS IDLE

AMQP_URL and REDIS_URL name the servers.
"""

import os
import sys

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from measure import measure

broker = RabbitmqBroker(url=os.environ["AMQP_URL"], confirm_delivery=True)
backend = RedisBackend(url=os.environ["REDIS_URL"])
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True, queue_name="dramatiq-chain")
def noop(stage: int) -> int:
    """A stage that does nothing; its result is the number of the next one."""
    return stage + 1


def submit():
    """Starts one chain."""
    pipe = noop.message(0) | noop.message() | noop.message() | noop.message() | noop.message()
    return pipe.run()


if __name__ == "__main__":
    measure(submit, lambda pipe: pipe.get_result(block=True, timeout=600_000), int(sys.argv[1]), int(sys.argv[2]))
