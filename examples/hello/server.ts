/**
 * The smallest application: a default export with `fetch`. It says who answered, so that one can
 * see the pool at work. greeting.txt is read once, at the start: change it, touch tmp/restart.txt,
 * and the next request is answered by a new process with the new greeting.
 */
const greeting = (await Bun.file("greeting.txt").text()).trim();
let served = 0;

export default {
  fetch(request: Request): Response {
    served += 1;
    const { pathname } = new URL(request.url);
    const environment = process.env["APP_ENV"] ?? "no environment";
    return new Response(
      `${greeting}\n` +
        `You asked for ${pathname}; process ${process.pid} (user ${process.getuid?.()}) ` +
        `answered in ${environment}, its request number ${served}.\n`,
    );
  },
};
