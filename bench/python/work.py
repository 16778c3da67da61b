"""Enqueues jobs on Azurite and runs them, by Python; prints what that took as a line of JSON.

    work.py sdk|celery URL ACCOUNT KEY QUEUE CONCURRENCY JOBS MOST

`sdk` is a loop on azure-storage-queue, `celery` is Celery with kombu's azurestoragequeues. At most
MOST jobs wait at a time. The producer is a process of its own, so that it does not share the
worker's interpreter lock; both count.
"""

import json
import multiprocessing
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from azure.core.exceptions import ResourceExistsError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.queue import QueueClient

KIND, URL, ACCOUNT, KEY, QUEUE = sys.argv[1:6]
CONCURRENCY, JOBS, MOST = map(int, sys.argv[6:9])

EMAIL = "ada1@example.com"

# The most that one receive brings.
PAGE = 32

# How many the producer sends at a time.
SENDERS = 32

# How long all may take, in seconds: far more than it does.
LIMIT = 120


class Requests:
    """Counts the requests of this process, whoever makes them."""

    def __init__(self):
        self.count = 0
        self.lock = threading.Lock()
        send = RequestsTransport.send

        def counted(transport, request, **options):
            with self.lock:
                self.count += 1
            return send(transport, request, **options)

        RequestsTransport.send = counted


class Usage:
    """Requests and the processor's seconds of this process, from here on."""

    def __init__(self, counted):
        self.counted = counted
        self.before = counted.count, time.process_time()

    def so_far(self):
        count, cpu = self.before
        return self.counted.count - count, time.process_time() - cpu


class Shared:
    """What both processes know: how much room there is, and when to begin."""

    def __init__(self, context):
        self.room = context.Semaphore(MOST)
        self.ready = context.Event()
        self.begin = context.Event()
        self.sent = context.SimpleQueue()


class Done:
    """Counts the jobs that are done, and makes room for others.

    The first one shows that the worker works. It comes before those that are timed.
    """

    def __init__(self, shared):
        self.shared = shared
        self.left = 1 + JOBS
        self.lock = threading.Lock()
        self.first = threading.Event()
        self.all = threading.Event()

    def one(self):
        self.shared.room.release()
        with self.lock:
            self.left -= 1
            left = self.left
        if left == JOBS:
            self.first.set()
        if left == 0:
            self.all.set()


# The loop on the SDK.


def sdk_client():
    # Without it, all connections but ten are closed after each request.
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=512))
    client = QueueClient(
        URL,
        QUEUE,
        credential={"account_name": ACCOUNT, "account_key": KEY},
        transport=RequestsTransport(session=session, session_owner=False),
    )
    # Both processes do: it is not known which is first.
    try:
        client.create_queue()
    except ResourceExistsError:
        pass
    return client


def sdk_sender():
    client = sdk_client()
    return lambda number: client.send_message(json.dumps({"user_id": number, "email": EMAIL}))


def sdk_worker(done):
    client = sdk_client()
    most = min(CONCURRENCY, PAGE)

    def run_and_delete(message):
        json.loads(message.content)
        client.delete_message(message)
        done.one()

    def loop():
        with ThreadPoolExecutor(most) as pool:
            while not done.all.is_set():
                pages = client.receive_messages(messages_per_page=most, visibility_timeout=60)
                messages = list(next(pages.by_page(), []))
                if messages:
                    list(pool.map(run_and_delete, messages))
                else:
                    time.sleep(0.005)

    for _ in range(-(-CONCURRENCY // PAGE)):
        threading.Thread(target=loop, daemon=True).start()
    return lambda: None


# Celery, with threads: its other pools are no faster here. It has no result backend, no events and
# no remote control, each of which would cost requests of its own.


def celery_app():
    from celery import Celery

    app = Celery("bench", broker=f"azurestoragequeues://{KEY}@{URL}")
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        worker_enable_remote_control=False,
        # Otherwise it sleeps for a second whenever it finds its queue empty.
        broker_transport_options={"polling_interval": 0.005},
        broker_pool_limit=SENDERS,
    )
    return app


def celery_sender():
    app = celery_app()
    return lambda number: app.send_task("bench.welcome", (number, EMAIL))


def celery_worker(done):
    from celery.worker import WorkController

    app = celery_app()

    @app.task(name="bench.welcome")
    def welcome(user_id, email):
        done.one()

    ready = threading.Event()
    worker = WorkController(
        app=app,
        pool_cls="threads",
        concurrency=CONCURRENCY,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        ready_callback=lambda consumer: ready.set(),
        quiet=True,
    )
    threading.Thread(target=worker.start, daemon=True).start()
    if not ready.wait(LIMIT):
        sys.exit("Celery did not start")
    return worker.stop


# Both alike.


def produce(shared):
    counted = Requests()
    send = {"sdk": sdk_sender, "celery": celery_sender}[KIND]()
    shared.room.acquire()
    send(0)
    shared.ready.set()
    shared.begin.wait()
    usage = Usage(counted)

    def one(number):
        shared.room.acquire()
        send(number)

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(one, range(JOBS)))
    shared.sent.put(usage.so_far())


def give_up(producer):
    # Threads that wait for ever would keep the process.
    producer.kill()
    os._exit(1)


def main():
    context = multiprocessing.get_context("spawn")
    shared = Shared(context)
    producer = context.Process(target=produce, args=(shared,), daemon=True)
    producer.start()
    counted, done = Requests(), Done(shared)
    hangs = threading.Timer(3 * LIMIT, give_up, (producer,))
    hangs.daemon = True
    hangs.start()
    stop = {"sdk": sdk_worker, "celery": celery_worker}[KIND](done)
    if not (shared.ready.wait(LIMIT) and done.first.wait(LIMIT)):
        producer.terminate()
        sys.exit("the producer or the worker did not start")
    usage, began = Usage(counted), time.monotonic()
    shared.begin.set()
    in_time = done.all.wait(LIMIT)
    seconds, (count, cpu) = time.monotonic() - began, usage.so_far()
    if not in_time:
        producer.terminate()
        sys.exit(f"{done.left} of {JOBS} jobs were not done after {LIMIT} s")
    sent_count, sent_cpu = shared.sent.get()
    producer.join()
    print(json.dumps({"seconds": seconds, "cpu": cpu + sent_cpu, "requests": count + sent_count}))
    stop()


if __name__ == "__main__":
    main()
