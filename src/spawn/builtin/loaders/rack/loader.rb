# The loader of rack applications:
# `ruby loader.rb instance|preloader STARTUP_FILE [name=value ...] [-- ARGUMENTS]`, in the
# application's root, or anywhere with the setting `root`. An instance serves sessions on descriptor
# 3 and speaks on its lifeline, descriptor 4 (PROTOCOL section 10); a preloader loads the code once
# and forks instances.
#
# Nothing here may require a library before the application's Bundler has had its say: also parts
# of the standard library are gems, and the first version that is loaded stays.
# frozen_string_literal: true

require_relative "application"
require_relative "failure"
require_relative "lifeline"

mode, startup_file = ARGV.shift(2)
settings = ARGV.take_while { |argument| argument != "--" }
ARGV.shift(settings.length + 1) # What is left is the application's.
root = settings.to_h { |setting| setting.split("=", 2) }["root"] || Dir.pwd
$stdout.sync = true
# A server that is started at boot has no locale; Ruby would take files for ASCII.
Encoding.default_external = Encoding::UTF_8 if Encoding.default_external == Encoding::US_ASCII

lifeline = RackLoader::Lifeline.new(4)
# From the first moment: a server that is gone takes with it what it was still starting.
lifeline.watch { exit!(1) }

begin
  app = RackLoader::Application.load(root, startup_file)
rescue SignalException
  raise
rescue Exception => e # rubocop:disable Lint/RescueException
  text = RackLoader::Failure.while_loading(e)
  warn text
  lifeline.tell_failure(text)
  exit!(1)
end

Process.setproctitle("rack: #{Dir.pwd}")
if mode == "preloader"
  require_relative "preloader"
  RackLoader::Preloader.new(app, lifeline).run
else
  require_relative "instance"
  RackLoader::Instance.new(app, 3, lifeline).run
end
