/** Real applications of Ruby: those of Debian. */
import type { RealApp } from "./real-app.ts";
import { check, contains, type Visitor } from "./visitor.ts";

const sinatra: RealApp = {
  name: "Sinatra",
  type: "rack",
  debian: ["ruby-sinatra"],
  files: {
    "config.ru": `
require "sinatra/base"
class Shop < Sinatra::Base
  enable :sessions
  set :session_secret, "s" * 64
  get("/") { session[:count] = session[:count].to_i + 1; "visit #{session[:count]}" }
  post("/upload") { params["file"]["tempfile"].size.to_s }
  get("/numbers") { stream { |out| 1000.times { |n| out << "#{n}," } } }
  get("/broken") { raise "broken" }
end
run Shop
`,
  },
  tried: "session, upload, stream",
  isQuick: true,
  drive: async (visitor) => {
    contains(await visitor.page("/"), "visit 1");
    contains(await visitor.page("/"), "visit 2");
    await visitor.upload("/upload", 300_000);
    contains(await visitor.page("/numbers"), "998,999,");
    await visitor.page("/broken", {}, 500);
  },
};

/** The token against forged requests that a page of Rails has for its forms. */
function tokenIn(page: string): string {
  return /name="authenticity_token" value="([^"]+)"/.exec(page)?.[1] ?? "";
}

const newRails = `
rails new . --force --skip-bundle --minimal --skip-git --skip-keeps
rm -rf config/webpacker.yml
cat > Gemfile <<'END'
source "https://rubygems.org"
gem "rails"
END
sed -i 's/^# require "action_cable/require "action_cable/' config/application.rb
sed -i '/stylesheet_link_tag/d' app/views/layouts/application.html.erb
cp -r added/. .
bundle install --local
`;

const rails: RealApp = {
  name: "Rails with ActionCable",
  type: "rack",
  debian: ["ruby-rails"],
  // Beside what \`rails new\` makes: a page, a channel, and where the channels of production are.
  files: {
    "added/config/cable.yml": "production:\n  adapter: async\n",
    "added/config/routes.rb": `Rails.application.routes.draw do
  root to: "notes#index"
  resources :notes, only: :create
  mount ActionCable.server => "/cable"
end
`,
    "added/app/controllers/notes_controller.rb": `class NotesController < ApplicationController
  def index; end
  def create
    ActionCable.server.broadcast("notes", { "text" => params[:text] })
    redirect_to root_path, notice: "saved"
  end
end
`,
    "added/app/views/notes/index.html.erb":
      "<p><%= notice %></p><%= form_tag(notes_path) do %><%= text_field_tag :text %><% end %>\n",
    "added/app/channels/application_cable/connection.rb":
      "module ApplicationCable\n  class Connection < ActionCable::Connection::Base; end\nend\n",
    "added/app/channels/application_cable/channel.rb":
      "module ApplicationCable\n  class Channel < ActionCable::Channel::Base; end\nend\n",
    "added/app/channels/notes_channel.rb": `class NotesChannel < ApplicationCable::Channel
  def subscribed = stream_from("notes")
  def echo(data) = transmit(data)
end
`,
  },
  build: newRails,
  writable: ["log", "tmp"],
  settings: ["threads = 5", "max_instances = 1"],
  variables: ['SECRET_KEY_BASE = "a secret"', 'RAILS_LOG_TO_STDOUT = "1"'],
  tried: "form, channel, broadcast",
  drive: async (visitor) => {
    const token = tokenIn(await visitor.page("/"));
    const socket = await visitor.socket("/cable", ["actioncable-v1-json"]);
    await socket.next("welcome");
    const identifier = JSON.stringify({ channel: "NotesChannel" });
    const say = (message: object): void => {
      socket.send(JSON.stringify({ identifier, ...message }));
    };
    say({ command: "subscribe" });
    await socket.next("confirm_subscription");
    say({ command: "message", data: JSON.stringify({ action: "echo", word: "hello" }) });
    await socket.next("hello");
    const saved = await visitor.form("/notes", { authenticity_token: token, text: "to all" });
    contains(saved, "saved");
    await socket.next("to all");
    socket.close();
    await visitor.another().page("/notes", { method: "POST" }, 422);
  },
};

/** Debian's has its instances below /var/lib; this is one of its own, with a copied database. */
const ownRedmine = `
cp -r --no-dereference /usr/share/redmine/. .
rm instances config/database.yml Gemfile.lock
cp /var/lib/redmine/Gemfile.lock .
mkdir -p instances/default/config instances/default/files instances/default/log
mkdir -p instances/default/tmp/cache
cp /var/lib/dbconfig-common/sqlite3/redmine/instances/default/redmine_default instances/default/db
cp database.yml instances/default/config
echo 0123456789012345678901234567890123456789 > instances/default/config/secret_key.txt
`;

const attachmentBytes = 3_000_000;

async function signIn(visitor: Visitor): Promise<void> {
  const first = { username: "admin", password: "admin" };
  await visitor.form("/login", {
    ...first,
    authenticity_token: tokenIn(await visitor.page("/login")),
  });
  const token = tokenIn(await visitor.page("/my/password"));
  const passwords = { password: "admin", new_password: "much better" };
  const again = { new_password_confirmation: "much better" };
  await visitor.form("/my/password", { ...passwords, ...again, authenticity_token: token });
}

const redmine: RealApp = {
  name: "Redmine",
  type: "rack",
  debian: ["redmine", "redmine-sqlite"],
  files: {
    "database.yml": "production:\n  adapter: sqlite3\n  database: /srv/app/instances/default/db\n",
  },
  build: ownRedmine,
  writable: ["instances", "tmp", "public/plugin_assets"],
  tried: "issue with 3 MB attached",
  drive: async (visitor) => {
    await signIn(visitor);
    const form = await visitor.page("/projects/new");
    const project = { "project[name]": "Trial", "project[identifier]": "trial" };
    const modules = {
      "project[enabled_module_names][]": "issue_tracking",
      "project[tracker_ids][]": "1",
    };
    await visitor.form("/projects", { ...project, ...modules, authenticity_token: tokenIn(form) });
    const body = Buffer.alloc(attachmentBytes, "\u00ff\0\r\n");
    const page = await visitor.page("/projects/trial/issues/new");
    const headers = {
      "content-type": "application/octet-stream",
      "x-csrf-token": /name="csrf-token" content="([^"]+)"/.exec(page)?.[1] ?? "",
    };
    const path = "/uploads.js?attachment_id=1&filename=it.bin";
    const said = await visitor.page(path, { method: "POST", body, headers });
    const attachment = /(\d+)\.[0-9a-f]{64}/.exec(said);
    check(attachment !== null, `an upload was answered: ${said.slice(0, 2_000)}`);
    const issue = await visitor.form("/projects/trial/issues", {
      "issue[tracker_id]": "1",
      "issue[subject]": "It is a trial",
      "attachments[1][token]": attachment?.[0] ?? "",
      "attachments[1][filename]": "it.bin",
      authenticity_token: tokenIn(page),
    });
    contains(issue, "It is a trial");
    const link = /\/attachments\/download\/\d+\/it\.bin/.exec(issue)?.[0] ?? "";
    check((await visitor.ask(link)).bytes.equals(body), "an attachment comes back as it was sent");
  },
};

export const rubyApps: readonly RealApp[] = [redmine, rails, sinatra];
