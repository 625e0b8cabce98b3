/** Dies at every twentieth request. */
let requests = 0;

export default {
  fetch() {
    requests += 1;
    if (requests % 20 === 0) process.kill(process.pid, "SIGKILL");
    return new Response("ok\n");
  },
};
