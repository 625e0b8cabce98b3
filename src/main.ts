/** Arguments in, exit status out; nothing else. */
import "./cli/signals.ts"; // first: no signal is lost from here on

import { run } from "./cli/run.ts";

await run();
