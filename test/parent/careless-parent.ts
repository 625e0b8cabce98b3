/** A parent that starts a server, says which process it is, and then ends as its argument says. */
import { startPoolServer } from "../../src/parent/index.ts";

const server = startPoolServer({ logLevel: 0 });
const pool = await server.connect();
await Bun.write(Bun.stdout, `${server.pid}\n`);
if (process.argv[2] === "killed") process.kill(process.pid, "SIGKILL");
pool.close(); // and then nothing keeps it alive
