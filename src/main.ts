/** Arguments in, exit status out; nothing else. */
import { watchSignals } from "./cli/signals.ts";

// Before anything else is loaded: from here on no signal is lost.
watchSignals();

const { run } = await import("./cli/run.ts");
await run();
