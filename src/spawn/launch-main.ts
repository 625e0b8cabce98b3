/**
 * The launch command when there is no compiled binary: what main.ts does first, and nothing else.
 */
import { launchFromEnvironment } from "./launch.ts";

await launchFromEnvironment();
