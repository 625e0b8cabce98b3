/** All real applications, in the order of their table. */
import { asgiApps } from "./asgi.ts";
import { builtApps } from "./built.ts";
import { javaScriptApps } from "./javascript.ts";
import { programs } from "./programs.ts";
import type { RealApp } from "./real-app.ts";
import { rubyApps } from "./ruby.ts";
import { wsgiApps } from "./wsgi.ts";

export const realApps: readonly RealApp[] = [
  ...rubyApps,
  ...wsgiApps,
  ...asgiApps,
  ...javaScriptApps,
  ...builtApps,
  ...programs,
];
