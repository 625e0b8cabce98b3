/**
 * The hidden command of a gateway's worker: takes what the supervisor has passed on its
 * descriptors, and puts the parts that answer requests together.
 */
import { openAccessLog } from "../gateway/log/access-log.ts";
import type { GatewayConfig } from "../gateway/config.ts";
import { logFailure } from "../gateway/log/failure-log.ts";
import { PoolLink } from "../gateway/worker/pool-link.ts";
import { Worker, type RequestServer } from "../gateway/worker/worker.ts";
import { Site, type SiteOptions } from "../gateway/worker/site.ts";
import { workerCommand, workerDescriptors } from "../gateway/supervisor/worker-process.ts";
import { receiveDescriptor } from "../native/descriptors.ts";
import { setCloseOnExec } from "../native/fd.ts";
import { OwnedFd } from "../native/owned-fd.ts";
import { giveUpStart } from "../native/own-text.ts";
import { whyNotStream } from "../native/socket.ts";
import { attachPoolServer } from "../parent/index.ts";
import { LineWriter } from "../logging/line-writer.ts";
import { Log } from "../logging/log.ts";
import { causeText } from "../wire/cause.ts";
import { reportMistakes } from "./mistakes.ts";
import { onSignal } from "./signals.ts";
import { StartError } from "./usage-error.ts";

/** Runs a worker until its supervisor has it leave. @throws StartError when started by hand. */
export async function runWorker(): Promise<void> {
  const { wake, control, log } = workerDescriptors;
  for (const number of [wake, control, log]) {
    const why = whyNotStream(number);
    if (why !== undefined) {
      throw new StartError(`only 'serve' starts a ${workerCommand}: descriptor ${number}: ${why}`);
    }
    setCloseOnExec(number, true);
  }
  giveUpStart();
  const worker = new Worker(makeServer);
  onSignal((signal) => {
    if (signal === "SIGTERM" || signal === "SIGINT") worker.leave();
  });
  await worker.run(new OwnedFd(control));
}

function makeServer(config: GatewayConfig): RequestServer {
  const stderr = new LineWriter(undefined);
  const log = new Log(config.logLevel, config.logFormat, (line) => stderr.write(line));
  reportMistakes(log);
  const accessLog = openAccessLog(config, receiveLogFile);
  const access = attachPoolServer(workerDescriptors.wake);
  const link = new PoolLink(access, config.apps);
  // So that the first request does not wait for it. Where it fails, requests try again, and say so.
  link.connection().catch(ignore);
  const onDone = accessLog?.record ?? ignore;
  const onFailure: SiteOptions["onFailure"] = (error, visit) => logFailure(log, error, visit);
  const onMissing: SiteOptions["onMissing"] = ({ name, prefix }, path) => {
    const hint = `programs see the whole path, but in Ruby and Python: name '${prefix}' in it`;
    log.notice("not found below a prefix", { app: name, path, hint });
  };
  const onSlow: SiteOptions["onSlow"] = ({ app, ms, queueMs, ...slow }) => {
    const times = { ms: Math.round(ms), queueMs: Math.round(queueMs) };
    log.event(0, "slow request", { app: app.name, ...slow, ...times });
  };
  const site = new Site({ config, link, onDone, onFailure, onMissing, onSlow });
  return {
    site,
    link,
    reopenLogs(): void {
      try {
        accessLog?.log.reopen();
      } catch (error) {
        log.event(0, "access log not reopened", { cause: causeText(error) });
      }
    },
    async close(): Promise<void> {
      link.close();
      site.files.close();
      await accessLog?.log.close();
    },
  };
}

/** The supervisor has opened it, and passes it before it says that it is there. */
function receiveLogFile(): number {
  const received = receiveDescriptor(workerDescriptors.log);
  if (typeof received !== "string") return received.take();
  throw new Error(`receive the access log's descriptor: ${received}`);
}

function ignore(): void {}
