/**
 * Where each line that an application writes goes: to the file or the journal that was registered
 * for it, else to the log of all. A log that cannot be opened loses nothing: its lines go to the
 * log of all until logs are opened anew.
 */
import { BufferedLog } from "../native/buffered-log.ts";
import { openOutputFile } from "../native/output-file.ts";
import { escapeForLog, toBytes, type ByteString } from "../wire/bytes.ts";
import { causeText } from "../wire/cause.ts";
import type { OutputPlace } from "../wire/output-place.ts";
import { JournalLog } from "./journal-log.ts";
import type { LineWriter } from "./line-writer.ts";
import { outputLine, type Log, type LogFormat } from "./log.ts";
import { RecentLines } from "./recent-lines.ts";

/** Files open at a time; the one unused longest is closed for another. */
const maxFiles = 1000;
/** What leaves after it was unregistered writes its last lines: no process has longer for that. */
const forgetMs = 2 * 60_000;

interface OutputLogsOptions {
  /** The log of all. */
  readonly common: LineWriter;
  readonly format: LogFormat;
  readonly log: Log;
  /** Whether somebody may ask for the last lines. */
  readonly keepsRecent: boolean;
}

export class OutputLogs {
  readonly #options: OutputLogsOptions;
  readonly #lineOf: ReturnType<typeof outputLine>;
  readonly #places = new Map<ByteString, OutputPlace>();
  /** By their paths; those used last are last. */
  readonly #files = new Map<string, BufferedLog>();
  readonly #unopened = new Set<string>();
  readonly #journals = new Map<string, JournalLog>();
  readonly #recent: RecentLines | undefined;

  constructor(options: OutputLogsOptions) {
    this.#options = options;
    this.#lineOf = outputLine(options.format);
    if (options.keepsRecent) this.#recent = new RecentLines();
  }

  /** Where lines of an application go from now on; undefined: to the log of all. */
  set(root: ByteString, place: OutputPlace | undefined): void {
    if (place === undefined) this.#places.delete(root);
    else this.#places.set(root, place);
  }

  /** The application is registered no more. */
  forget(root: ByteString): void {
    const place = this.#places.get(root);
    setTimeout(() => {
      if (this.#places.get(root) === place) this.#places.delete(root);
    }, forgetMs).unref();
  }

  readonly write = (pid: number, root: ByteString, line: ByteString): void => {
    const text = this.#lineOf(pid, root, line);
    const place = this.#places.get(root);
    if (place !== undefined && "file" in place) {
      const file = this.#files.get(place.file) ?? this.#open(root, place.file);
      if (file !== undefined) return file.writeBytes(toBytes(text));
    }
    this.#recent?.add(root, text);
    if (place === undefined || "file" in place) this.#options.common.gather(toBytes(text));
    else this.#journalOf(place.journal).write(place.identifier, pid, line);
  };

  /** The last lines of an application after one, as JSON (recent-lines.ts). */
  recentJson(root: ByteString, after: number): Uint8Array {
    return (this.#recent ?? new RecentLines()).json(root, after);
  }

  /** Opens all files anew, as after a rotation; what cannot be keeps its old one. */
  reopen(): void {
    this.#options.common.reopen();
    this.#unopened.clear();
    for (const [path, file] of this.#files) {
      try {
        file.reopen();
      } catch (error) {
        this.#options.log.event(0, "log not reopened", { path, cause: causeText(error) });
      }
    }
  }

  /** Writes what waits, if there is room for it soon. */
  async close(limitMs: number): Promise<void> {
    const files = [...this.#files.values()].map((file) => file.close());
    await Promise.all([...files, this.#options.common.close(limitMs)]);
  }

  #open(root: ByteString, path: string): BufferedLog | undefined {
    if (this.#unopened.has(path)) return undefined;
    try {
      const file = new BufferedLog("lines", () => openOutputFile(path).take());
      const [oldest] = this.#files;
      if (this.#files.size >= maxFiles && oldest !== undefined) {
        this.#files.delete(oldest[0]);
        void oldest[1].close();
      }
      this.#files.set(path, file);
      return file;
    } catch (error) {
      this.#unopened.add(path);
      const cause = causeText(error);
      this.#options.log.event(0, "log not opened", { app: escapeForLog(root), cause });
      return undefined;
    }
  }

  #journalOf(socket: string): JournalLog {
    const journal = this.#journals.get(socket) ?? new JournalLog(socket);
    this.#journals.set(socket, journal);
    return journal;
  }
}
