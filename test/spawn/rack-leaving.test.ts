/** How instances of rack applications go: the lifeline, signals, and what they leave unfinished. */
import { expect, test } from "bun:test";

import { sendSignal, signals } from "../../src/native/process.ts";
import type { Instance } from "../../src/spawn/spawner.ts";
import { until } from "../helpers/condition.ts";
import { untilGone } from "../helpers/processes.ts";
import { readExactly, readToEnd, sendAll } from "../helpers/raw-client.ts";
import { rackScene, to } from "./rack-scene.ts";
import { connected, parseAnswer } from "./support.ts";

const scene = rackScene();
const { start, isTold, lines } = scene;
const SIGUSR1 = 10;

const source = `
at_exit { puts "at_exit of #{Process.pid}" }
body = Class.new {
  def each
    yield "begun "
    sleep 0.01 until File.exist?("go-on")
    yield "ended"
  end
}
run lambda { |env|
  case env["PATH_INFO"]
  when "/slow" then [200, {}, body.new]
  when "/stuck" then [200, {}, Enumerator.new { |y| y << "begun "; loop { sleep 1 } }]
  when "/busy" then [200, {}, Enumerator.new { |y| y << "begun "; loop {} }]
  when "/exit" then exit 3
  else [200, {}, ["quick"]]
  end
}
`;

let apps = 0;

function started(more = "") {
  apps += 1;
  return start(`app${apps}`, { "config.ru": source + more });
}

/** A session on which the answer has begun. */
async function begun(instance: Instance, path: string) {
  const session = connected(instance);
  await sendAll(session.number, to(path));
  let text = "";
  while (!text.endsWith("begun ")) text += await readExactly(session.number, 1);
  return session;
}

async function gone({ pid }: Instance): Promise<void> {
  await untilGone(pid);
}

async function goOn(): Promise<void> {
  await Bun.write(`${scene.directory}/app${apps}/go-on`, "");
}

const byLifeline = (instance: Instance) => instance.release();
const bySignal = ({ pid }: Instance) => sendSignal(pid, SIGUSR1);
const ways = [
  ["its lifeline ends", byLifeline],
  ["SIGUSR1", bySignal],
] as const;

test.each(ways)("leaves at once on %s when it has nothing to do", async (_, tell) => {
  const instance = await started();
  using idle = connected(instance);
  await sendAll(idle.number, to("/", { SESSION_KEEP: "1" }));
  expect(await readExactly(idle.number, "Status: 200 OK".length)).toBe("Status: 200 OK");
  if (tell === byLifeline) idle.close(); // Else its client may want another request.
  tell(instance);
  await gone(instance);
  if (tell === bySignal) expect(await readToEnd(idle.number)).toEndWith("quick");
  await isTold(`at_exit of ${instance.pid}`);
});

function refuses(instance: Instance): boolean {
  try {
    connected(instance).close();
    return false;
  } catch {
    return true;
  }
}

test.each(ways)("on %s it serves the session at hand, and those that wait", async (_, tell) => {
  const instance = await started();
  using session = await begun(instance, "/slow");
  using waiting = connected(instance);
  await sendAll(waiting.number, to("/", { SESSION_KEEP: "1" }));
  tell(instance);
  await until("it refuses new ones", () => refuses(instance));
  await goOn();
  expect(await readToEnd(session.number)).toBe("ended");
  expect(parseAnswer(await readToEnd(waiting.number)).body).toBe("quick");
  await gone(instance);
});

test("leaves now on SIGTERM, whatever it is doing", async () => {
  const instance = await started();
  using session = await begun(instance, "/busy");
  sendSignal(instance.pid, signals.SIGTERM);
  await gone(instance);
  expect(await readToEnd(session.number)).toBe("");
});

/** The ten seconds of the loader, shortened. */
const hurry = `
module RackLoader
  class Instance
    def sleep(seconds)
      super(seconds / 100.0)
    end
  end
end
`;

test.each(["/stuck", "/busy"])(
  "is ended when it is stuck in %s after its lifeline",
  async (path) => {
    const instance = await started(hurry);
    using session = await begun(instance, path);
    instance.release();
    await gone(instance);
    expect(await readToEnd(session.number)).toBe("");
    expect(lines).not.toContain(`at_exit of ${instance.pid}`);
  },
);

test("an application that calls exit has its session answered, and ends", async () => {
  const instance = await started();
  using session = connected(instance);
  await sendAll(session.number, to("/exit"));
  const { status } = parseAnswer(await readToEnd(session.number));
  expect(status).toBe("Status: 500 Internal Server Error");
  await gone(instance);
  await isTold(`at_exit of ${instance.pid}`);
});
