// A bad tenant: what it does is the last part of the path.
import { deed } from "../deeds.cjs";

export default {
  async fetch(request) {
    await deed(new URL(request.url).pathname);
    return new Response("ok\n", { headers: { "content-type": "text/plain" } });
  },
};
