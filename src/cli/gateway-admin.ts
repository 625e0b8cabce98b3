/**
 * The hidden command of the process that serves the admin address: it has a socket to accept on and
 * a channel to the supervisor, and gives up the rest before it reads a stranger's first byte.
 */
import {
  type AdminAnswer,
  type AdminQuestion,
  type FromAdmin,
  maxQuestions,
  toAdmin,
  type ToAdmin,
} from "../gateway/admin/admin-messages.ts";
import { AdminServer } from "../gateway/admin/admin-server.ts";
import { AdminSite } from "../gateway/admin/admin-site.ts";
import { ControlChannel } from "../gateway/control-channel.ts";
import { adminCommand, adminDescriptors } from "../gateway/supervisor/admin-process.ts";
import { giveUpRights } from "../gateway/worker/worker-rights.ts";
import { setCloseOnExec } from "../native/fd.ts";
import { inTime } from "../native/in-time.ts";
import { OwnedFd } from "../native/owned-fd.ts";
import { giveUpStart } from "../native/own-text.ts";
import { whyNotStream } from "../native/socket.ts";
import { causeText } from "../wire/cause.ts";
import { StartError } from "./usage-error.ts";

/** The supervisor answers at once, or when the pool server has had its time. */
const answerLimitMs = 10_000;

/** Runs until the supervisor is gone. @throws StartError when started by hand. */
export async function runAdmin(): Promise<void> {
  const { control, listener } = adminDescriptors;
  const why = whyNotStream(control);
  if (why !== undefined) throw new StartError(`only 'serve' starts a ${adminCommand}: ${why}`);
  setCloseOnExec(control, true);
  setCloseOnExec(listener, true);
  giveUpStart();
  const gone = Promise.withResolvers<void>();
  const waiting = new Map<number, (answer: AdminAnswer) => void>();
  const channel = await ControlChannel.open<ToAdmin, FromAdmin>(new OwnedFd(control), toAdmin, {
    message: (message) => {
      switch (message.kind) {
        case "ping":
          return channel.send({ kind: "pong" });
        case "answer":
          waiting.get(message.id)?.(message.answer);
          return void waiting.delete(message.id);
        case "serve":
          return channel.send(serve(message));
      }
    },
    closed: () => gone.resolve(),
  });
  let lastId = 0;
  const ask = async (question: AdminQuestion): Promise<AdminAnswer> => {
    if (waiting.size >= maxQuestions) return busy;
    const { promise, resolve } = Promise.withResolvers<AdminAnswer>();
    const id = (lastId += 1);
    waiting.set(id, resolve);
    channel.send({ kind: "ask", id, question });
    return inTime(promise, answerLimitMs, () => busy);
  };
  const serve = ({ user, isTcp }: Extract<ToAdmin, { kind: "serve" }>): FromAdmin => {
    try {
      const site = new AdminSite(ask, isTcp);
      new AdminServer((request, connection) => site.respond(request, connection)).listen(listener);
      // It shares the listening socket with its successor.
      giveUpRights(user, listener);
      return { kind: "ready" };
    } catch (error) {
      return { kind: "failed", why: causeText(error) };
    }
  };
  await gone.promise;
}

const busy: AdminAnswer = {
  status: 503,
  type: "text/plain",
  body: "the supervisor does not answer\n",
};
