#!/usr/bin/perl
# A loader for applications in Perl, as small as one can be: docs/applications.md says what a loader
# owes the server. Started as `perl loader.pl STARTUP_FILE` in the application's root. The startup
# file's value is a sub: it is given the request's variables and its body, and returns status,
# headers and body.
use strict;
use warnings;
use Fcntl qw(F_SETFD FD_CLOEXEC);

my $max_head_bytes = 128 * 1024;
my ($startup_file) = @ARGV;

open(my $listener, '+<&=', 3) or die "descriptor 3: $!";
open(my $lifeline, '+<&=', 4) or die "descriptor 4: $!";
# Programs that the application runs get neither.
fcntl($_, F_SETFD, FD_CLOEXEC) for $listener, $lifeline;

sub tell_server {
    my $payload = join('', map { "$_\0" } @_);
    syswrite($lifeline, pack('n/a*', $payload));
}

sub read_exactly {
    my ($session, $length) = @_;
    my $data = '';
    while (length($data) < $length) {
        my $room = $length - length($data);
        sysread($session, $data, $room, length($data)) or die "the client is gone\n";
    }
    return $data;
}

# A session is one request and one answer: the server's other loaders keep it for more, this one
# closes it, which is allowed where it is said.
sub serve {
    my ($session, $application) = @_;
    my $size = unpack('N', read_exactly($session, 4));
    die "headers of $size bytes\n" if $size > $max_head_bytes;
    my @parts = split(/\0/, read_exactly($session, $size), -1);
    pop @parts;
    die "a header lacks its value\n" if @parts % 2;
    my %variables = @parts;
    my $body = read_exactly($session, $variables{CONTENT_LENGTH} || 0);
    my ($status, $headers, $content) = eval { $application->(\%variables, $body) };
    if ($@) {
        print STDERR $@;
        ($status, $headers, $content) = ('500 Internal Server Error', [], "It failed.\n");
    }
    my %headers = ('content-length' => length($content), @$headers);
    # Whoever would send another request on it has to know.
    $headers{'connection'} = 'close' if $variables{SESSION_KEEP};
    my $head = join('', map { "$_: $headers{$_}\r\n" } sort keys %headers);
    $content = '' if $variables{REQUEST_METHOD} eq 'HEAD';
    syswrite($session, "Status: $status\r\n$head\r\n$content");
}

$| = 1; # Lines get to the log when they are written.
my $application = do "./$startup_file";
if (ref($application) ne 'CODE') {
    my $why = $@ || $! || 'its value is not a sub';
    tell_server('error_page');
    syswrite($lifeline, pack('N/a*', "$startup_file: $why"));
    exit 1;
}

my $is_leaving = 0;
$SIG{USR1} = sub { $is_leaving = 1 };
$SIG{PIPE} = 'IGNORE';
tell_server('ready', 1);
until ($is_leaving) {
    my $ready = '';
    vec($ready, $_, 1) = 1 for 3, 4;
    next if select($ready, undef, undef, undef) < 1;
    last if vec($ready, 4, 1); # The server never writes: this is the lifeline's end.
    accept(my $session, $listener) or next;
    eval { serve($session, $application) };
    print STDERR "a session failed: $@" if $@;
}
