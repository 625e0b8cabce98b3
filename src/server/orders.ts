/**
 * Commands that are about the pool, not about the sessions of who says them: settings, questions,
 * and those of the supervisor (PROTOCOL sections 3, 9 and 12).
 */
import { snapshotJson } from "../status/json.ts";
import { fromText, type ByteString } from "../wire/bytes.ts";
import { parseConfigureOptions } from "../wire/configure.ts";
import { OptionsError } from "../wire/option-readers.ts";
import { parseRegistration } from "../wire/register.ts";
import { encodeDecimal, encodeError, encodePlainOk } from "../wire/replies.ts";
import { encodeScalar } from "../wire/scalar-message.ts";
import type { Arrival } from "./command-queue.ts";
import type { Driver } from "./driver.ts";
import type { OutputLogs } from "../logging/output-logs.ts";

/** What else a client may say is about gets and sessions (client.ts). */
export type Order = Exclude<
  Arrival,
  | { readonly sessionId: number }
  | { readonly tag: ByteString }
  | { readonly kind: "get" | "openDescriptorChannel" | "invalid" }
>;

export interface OrderContext {
  readonly driver: Driver;
  /** The supervisor has registered all there is: clients may come. */
  readonly admit: () => void;
  /** Undefined where nobody registers. */
  readonly outputs: OutputLogs | undefined;
}

/** @returns the reply, if it has one. @throws ProtocolError: a registration makes no sense. */
export function carryOutOrder(
  order: Order,
  { driver, admit, outputs }: OrderContext,
): Uint8Array | undefined {
  switch (order.kind) {
    case "clear":
      driver.clear();
      return undefined;
    case "setMax":
      driver.setLimits({ max: order.max });
      return undefined;
    case "setMaxPerApp":
      driver.setLimits({ maxPerApp: order.maxPerApp });
      return undefined;
    case "setMaxIdleTime":
      driver.setLimits({ maxIdleMs: order.seconds * 1000 });
      return undefined;
    case "setUseGlobalQueue":
      driver.setLimits({ useGlobalQueue: order.useGlobalQueue });
      return undefined;
    case "getActive":
      return encodeDecimal(driver.ask((pool) => pool.active));
    case "getCount":
      return encodeDecimal(driver.ask((pool) => pool.count));
    case "getSpawnServerPid":
      return encodeDecimal(driver.spawnServerPid);
    case "inspect":
      return encodeScalar(snapshotJson(driver.ask((pool, now) => pool.snapshot(now))));
    case "configure":
      return answerOf(() => driver.configure(order.root, parseConfigureOptions(order.options)));
    case "register":
      return answerOf(() => {
        const { app, options, log } = parseRegistration(order.root, order.options);
        driver.register(app, options);
        outputs?.set(order.root, log);
      });
    case "restart":
      return answerOf(() => driver.decide((pool, now) => pool.restart(order.root, now)));
    case "detach":
      return answerOf(() => detach(order.pid, driver));
    case "retire":
      return answerOf(() => driver.clear(order.root));
    case "unregister":
      return answerOf(() => {
        driver.unregister(order.root);
        outputs?.forget(order.root);
      });
    case "admit":
      return answerOf(admit);
    case "reopenLogs":
      return answerOf(() => outputs?.reopen());
    case "recentOutput":
      return encodeScalar(outputs?.recentJson(order.root, order.after) ?? noOutput);
    case "ping":
      return encodePlainOk();
  }
}

/** Has an instance leave the pool. @throws OptionsError when no instance has the process. */
function detach(pid: number, driver: Driver): void {
  const instance = driver.instanceOf(pid);
  if (instance === undefined) throw new OptionsError(`no instance has the process ${pid}`);
  driver.decide((pool, now) => pool.detach(instance, now));
}

const noOutput = Buffer.from("{}");

/** `ok` to what can be taken, and why to what cannot. */
function answerOf(action: () => void): Uint8Array {
  try {
    action();
    return encodePlainOk();
  } catch (error) {
    if (!(error instanceof OptionsError)) throw error;
    return encodeError(fromText(error.message));
  }
}
