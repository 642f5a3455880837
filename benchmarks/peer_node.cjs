// Worker for the peers that run in Node: a CropRequest on stdin, CropTimes on stdout.
//
// `peers` starts it. Both run on TensorFlow.js with its WebAssembly backend, one thread, by the
// builds that the packages carry for that (dist/*.node-wasm.js).
//
// face-api: `FaceExpressionNet.predictExpressions`, its own code from pixels to probabilities.
// human: it exports no function for a face alone, so the steps of its sources stand here:
// `cutAndResize` (src/face/facemeshutil.ts: to 256 x 256, divided by 255) with the whole picture as
// the box, then `predict` (src/gear/emotion.ts: to 64 x 64, weighted grey, (x - 0.5) * 2, the
// network). Its cut of scores to two digits and those under 0.1 to nothing is left out.
"use strict";

const started = performance.now();
const fs = require("fs");
const path = require("path");

async function faceApi(modules) {
  const tf = require(path.join(modules, "@tensorflow/tfjs"));
  const faceapi = require(path.join(modules, "@vladmandic/face-api/dist/face-api.node-wasm.js"));
  return {
    tf,
    async load(weights) {
      await faceapi.nets.faceExpressionNet.loadFromDisk(path.dirname(weights));
    },
    async probabilities(face) {
      const tensor = tf.tensor3d(face.pixels, [face.height, face.width, 3], "int32");
      const found = await faceapi.nets.faceExpressionNet.predictExpressions(tensor);
      tensor.dispose();
      return found;
    },
    // in the order of FACE_EXPRESSION_LABELS
    row: (found) => ["neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised"]
      .map((label) => found[label]),
  };
}

async function human(modules) {
  const { Human } = require(path.join(modules, "@vladmandic/human/dist/human.node-wasm.js"));
  const { tf } = new Human({ backend: "wasm" });
  let model;
  let rgb;
  return {
    tf,
    async load(weights) {
      const json = JSON.parse(fs.readFileSync(weights.replace(/\.bin$/, ".json"), "utf8"));
      const bin = fs.readFileSync(weights);
      model = await tf.loadGraphModel(tf.io.fromMemory({
        ...json,
        weightSpecs: json.weightsManifest[0].weights,
        weightData: bin.buffer.slice(bin.byteOffset, bin.byteOffset + bin.length),
      }));
      rgb = tf.tensor1d([0.2989, 0.5870, 0.1140], "float32");
    },
    async probabilities(face) {
      const output = tf.tidy(() => {
        const image = tf.tensor4d(face.pixels, [1, face.height, face.width, 3], "float32");
        const cut = tf.div(tf.image.cropAndResize(image, [[0, 0, 1, 1]], [0], [256, 256]), 255);
        const resized = tf.image.resizeBilinear(cut, [64, 64], false);
        const grey = tf.sum(tf.mul(resized, rgb), 3, true);
        return model.execute(tf.mul(tf.sub(grey, 0.5), 2));
      });
      const data = await output.data();
      output.dispose();
      return data;
    },
    row: (data) => Array.from(data),
  };
}

// Bytes. On Linux not by getrusage, whose maximum begins with that of the parent process.
function peakRss() {
  try {
    const found = /^VmHWM:\s*(\d+) kB/m.exec(fs.readFileSync("/proc/self/status", "utf8"));
    if (found) return Number(found[1]) * 1024;
  } catch { /* another system */ }
  return process.resourceUsage().maxRSS * 1024; // libuv gives kilobytes everywhere
}

async function measure(request) {
  const modules = path.resolve(request.root, "npm/node_modules");
  const wasm = require(path.join(modules, "@tensorflow/tfjs-backend-wasm"));
  const peer = await (request.package === "human" ? human : faceApi)(modules);
  const imported = performance.now();
  wasm.setThreadsCount(1);
  wasm.setWasmPaths(path.join(modules, "@tensorflow/tfjs-backend-wasm/dist") + path.sep);
  if (!(await peer.tf.setBackend("wasm"))) throw new Error("no WebAssembly backend");
  await peer.tf.ready();
  await peer.load(request.path);
  const loaded = performance.now();

  const file = fs.openSync(request.crops, "r");
  const places = [];
  let place = 0;
  for (const [height, width] of request.shapes) {
    places.push({ height, width, place });
    place += height * width * 3;
  }
  const read = (i) => {
    const face = places[i % places.length];
    const pixels = new Uint8Array(face.height * face.width * 3);
    fs.readSync(file, pixels, 0, pixels.length, face.place);
    return { ...face, pixels };
  };

  let face = read(0);
  const before = performance.now();
  await peer.probabilities(face);
  const first = performance.now();
  for (let i = 0; i < request.warmup; i += 1) await peer.probabilities(read(i));
  const latency = [];
  for (let i = 0; i < request.runs; i += 1) {
    face = read(i);
    const start = performance.now();
    await peer.probabilities(face);
    latency.push(performance.now() - start);
  }
  const peak = peakRss();
  if (request.out !== null) {
    const rows = [];
    for (let i = 0; i < places.length; i += 1) {
      rows.push(...peer.row(await peer.probabilities(read(i))));
    }
    fs.writeFileSync(request.out, new Uint8Array(Float32Array.from(rows).buffer));
  }
  return {
    type: "crop-times",
    engine: "TensorFlow.js wasm",
    engine_version: wasm.version_wasm,
    import_s: (imported - started) / 1000,
    load_s: (loaded - imported) / 1000,
    first_prediction_s: (first - before) / 1000,
    latency,
    peak_rss: peak,
  };
}

// The packages print to stdout; the answer alone goes there.
const answer = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr);
measure(JSON.parse(fs.readFileSync(0, "utf8")))
  .catch((error) => ({
    type: "failure",
    kind: "check",
    message: String(error.message).split("\n")[0],
  }))
  .then((found) => answer(JSON.stringify(found)));
