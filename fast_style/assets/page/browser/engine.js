// Runs the networks by ONNX Runtime Web: by WebGPU where there is a GPU, else by WASM on all cores.

const MOST_THREADS = 8;
const KEPT_SESSIONS = 8;
const BYTES = 4; // of a float32

// A network's features at the photo's size: so many are in memory at once.
const FEATURES_AT_ONCE = 4;
const WASM_MEMORY = 3.5e9; // of the 4 GB that WASM can address

/** Find the GPU, or the cores, and load the part of ONNX Runtime Web that computes on them. */
export async function openEngine() {
  const adapter = await findGpu();
  return adapter ? openOnGpu(adapter) : openOnCpu();
}

/** The adapter of a GPU that ONNX Runtime Web can use, or null. */
export async function findGpu() {
  // Its code for WebGPU waits for the GPU by WebAssembly.Suspending (JSPI).
  if (!("Suspending" in WebAssembly) || !navigator.gpu) return null;
  return navigator.gpu.requestAdapter();
}

async function openOnGpu(adapter) {
  const ort = await import("../runtime/ort.jspi.min.mjs");
  const room = adapter.limits.maxStorageBufferBindingSize;
  return new Engine(ort, "webgpu", (channels) => room / (channels * BYTES));
}

async function openOnCpu() {
  const ort = await import("../runtime/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = self.crossOriginIsolated
    ? Math.min(navigator.hardwareConcurrency, MOST_THREADS)
    : 1; // threads share memory, which only isolated pages may
  return new Engine(ort, "wasm", (channels) => WASM_MEMORY / (channels * BYTES * FEATURES_AT_ONCE));
}

class Engine {
  /**
   * @param ort the module of ONNX Runtime Web.
   * @param {"webgpu" | "wasm"} provider
   * @param {(channels) => number} mostPixels that a network of these channels can paint at once.
   */
  constructor(ort, provider, mostPixels) {
    this.ort = ort;
    this.provider = provider;
    this.mostPixels = mostPixels;
    this.sessions = new Map(); // the most recent is the last
    this.secondsPerPixel = new Map(); // of each style
  }

  /**
   * Paint a picture at its own size.
   * @param {{file, channels}} style
   * @param {{data, width, height}} picture RGBA bytes.
   * @param {number} strength in [0, 1]. It changes the network; blending with the photo is left to
   *     the caller.
   * @returns {Promise<Uint8ClampedArray>} RGBA bytes of the same size.
   */
  async paint(style, { data, width, height }, strength) {
    const session = await this.session(style);
    const start = performance.now();
    const photo = new this.ort.Tensor("float32", planes(data), [1, 3, height, width]);
    const given = new this.ort.Tensor("float32", [strength], []);
    const bytes = interleaved(await this.run(session, { photo, strength: given }));
    this.secondsPerPixel.set(style.file, (performance.now() - start) / 1000 / (width * height));
    return bytes;
  }

  async run(session, given) {
    try {
      const { painted } = await session.run(given);
      return painted.data;
    } catch (error) {
      console.error(error);
      throw new Error(
        "The memory ran out: reload the page, and choose wider strokes or a smaller picture.",
      );
    }
  }

  /** About how long a picture will take, by how long the last one took. */
  secondsFor(style, pixels) {
    return pixels * (this.secondsPerPixel.get(style.file) ?? 1e-5);
  }

  async session(style) {
    const session = this.sessions.get(style.file) ?? (await this.load(style));
    this.sessions.delete(style.file);
    this.sessions.set(style.file, session);
    if (this.sessions.size > KEPT_SESSIONS) {
      const [oldest, unused] = this.sessions.entries().next().value;
      this.sessions.delete(oldest);
      await unused.release();
    }
    return session;
  }

  async load(style) {
    const response = await fetch(new URL(`../${style.file}`, import.meta.url));
    if (!response.ok) throw new Error(`The style ${style.name} cannot be loaded: reload the page.`);
    return this.ort.InferenceSession.create(new Uint8Array(await response.arrayBuffer()), {
      executionProviders: [this.provider],
      enableCpuMemArena: false, // else the largest picture's memory would stay taken
      logSeverityLevel: 3,
    });
  }
}

function planes(bytes) {
  const pixels = bytes.length / 4;
  const values = new Float32Array(3 * pixels);
  for (let i = 0; i < pixels; i++) {
    values[i] = bytes[4 * i] / 255;
    values[pixels + i] = bytes[4 * i + 1] / 255;
    values[2 * pixels + i] = bytes[4 * i + 2] / 255;
  }
  return values;
}

function interleaved(values) {
  const pixels = values.length / 3;
  const bytes = new Uint8ClampedArray(4 * pixels);
  for (let i = 0; i < pixels; i++) {
    bytes[4 * i] = 255 * values[i];
    bytes[4 * i + 1] = 255 * values[pixels + i];
    bytes[4 * i + 2] = 255 * values[2 * pixels + i];
    bytes[4 * i + 3] = 255;
  }
  return bytes;
}
