"""Does what each line of stdin asks for with azure-storage-queue; answers with a line on stdout.

The argument is a connection string. A line is a JSON object: `op`, `queue`, and what the operation
takes. An answer is {"ok": ...} or {"error": {"status", "code", "message"}}. It ends with its stdin.
"""

import json
import sys

from azure.core.exceptions import AzureError, ResourceExistsError
from azure.storage.queue import QueueClient, TextBase64DecodePolicy, TextBase64EncodePolicy

CONNECTION = sys.argv[1]


def client(request):
    base64 = request.get("encoding") == "base64"
    return QueueClient.from_connection_string(
        CONNECTION,
        request["queue"],
        message_encode_policy=TextBase64EncodePolicy() if base64 else None,
        message_decode_policy=TextBase64DecodePolicy() if base64 else None,
        # A test wants to see the first answer.
        retry_total=0,
    )


def message(m):
    return {
        "id": m.id,
        "receipt": m.pop_receipt,
        "text": m.content,
        "dequeue_count": m.dequeue_count,
        "inserted": int(m.inserted_on.timestamp()),
        "expires": int(m.expires_on.timestamp()),
    }


def create(queue, request):
    try:
        queue.create_queue()
    except ResourceExistsError as error:
        # There already, with the same metadata: the service's success, this client's error.
        if error.status_code != 204:
            raise


def drop(queue, request):
    queue.delete_queue()


def send(queue, request):
    sent = queue.send_message(
        request["text"],
        visibility_timeout=request.get("visibility"),
        time_to_live=request.get("ttl"),
    )
    return sent.id


def receive(queue, request):
    # The iterator would ask again until the queue is empty.
    pages = queue.receive_messages(
        messages_per_page=request["max"], visibility_timeout=request["visibility"]
    ).by_page()
    return [message(m) for m in next(pages, [])]


def peek(queue, request):
    return [message(m) for m in queue.peek_messages(max_messages=request["max"])]


def delete(queue, request):
    queue.delete_message(request["id"], request["receipt"])


def count(queue, request):
    return queue.get_queue_properties().approximate_message_count


OPERATIONS = {f.__name__: f for f in (create, drop, send, receive, peek, delete, count)}


def answer(line):
    try:
        request = json.loads(line)
        with client(request) as queue:
            return {"ok": OPERATIONS[request["op"]](queue, request)}
    except AzureError as error:
        code = getattr(error, "error_code", None)
        return {
            "error": {
                "status": getattr(error, "status_code", None),
                "code": getattr(code, "value", code),
                "message": str(error),
            }
        }
    except Exception as error:
        return {"error": {"status": None, "code": None, "message": repr(error)}}


for line in sys.stdin:
    print(json.dumps(answer(line)), flush=True)
