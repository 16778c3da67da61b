// Does what each line of stdin asks for with @azure/storage-queue; answers with a line on stdout.
//
// The argument is a connection string. A line is a JSON object: `op`, `queue`, and what the
// operation takes. An answer is {"ok": ...} or {"error": {"status", "code", "message"}}. It ends
// with its stdin. The packages are those of the working folder.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { QueueServiceClient } = createRequire(`${process.cwd()}/`)("@azure/storage-queue");

const service = QueueServiceClient.fromConnectionString(process.argv[2], {
  // A test wants to see the first answer.
  retryOptions: { maxTries: 1 },
});

// This client leaves the encoding to its user.
const encode = (text, encoding) =>
  encoding === "base64" ? Buffer.from(text, "utf8").toString("base64") : text;
const decode = (text, encoding) =>
  encoding === "base64" ? Buffer.from(text, "base64").toString("utf8") : text;

const seconds = (date) => Math.floor(date.getTime() / 1000);

const message = (m, encoding) => ({
  id: m.messageId,
  receipt: m.popReceipt ?? null,
  text: decode(m.messageText, encoding),
  dequeue_count: m.dequeueCount,
  inserted: seconds(m.insertedOn),
  expires: seconds(m.expiresOn),
});

const operations = {
  async create(queue) {
    await queue.create();
  },
  async drop(queue) {
    await queue.delete();
  },
  async send(queue, { text, encoding, visibility, ttl }) {
    const options = { visibilityTimeout: visibility, messageTimeToLive: ttl };
    return (await queue.sendMessage(encode(text, encoding), options)).messageId;
  },
  async receive(queue, { max, visibility, encoding }) {
    const options = { numberOfMessages: max, visibilityTimeout: visibility };
    const { receivedMessageItems } = await queue.receiveMessages(options);
    return receivedMessageItems.map((m) => message(m, encoding));
  },
  async peek(queue, { max, encoding }) {
    const { peekedMessageItems } = await queue.peekMessages({ numberOfMessages: max });
    return peekedMessageItems.map((m) => message(m, encoding));
  },
  async delete(queue, { id, receipt }) {
    await queue.deleteMessage(id, receipt);
  },
  async count(queue) {
    return (await queue.getProperties()).approximateMessagesCount;
  },
};

async function answer(line) {
  try {
    const request = JSON.parse(line);
    const queue = service.getQueueClient(request.queue);
    return { ok: (await operations[request.op](queue, request)) ?? null };
  } catch (error) {
    const { statusCode, code, message } = error;
    return { error: { status: statusCode ?? null, code: code ?? null, message } };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
