// Flows of five nested no-op jobs in BullMQ; Redis is both broker and store, so nothing is confirmed by a second server.
//
//   node bullmq_chain.mjs worker
//   node bullmq_chain.mjs JOBS IDLE
//
// REDIS_URL names the server.
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";

const { hostname: host, port } = new URL(process.env.REDIS_URL);
const connection = { host, port: Number(port), maxRetriesPerRequest: null };
const queueName = "bullmq-chain";

if (process.argv[2] === "worker") {
  new Worker(queueName, async (job) => job.data.stage + 1, { connection, concurrency: 64 });
} else {
  const [jobs, idle] = process.argv.slice(2).map(Number);
  const flows = new FlowProducer({ connection });
  // By default the stream of events keeps about 10,000: with thousands of chains the end of some would never be heard.
  const queue = new Queue(queueName, { connection, streams: { events: { maxLen: 1_000_000 } } });
  await queue.waitUntilReady();
  const events = new QueueEvents(queueName, { connection });
  await events.waitUntilReady();

  // A parent waits for its child, so the innermost job is the first stage.
  const nested = (stage) => ({
    name: "noop",
    queueName,
    data: { stage },
    opts: { removeOnComplete: true, removeOnFail: false },
    ...(stage > 0 && { children: [nested(stage - 1)] }),
  });
  const waiting = new Map();
  events.on("completed", ({ jobId }) => {
    waiting.get(jobId)?.();
    waiting.delete(jobId);
  });
  let next = 0;
  const submit = async () => {
    const tree = nested(4);
    tree.opts.jobId = `chain-${process.pid}-${next++}`;
    const done = new Promise((resolve) => waiting.set(tree.opts.jobId, resolve));
    await flows.add(tree);
    return { done };
  };
  const percentile = (times, percent) => {
    times.sort((a, b) => a - b);
    return times[Math.max(0, Math.ceil((times.length * percent) / 100) - 1)];
  };

  for (let i = 0; i < Math.min(50, jobs); i++) await (await submit()).done;
  const times = [];
  for (let i = 0; i < idle; i++) {
    const began = performance.now();
    await (await submit()).done;
    times.push(performance.now() - began);
  }
  const began = performance.now();
  const chains = await Promise.all(Array.from({ length: jobs }, submit));
  await Promise.all(chains.map(({ done }) => done));
  const seconds = (performance.now() - began) / 1000;
  console.log(
    JSON.stringify({
      idle_jobs: idle,
      idle_p50_ms: percentile(times, 50),
      idle_p99_ms: percentile(times, 99),
      jobs,
      seconds,
      jobs_per_second: jobs / seconds,
      stages_per_second: (5 * jobs) / seconds,
    }),
  );
  process.exit(0);
}
