/**
 * Ends an instance that is stuck after its server is gone: a child, the smallest there is, waits
 * for the end of the lifeline, and ten seconds later kills its parent with all of its process
 * group, itself too. A worker thread of Node's would do the same for forty times the memory. Runs
 * inside instances.
 */
"use strict";

const { spawn } = require("node:child_process");

const lifeline = 4;

/**
 * Only the end itself makes cat succeed. The child shares the lifeline's description with this
 * process, and it becomes non-blocking when Node reads it too (lifeline.cjs): a cat that is not
 * waiting by then fails at once, and is tried again. Looking every second whether its parent, $1,
 * is still there, the child kills nobody else.
 */
const script = `
until cat <&3 >/dev/null 2>&1; do sleep 5; done
for second in 0 1 2 3 4 5 6 7 8 9; do
  read -r self name state parent rest </proc/self/stat
  [ "$parent" = "$1" ] || exit
  sleep 1
done
kill -9 "-$1" "$1"
`;

function startWatchdog() {
  const child = spawn("/bin/sh", ["-c", script, "watchdog", String(process.pid)], {
    cwd: "/",
    env: { PATH: "/usr/bin:/bin" },
    stdio: ["ignore", "ignore", "ignore", lifeline],
  });
  // Without a shell only what is not stuck ends in time.
  child.on("error", () => {});
  child.unref();
}

module.exports = { startWatchdog };
