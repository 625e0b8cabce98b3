# Errors as text that a developer can act on: class, message, backtrace, and what caused it. It is
# shown on the page for a failed start and in the log. Bounded, and always UTF-8.
# frozen_string_literal: true

module RackLoader
  module Failure
    MAX_FRAMES = 60
    MAX_MESSAGE_CHARACTERS = 8_000
    MAX_CAUSES = 10

    # Why the application could not be loaded.
    def self.while_loading(error)
      return text(error) unless error.is_a?(SystemExit)

      why = error.message == "exit" ? "" : ": #{clean(error.message)}"
      "The application called exit with status #{error.status} while it was loaded#{why}\n" \
        "#{frames(error.backtrace)}"
    end

    # Writes what these threads are doing just now to standard error, past `$stderr`, for whose
    # lock one of them may be waiting. Those that only wait for work are left out.
    # @param serving says of a thread which request it serves; nil: none.
    def self.tell_stacks(threads, serving)
      told = threads.map { |thread| stack(thread, serving&.call(thread)) }
      IO.for_fd(2, "wb", autoclose: false).syswrite(told.join)
    rescue SystemCallError
      nil # The application has closed it.
    end

    def self.stack(thread, request)
      lines = frames(thread.backtrace)
      return "" if lines.empty? && request.nil?

      name = clean(thread.name || thread.inspect)
      "stack of thread #{name}#{", serving #{request}" if request}:\n#{lines}"
    end
    private_class_method :stack

    # One error and its causes.
    def self.text(error)
      parts = []
      while error && parts.length < MAX_CAUSES
        parts << "#{error.class}: #{message(error)}#{denied(error)}\n#{frames(error.backtrace)}"
        error = error.cause
      end
      parts.join("Caused by ")
    end

    # With what Ruby itself has to add to it, such as a suggestion for a misspelt name.
    def self.message(error)
      said = error.message
      if error.respond_to?(:detailed_message) # Ruby 3.2
        said = error.detailed_message(highlight: false).sub(" (#{error.class})", "")
      end
      clean(said)
    rescue StandardError => e
      "(its message cannot be told: #{e.is_a?(SystemCallError) ? clean(e.inspect) : e.class})"
    end
    private_class_method :message

    # To Ruby a file that it may not read is not there.
    def self.denied(error)
      return unless error.is_a?(LoadError) && error.path

      files = [error.path, "#{error.path}.rb"].select { |path| File.file?(path) }
      file = files.find { |path| !File.readable?(path) }
      ": EACCES on #{clean(file)}" if file
    end
    private_class_method :denied

    def self.clean(text)
      utf8 = text.to_s.dup.force_encoding(Encoding::UTF_8).scrub("?")
      utf8.length > MAX_MESSAGE_CHARACTERS ? "#{utf8[0, MAX_MESSAGE_CHARACTERS]}…" : utf8
    end
    private_class_method :clean

    # Where it came from, without the loader that called it all.
    def self.frames(backtrace)
      all = backtrace.to_a.dup
      all.pop while all.last&.start_with?("#{__dir__}/")
      shown = all.first(MAX_FRAMES).map { |frame| "    #{clean(frame)}\n" }
      shown << "    … #{all.length - MAX_FRAMES} more\n" if all.length > MAX_FRAMES
      shown.join
    end
    private_class_method :frames
  end
end
