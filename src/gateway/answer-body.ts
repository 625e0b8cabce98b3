/**
 * The body of an instance's answer on its way to the visitor. Rules:
 * - One of known and moderate length is passed on when it is whole: it keeps its length (Bun sends
 *   streams in chunks), and one that is cut short becomes a clean error. It is waited for only a
 *   moment: what an instance sends slowly, or leaves unfinished, goes on as a stream.
 * - A stream is as fast as the visitor takes it. Where the answer is cut short it fails, and Bun
 *   resets the visitor's connection: no half answer looks whole.
 * - The visit is told when the last byte of a stream has been handed over.
 */
import type { SessionResponse } from "../parent/response.ts";
import { causeText } from "../wire/cause.ts";
import type { Visit } from "./visit.ts";

/** Bodies up to this size are collected; longer ones cost less when passed on. */
const maxCollectedBytes = 256 * 1024;
/** How long the rest of a body is waited for; instances mostly send it with the head. */
const collectMs = 100;

type ResponseBody = Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>;
type Chunk = Uint8Array | undefined;

/** What was to be collected, and came to nothing yet. */
interface Unfinished {
  readonly chunks: Uint8Array[];
  next: Promise<Chunk> | undefined;
}

/** @throws SessionError when it is cut short before anything of it was passed on. */
export async function bodyFor(answer: SessionResponse, visit: Visit): Promise<ResponseBody> {
  const whole = answer.takeWholeBody() ?? (await collect(answer));
  if (!(whole instanceof Uint8Array)) return streamOf(answer, visit, whole);
  visit.bytes = whole.length;
  return whole as Uint8Array<ArrayBuffer>;
}

/** The body if it is of moderate length, and comes at once. */
async function collect(answer: SessionResponse): Promise<Uint8Array | Unfinished> {
  const { bodyLength } = answer;
  const chunks: Uint8Array[] = [];
  if (bodyLength === undefined || bodyLength > maxCollectedBytes) {
    return { chunks, next: undefined };
  }
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const timer = setTimeout(resolve, collectMs, "late");
  try {
    for (;;) {
      const next = answer.read();
      const chunk = await Promise.race([next, late]);
      if (chunk === "late") return { chunks, next };
      if (chunk === undefined) return Buffer.concat(chunks);
      chunks.push(chunk);
    }
  } finally {
    clearTimeout(timer);
  }
}

function streamOf(
  answer: SessionResponse,
  visit: Visit,
  begun: Unfinished,
): ReadableStream<Uint8Array> {
  const next = (): Promise<Chunk> => {
    const chunk = begun.chunks.shift();
    if (chunk !== undefined) return Promise.resolve(chunk);
    const pending = begun.next ?? answer.read();
    begun.next = undefined;
    return pending;
  };
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        try {
          const chunk = await next();
          if (chunk === undefined) {
            controller.close();
            visit.ended();
          } else {
            visit.bytes += chunk.length;
            controller.enqueue(chunk);
          }
        } catch (error) {
          visit.failure = causeText(error);
          visit.ended();
          throw error;
        }
      },
      cancel(): void {
        answer.cancel();
        visit.ended();
      },
    },
    // Nothing is fetched ahead of the visitor: what has arrived is kept, bounded, by the session.
    { highWaterMark: 0 },
  );
}
