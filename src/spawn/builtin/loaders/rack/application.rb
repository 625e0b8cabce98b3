# Loads a rack application as `bundle exec rackup` would: its own Bundler first, then the rack of
# its bundle, then config.ru.
# frozen_string_literal: true

module RackLoader
  module Application
    # What Rack::Utils brings of the library. Ruby's servers have it loaded, and there are programs
    # that rely on that (Rack::Lint does); but it takes as long as a third of Ruby's own start. So
    # it is loaded when such a program looks for it. Not by `autoload`, which breaks for those who
    # require a part of it first ("uri/generic").
    module BroughtByUtils
      LIBRARIES = {
        URI: "uri", FileUtils: "fileutils", Set: "set", Tempfile: "tempfile"
      }.freeze

      def const_missing(name)
        library = LIBRARIES[name]
        library && require(library) && Object.const_defined?(name) ? Object.const_get(name) : super
      end
    end

    # The application, something that responds to `call`. Raises whatever loading it raises.
    def self.load(root, startup_file)
      set_up_bundler(root)
      need("rack", "Rack is not installed for #{RUBY_DESCRIPTION}, or not in the Gemfile")
      Module.prepend(BroughtByUtils)
      require "time" # It has methods alone, which cannot wait for their first use.
      loaded = Rack::Builder.parse_file(File.expand_path(startup_file, root))
      app = loaded.is_a?(Array) ? loaded.first : loaded # Rack 2 adds options.
      return app if app.respond_to?(:call)

      raise TypeError, "#{startup_file} runs #{app.class}, which has no method `call`"
    end

    # Only the application's own Gemfile, or what BUNDLE_GEMFILE names: one in a directory above it
    # may be anybody's.
    def self.set_up_bundler(root)
      if ENV["BUNDLE_GEMFILE"].to_s.empty?
        own = %w[gems.rb Gemfile].find { |name| File.exist?(File.join(root, name)) } or return
        # Bundler looks for it from the working directory on.
        ENV["BUNDLE_GEMFILE"] = File.join(root, own) unless root == Dir.pwd
      end
      need("bundler/setup", "there is a Gemfile, but no Bundler for #{RUBY_DESCRIPTION}")
    end
    private_class_method :set_up_bundler

    def self.need(library, otherwise)
      require library
    rescue LoadError => e
      raise unless e.path == library

      raise LoadError, otherwise
    end
    private_class_method :need
  end
end
