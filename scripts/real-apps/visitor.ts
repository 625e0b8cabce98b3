/**
 * A visitor of a real application, as a browser is one: keeps cookies, follows redirects, opens
 * WebSockets. Every wait of his has a limit.
 */

/** For one answer or message. The first one includes the start of the application. */
const LIMIT_MS = 60_000;
const MAX_REDIRECTS = 5;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  readonly text: string;
}

type Init = NonNullable<Parameters<typeof fetch>[1]>;

/** @throws Error unless it holds. */
export function check(holds: boolean, claim: string): void {
  if (!holds) throw new Error(claim);
}

/** @throws Error that shows the beginning of the text unless it contains the other. */
export function contains(text: string, part: string): void {
  check(text.includes(part), `'${part}' is missing in: ${text.slice(0, 2_000)}`);
}

export class Visitor {
  readonly url: string;
  readonly #cookies = new Map<string, string>();

  /** @param url without a slash at its end. */
  constructor(url: string) {
    this.url = url;
  }

  /** A visitor who has been nowhere yet. */
  another(): Visitor {
    return new Visitor(this.url);
  }

  cookie(name: string): string {
    return this.#cookies.get(name) ?? "";
  }

  /** The answer, whatever it is, after redirects. */
  async ask(path: string, init: Init = {}): Promise<Answer> {
    let response = await this.#send(new URL(path, this.url), init);
    for (let hops = 0; response.headers.has("location") && hops < MAX_REDIRECTS; hops += 1) {
      const { status, headers, url } = response;
      if (status < 300 || status > 399) break;
      const keeps = status > 303 ? init : {};
      response = await this.#send(new URL(headers.get("location") ?? "", url), keeps);
    }
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, bytes, text: bytes.toString() };
  }

  /** The text of a page. @throws Error when its status is another. */
  async page(path: string, init: Init = {}, status = 200): Promise<string> {
    const answer = await this.ask(path, init);
    const method = init.method ?? "GET";
    check(
      answer.status === status,
      `${method} ${path} was answered ${answer.status}: ${answer.text.slice(0, 2_000)}`,
    );
    return answer.text;
  }

  /** Sends a form with a file. @throws Error unless the page says how many bytes have come. */
  async upload(path: string, bytes: number): Promise<void> {
    const body = new FormData();
    body.set("file", new File(["x".repeat(bytes)], "x.txt"));
    contains(await this.page(path, { method: "POST", body }), String(bytes));
  }

  /** Sends JSON. */
  async json(path: string, value: unknown, status = 200, method = "POST"): Promise<string> {
    const headers = { "content-type": "application/json" };
    return this.page(path, { method, headers, body: JSON.stringify(value) }, status);
  }

  /** Sends a long name. @throws Error unless its length comes back. */
  async jsonBack(path: string, status = 200): Promise<void> {
    contains(await this.json(path, { name: "x".repeat(80_000) }, status), "80000");
  }

  /** Sends a form. */
  async form(path: string, fields: Readonly<Record<string, string>>): Promise<string> {
    const headers = { referer: this.url + path };
    return this.page(path, { method: "POST", body: new URLSearchParams(fields), headers });
  }

  /** Opens a WebSocket, with the cookies and as from a page of the application. */
  async socket(path: string, protocols: string[] = []): Promise<VisitorSocket> {
    const headers = { cookie: this.#cookieHeader(), origin: this.url };
    const url = this.url.replace("http", "ws") + path;
    const socket = new VisitorSocket(new WebSocket(url, { headers, protocols }));
    await socket.opened;
    return socket;
  }

  async #send(url: URL, init: Init): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#cookies.size > 0) headers.set("cookie", this.#cookieHeader());
    const signal = AbortSignal.timeout(LIMIT_MS);
    const response = await fetch(url, { signal, ...init, headers, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      this.#cookies.set(name, value);
    }
    return response;
  }

  #cookieHeader(): string {
    return [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
  }
}

export class VisitorSocket {
  readonly opened: Promise<void>;
  readonly #socket: WebSocket;
  readonly #messages: string[] = [];
  #arrived: () => void = () => {};

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.opened = within("the WebSocket opens", LIMIT_MS, promise);
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("close", ({ code }) => {
      reject(new Error(`the WebSocket was closed: ${code}`));
    });
    socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => {
      const bytes = typeof data === "string" ? data : Buffer.from(data as ArrayBuffer).toString();
      this.#messages.push(bytes);
      this.#arrived();
    });
  }

  send(text: string): void {
    this.#socket.send(text);
  }

  /** The next message that contains the text; those before it are dropped. */
  async next(part = ""): Promise<string> {
    const find = async (): Promise<string> => {
      for (;;) {
        const message = this.#messages.shift();
        if (message?.includes(part) === true) return message;
        if (message === undefined) {
          await new Promise<void>((resolve) => {
            this.#arrived = resolve;
          });
        }
      }
    };
    return within(`a message with '${part}' arrives`, LIMIT_MS, find());
  }

  close(): void {
    this.#socket.close();
  }
}

/** @throws Error when it takes longer than the limit. */
export async function within<T>(what: string, limitMs: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`waited ${limitMs} ms until ${what}`)), limitMs);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
