// What a bad tenant for Node or Bun does, by the last part of the path.
const { spawn } = require("node:child_process");

// Blocks the event loop without taking processor time from those who are measured.
const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

function flood() {
  for (let at = 0; at < 50; at++) {
    process.stdout.write("a line of a flood, and not the last one\n\n".repeat(500));
  }
}

const deeds = {
  slow: () => new Promise((resolve) => setTimeout(resolve, 300)),
  hang: () => block(3_600_000),
  flood,
  crash: () => process.kill(process.pid, "SIGKILL"),
  fork: () => spawn("sleep", ["60"], { detached: true, stdio: "ignore" }).unref(),
};

/** Does it, and resolves when it is done. */
exports.deed = async (path) => {
  await deeds[path.split("/").at(-1)]?.();
};
