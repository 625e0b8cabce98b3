/**
 * The other kind of application: a program that calls Bun.serve, as it would run by itself (`bun
 * server.ts`). Under the pool it needs no port: the same calls are answered over the session.
 * `/?ms=50` takes fifty milliseconds, so that requests overlap and the pool has something to
 * decide.
 */
let counted = 0;

Bun.serve({
  async fetch(request) {
    const url = new URL(request.url);
    await Bun.sleep(Number(url.searchParams.get("ms") ?? 0));
    counted += 1;
    const answer = JSON.stringify({ process: process.pid, counted, method: request.method });
    return new Response(`${answer}\n`, { headers: { "Content-Type": "application/json" } });
  },
});
