// Compares an adapter that was exported for llama.cpp in llama.cpp itself with the same adapter in our engine.
//
//   npm install --ignore-scripts node-llama-cpp@3.22.1      (brings a ready llama.cpp for the CPU)
//   gpu-worker logits --base MODEL.gguf --adapter DIR --prompts tests/peft/prompts.jsonl --out logits.safetensors
//   node tests/peft/check_llama_cpp.mjs MODEL.gguf EXPORT/adapter.gguf logits.safetensors [LIMIT]
//
// Reads the token ids and our logits of each prompt, has llama.cpp compute its own on the same GGUF file with and without
// the adapter, and compares. llama.cpp rounds activations of quantised models to eight bits, so LIMIT is a share of the
// largest logit, 0.05 without a word; the bare model must be at least five times as far off as the adapted one. NODE_MODULES
// names the folder that holds node_modules, if it is not an ancestor of this file.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [base, lora, file, limitText] = process.argv.slice(2);
if (!file) {
  console.error("usage: node check_llama_cpp.mjs MODEL.gguf ADAPTER.gguf LOGITS.safetensors [LIMIT]");
  process.exit(2);
}
const limit = Number(limitText ?? "0.05");
const start = path.resolve(process.env.NODE_MODULES ?? path.dirname(new URL(import.meta.url).pathname));
const library = createRequire(path.join(start, "x.js")).resolve.paths("node-llama-cpp")
  .map((folder) => path.join(folder, "node-llama-cpp/dist/index.js"))
  .find((entry) => fs.existsSync(entry));
if (!library) {
  console.error("node-llama-cpp is not installed; npm install --ignore-scripts node-llama-cpp@3.22.1");
  process.exit(2);
}
const { getLlama } = await import(pathToFileURL(library));

// A safetensors file: length of the header, header, values.
function readTensors(name) {
  const bytes = fs.readFileSync(name);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString("utf8"));
  delete header.__metadata__;
  const values = ({ dtype, data_offsets: [from, to] }) => {
    const part = bytes.buffer.slice(bytes.byteOffset + 8 + length + from, bytes.byteOffset + 8 + length + to);
    return dtype === "F32" ? new Float32Array(part) : Array.from(new BigInt64Array(part), Number);
  };
  return Object.fromEntries(Object.entries(header).map(([key, about]) => [key, values(about)]));
}

// Logits of all positions of all prompts, as maps from token to logit.
async function evaluate(model, adapter, prompts) {
  const context = await model.createContext({ contextSize: 256, sequences: 1, flashAttention: false, lora: adapter });
  const sequence = context.getSequence();
  const all = [];
  for (const ids of prompts) {
    await sequence.clearHistory();
    const output = await sequence.controlledEvaluate(ids.map((id) => [id, { generateNext: { logits: true } }]));
    all.push(...output.map((one) => one.next.logits));
  }
  await context.dispose();
  return all;
}

// Largest and mean difference to ours, and the share of positions with the same most likely token.
function compare(maps, ours, vocabulary) {
  let [most, sum, count, same] = [0, 0, 0, 0];
  maps.forEach((map, position) => {
    const row = ours.subarray(position * vocabulary, (position + 1) * vocabulary);
    let best = 0;
    for (let token = 0; token < vocabulary; token += 1) {
      const difference = Math.abs((map.get(token) ?? NaN) - row[token]);
      most = difference <= most ? most : difference;
      sum += difference;
      count += 1;
      if (row[token] > row[best]) best = token;
    }
    if (map.entries().next().value[0] === best) same += 1;
  });
  return { most, mean: sum / count, same: same / maps.length };
}

const tensors = readTensors(file);
const prompts = Object.keys(tensors).filter((key) => key.startsWith("ids.")).map((key) => tensors[key]);
const ours = Float32Array.from(prompts.flatMap((_, index) => Array.from(tensors[`logits.${index}`])));
const positions = prompts.reduce((sum, ids) => sum + ids.length, 0);
const vocabulary = ours.length / positions;
const largest = ours.reduce((most, logit) => Math.max(most, Math.abs(logit)), 1);

const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, logLevel: "error" });
const model = await llama.loadModel({ modelPath: path.resolve(base) });
const adapted = compare(await evaluate(model, path.resolve(lora), prompts), ours, vocabulary);
const bare = compare(await evaluate(model, undefined, prompts), ours, vocabulary);
const told = ({ most, mean, same }) =>
  `${most.toExponential(2)} at most, ${mean.toExponential(2)} on average, same top token ${(same * 100).toFixed(1)} %`;
console.log(`${positions} positions, ${vocabulary} tokens, largest logit ${largest.toFixed(1)}`);
console.log(`llama.cpp with the adapter differs by ${told(adapted)}`);
console.log(`llama.cpp without it differs by ${told(bare)}`);
const right = adapted.most <= limit * largest && bare.mean >= 5 * adapted.mean;
console.log(right ? "llama.cpp and our engine agree" : "llama.cpp and our engine do not agree");
await llama.dispose();
process.exit(right ? 0 : 1);
