# The loader of rack applications:
# `ruby loader.rb instance|preloader STARTUP_FILE [name=value ...] [-- ARGUMENTS]`, in the
# application's root, or anywhere with the setting `root`; `threads` says how many an instance has.
# It serves sessions on descriptor 3 and speaks on its lifeline, descriptor 4 (PROTOCOL section 10);
# a preloader loads the code once and forks instances.
#
# Nothing here may require a library before the application's Bundler has had its say: also parts
# of the standard library are gems, and the first version that is loaded stays.
# frozen_string_literal: true

require_relative "application"
require_relative "failure"
require_relative "lifeline"

module RackLoader
  # No variable of ours may be at the top level: config.ru would share it, and so would all its
  # requests.
  def self.start
    mode, startup_file = ARGV.shift(2)
    words = ARGV.take_while { |argument| argument != "--" }
    ARGV.shift(words.length + 1) # What is left is the application's.
    settings = words.to_h { |word| word.split("=", 2) }
    prepare
    lifeline = Lifeline.new(4)
    # From the first moment: a server that is gone takes with it what it was still starting.
    lifeline.watch { exit!(1) }
    app = load_application(settings["root"] || Dir.pwd, startup_file, lifeline)
    run(mode, app, lifeline, settings.fetch("threads", 1).to_i)
  end

  def self.prepare
    $stdout.sync = true
    return unless Encoding.default_external == Encoding::US_ASCII

    # A server that is started at boot has no locale; Ruby would take files for ASCII.
    Encoding.default_external = Encoding::UTF_8
  end

  def self.load_application(root, startup_file, lifeline)
    Application.load(root, startup_file)
  rescue SignalException
    raise
  rescue Exception => e # rubocop:disable Lint/RescueException
    text = Failure.while_loading(e)
    warn text
    lifeline.tell_failure(text)
    exit!(1)
  end

  def self.run(mode, app, lifeline, threads)
    Process.setproctitle("rack: #{Dir.pwd}")
    if mode == "preloader"
      require_relative "preloader"
      Preloader.new(app, lifeline, threads).run
    else
      require_relative "instance"
      Instance.of(threads).new(app, 3, lifeline, threads).run
    end
  end
  private_class_method :prepare, :load_application, :run
end

RackLoader.start
