/** What an application does not inherit of the bundle or virtual environment around the server. */
import { expect, test } from "bun:test";

import { removeForeign } from "../../src/spawn/foreign-variables.ts";

type Variables = Readonly<Record<string, string>>;

const unset = "BUNDLER_ENVIRONMENT_PRESERVER_INTENTIONALLY_NIL";
const meant = {
  GEM_HOME: "/usr/local/bundle",
  BUNDLE_APP_CONFIG: "/usr/local/bundle",
  RUBYLIB: "/opt/lib",
  PYTHONPATH: "/opt/py",
  NODE_PATH: "/opt/js",
  NODE_OPTIONS: "--max-old-space-size=1",
  PATH: "/opt/bin:/usr/bin",
};

const cases: readonly (readonly [string, Variables, Variables])[] = [
  ["what somebody has set for all", meant, meant],
  [
    "what `bundle exec` has set, and what it has covered",
    {
      BUNDLE_GEMFILE: "/other/Gemfile",
      BUNDLE_BIN_PATH: "/gems/bundler/exe/bundle",
      BUNDLER_VERSION: "2.4",
      RUBYOPT: "-W0 -r/gems/bundler/setup",
      RUBYLIB: "/gems/bundler/lib",
      GEM_HOME: "/other/gems",
      PATH: "/other/bin:/usr/bin",
      BUNDLER_ORIG_RUBYOPT: "-W0",
      BUNDLER_ORIG_RUBYLIB: unset,
      BUNDLER_ORIG_GEM_HOME: unset,
      BUNDLER_ORIG_BUNDLE_GEMFILE: unset,
      BUNDLER_ORIG_PATH: "/usr/bin",
    },
    { RUBYOPT: "-W0", PATH: "/usr/bin" },
  ],
  [
    "a bundle without what it has covered",
    { BUNDLE_GEMFILE: "/other/Gemfile", RUBYOPT: "-rbundler/setup" },
    {},
  ],
  [
    "a bundle of its own",
    { BUNDLE_GEMFILE: "/srv/app/gemfiles/next", RUBYOPT: "-rdebug" },
    { BUNDLE_GEMFILE: "/srv/app/gemfiles/next", RUBYOPT: "-rdebug" },
  ],
  [
    "an active virtual environment",
    {
      VIRTUAL_ENV: "/other/env",
      VIRTUAL_ENV_PROMPT: "(env)",
      PATH: "/other/env/bin:/usr/bin:/other/env/bin/more",
    },
    { PATH: "/usr/bin:/other/env/bin/more" },
  ],
  [
    "one of its own",
    { VIRTUAL_ENV: "/srv/app/env", PATH: "/srv/app/env/bin:/usr/bin" },
    { VIRTUAL_ENV: "/srv/app/env", PATH: "/srv/app/env/bin:/usr/bin" },
  ],
  ["one of a neighbour", { VIRTUAL_ENV: "/srv/app2/env", PATH: "/srv/app2/env/bin" }, {}],
  ["where Python's library is", { PYTHONHOME: "/opt/python" }, {}],
];

test.each(cases)("of %s only this is left", (_, inherited, left) => {
  const variables = new Map(Object.entries(inherited));
  removeForeign(variables, "/srv/app");
  expect(Object.fromEntries(variables)).toEqual({ ...left });
});
