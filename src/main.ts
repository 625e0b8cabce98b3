/** Arguments in, exit status out; nothing else. */
import { watchSignals } from "./cli/signals.ts";
import { launchVariable } from "./spawn/launch-variable.ts";

if (process.env[launchVariable] !== undefined) {
  // On its way to become another program (or to exit): signals mean what they mean to any program.
  const { launchFromEnvironment } = await import("./spawn/launch.ts");
  await launchFromEnvironment();
}

// Before anything else is loaded: from here on no signal is lost.
watchSignals();

const { run } = await import("./cli/run.ts");
await run();
