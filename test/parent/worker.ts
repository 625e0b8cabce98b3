/**
 * A worker of a parent: reaches the server through the wake socket it has inherited as descriptor
 * 3.
 */
import { attachPoolServer } from "../../src/parent/index.ts";

await using access = attachPoolServer(3);
using pool = await access.connect();
pool.setMax(17);
console.log(JSON.stringify(await pool.inspect()));
