#!/usr/bin/perl
# units.pl: stands in for systemd as process 1 of a machine of tests/install, where systemd itself can't run. It reads the unit
# files that are installed there, drop-ins included, and starts their own ExecStart lines: with the sockets of socket units
# (LISTEN_FDS), User=, Environment=, StateDirectory=, the read-only file system of ProtectSystem=strict, without capabilities where
# CapabilityBoundingSet= is empty. It restarts what Restart= says. `systemctl` beside it asks for its verbs over a Unix socket, one
# line each: VERB UNIT… The first line of the answer is the exit status, the others are for people.
# Units are one of a small set that this test installs: what is not understood is passed over, as systemd does.
use strict;
use warnings;
use Fcntl;
use IO::Handle;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX qw(:sys_wait_h setsid dup2);
use Socket qw(SOMAXCONN SOCK_STREAM);

my @FOLDERS = ((map { "$_/systemd/system" } qw(/etc /run)), '/run/systemd/generator', (map { "$_/systemd/system" } qw(/usr/local/lib /usr/lib)));
my $LOGS = '/var/log/units';
my (%units, %state);    # name → parsed unit; name → { active, pid, listeners, restart_at }
mkdir $LOGS;
mkdir '/run/systemd';
mkdir '/run/systemd/system';    # by this maintainer scripts know that systemd runs
$SIG{PIPE} = 'IGNORE';

# ---- unit files ----

sub files_of {
    my ($name) = @_;
    my $template = $name =~ s/@[^.]*\./@./r;
    my @files;
    for my $folder (@FOLDERS) {
        for my $file ("$folder/$name", "$folder/$template") {
            push @files, $file if !@files && -e $file;
        }
    }
    return () unless @files;
    for my $of ($template eq $name ? $name : ($template, $name)) {
        push @files, sort map { glob "$_/$of.d/*.conf" } @FOLDERS;
    }
    return @files;
}

sub load {
    my ($name) = @_;
    return $units{$name} if $units{$name};
    my @files = files_of($name) or return undef;
    my ($instance) = $name =~ /@([^.]*)\./;
    my %unit = (name => $name, instance => $instance // '');
    for my $file (@files) {
        my $section = '';
        open my $in, '<', $file or next;
        my @lines = split /\n/, join('', <$in>) =~ s/\\\n/ /gr;
        for my $line (@lines) {
            next if $line =~ /^\s*([#;]|$)/;
            if ($line =~ /^\[(\w+)\]/) { $section = $1; next }
            my ($key, $value) = $line =~ /^\s*(\w+)\s*=\s*(.*?)\s*$/ or next;
            if ($value eq '') { $unit{"$section.$key"} = [] }    # an empty value forgets the earlier ones
            else { push @{ $unit{"$section.$key"} }, $value }
        }
    }
    return $units{$name} = \%unit;
}

sub all { my ($unit, $key) = @_; return @{ $unit->{$key} // [] } }
sub words { return map { split ' ' } all(@_) }
sub one { my ($unit, $key, $default) = @_; my @all = all($unit, $key); return @all ? $all[-1] : $default }

sub expanded {
    my ($unit, $text) = @_;
    my $i = $unit->{instance};
    my $path = $i =~ s{-}{/}gr;
    my %means = (i => $i, I => $path, n => $unit->{name}, t => '/run', '%' => '%');
    return $text =~ s/%([iInt%])/$means{$1}/gr;
}

# ---- starting a process ----

# The words of a command line, with what stands before it (- for "may fail").
sub command_of {
    my ($unit, $line, $env) = @_;
    my ($prefix, $rest) = $line =~ /^([-\@:+!]*)(.*)$/;
    my @words;
    while ($rest =~ /\G\s*("((?:[^"\\]|\\.)*)"|'([^']*)'|(\S+))/g) {
        my $word = expanded($unit, defined $2 ? $2 : defined $3 ? $3 : $4);
        $word =~ s/\$\{(\w+)\}/$env->{$1} \/\/ ''/ge;
        if ($word =~ /^\$(\w+)$/) { push @words, split ' ', $env->{$1} // '' }
        else { push @words, $word }
    }
    return ($prefix, @words);
}

sub environment_of {
    my ($unit) = @_;
    my %env = (PATH => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG => 'C.UTF-8', INVOCATION_ID => $$);
    for my $line (all($unit, 'Service.Environment')) {
        while ($line =~ /\G\s*("((?:[^"\\]|\\.)*)"|(\S+))/g) {
            my ($name, $value) = split /=/, defined $2 ? $2 : $3, 2;
            $env{$name} = $value;
        }
    }
    for my $file (all($unit, 'Service.EnvironmentFile')) {
        open my $in, '<', $file =~ s/^-//r or next;
        $env{$1} = $2 while join('', <$in>) =~ /^(\w+)="?(.*?)"?$/mg;
    }
    return \%env;
}

# StateDirectory= and the like: made, and given to the user with all that is in it if the folder itself is another's.
sub make_folders {
    my ($unit, $uid, $gid) = @_;
    my %roots = (State => '/var/lib', Runtime => '/run', Logs => '/var/log', Cache => '/var/cache');
    for my $kind (keys %roots) {
        for my $name (words($unit, "Service.${kind}Directory")) {
            my $path = "$roots{$kind}/$name";
            system('mkdir', '-p', $path);
            chmod oct(one($unit, "Service.${kind}DirectoryMode", '0755')), $path;
            my @now = stat $path;
            system('chown', '-R', "$uid:$gid", $path) if $now[4] != $uid || $now[5] != $gid;
        }
    }
}

# The arguments that put a command into its sandbox: what systemd does by namespaces before it executes it.
sub sandbox_of {
    my ($unit) = @_;
    my @before;
    if (one($unit, 'Service.ProtectSystem', '') eq 'strict') {
        my @writable = (words($unit, 'Service.ReadWritePaths'), map { "/var/lib/$_" } words($unit, 'Service.StateDirectory'));
        my $script = 'for path in "$@"; do [ "$path" != -- ] || break; mount --bind "$path" "$path" || exit 226; done; '
          . 'mount -o remount,bind,ro / && mount -o remount,bind,ro /run || exit 226; '
          . (one($unit, 'Service.PrivateTmp', '') =~ /^(yes|true)$/ ? 'mount -t tmpfs none /tmp; ' : '')
          . 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"';
        @before = ('unshare', '--mount', '--propagation', 'private', '--', 'sh', '-c', $script, 'sandbox', @writable, '--');
    }
    my @setpriv;
    my $user = one($unit, 'Service.User');
    $user = 'nobody' if one($unit, 'Service.DynamicUser', '') eq 'yes';
    push @setpriv, '--reuid', $user, '--regid', one($unit, 'Service.Group', scalar getgrgid((getpwnam $user)[3])), '--init-groups' if $user;
    push @setpriv, '--no-new-privs' if one($unit, 'Service.NoNewPrivileges', '') eq 'yes';
    push @setpriv, '--bounding-set', '-all' if exists $unit->{'Service.CapabilityBoundingSet'} && !all($unit, 'Service.CapabilityBoundingSet');
    push @before, 'setpriv', @setpriv, '--' if @setpriv;
    return @before;
}

sub spawn {
    my ($unit, $line, @listeners) = @_;
    my $env = environment_of($unit);
    $env->{MAINPID} = main_pid($unit->{name}) // '';
    my ($prefix, @command) = command_of($unit, $line, $env);
    my $user = one($unit, 'Service.User', 'root');
    my (undef, undef, $uid, $gid) = getpwnam $user;
    my $pid = fork;
    return ($prefix, $pid) if $pid;
    setsid();
    $SIG{PIPE} = $SIG{CHLD} = 'DEFAULT';
    open STDIN, '<', '/dev/null';
    open STDOUT, '>>', "$LOGS/$unit->{name}.log";
    STDOUT->autoflush(1);
    open STDERR, '>&', \*STDOUT;
    if (!defined $uid) { print "no such user: $user\n"; POSIX::_exit(217) }
    make_folders($unit, $uid, $gid);
    umask oct one($unit, 'Service.UMask', '0022');
    chdir one($unit, 'Service.WorkingDirectory', '/');
    if (@listeners) {    # out of the way first, then to 3, 4, …
        my @high = map { fcntl($_, F_DUPFD, 100) } @listeners;
        dup2($high[$_], 3 + $_) for 0 .. $#high;
        POSIX::close($_) for @high;
        $env->{LISTEN_FDS} = @listeners;
        $env->{LISTEN_PID} = $$;
    }
    %ENV = %$env;
    my @all = (sandbox_of($unit), @command);
    { no warnings; exec { $all[0] } @all }
    print "can't execute $all[0]: $!\n";
    POSIX::_exit(203);
}

sub run_to_end {
    my ($unit, $line) = @_;
    my ($prefix, $pid) = spawn($unit, $line);
    waitpid $pid, 0;
    return $prefix =~ /-/ || $? == 0;
}

# ---- units ----

sub main_pid {
    my ($name) = @_;
    my $file = one($units{$name}, 'Service.PIDFile');
    return $state{$name}{pid} if $state{$name}{pid};
    return undef unless $file;
    open my $in, '<', expanded($units{$name}, $file) or return undef;
    my $text = join '', <$in>;
    return $text =~ /^(\d+)/ && kill(0, $1) ? $1 : undef;
}

sub sockets_of {    # the active socket units of a service, in the order of their names
    my ($service) = @_;
    return grep { $state{$_}{active} && service_of($_) eq $service } sort grep { /\.socket$/ } keys %state;
}

sub service_of {
    my ($socket) = @_;
    return one($units{$socket}, 'Socket.Service', $socket =~ s/\.socket$/.service/r);
}

sub start_socket {
    my ($unit) = @_;
    my $name = $unit->{name};
    return "service " . service_of($name) . " is active already, refusing" if $state{ service_of($name) }{active};
    my @listeners;
    for my $address (all($unit, 'Socket.ListenStream')) {
        my $socket;
        if ($address =~ m{^/}) {
            unlink $address;
            system('mkdir', '-p', $address =~ s{/[^/]*$}{}r);
            umask(0777 & ~oct(one($unit, 'Socket.SocketMode', '0666')));
            $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => $address, Listen => SOMAXCONN);
            umask 022;
            my $uid = getpwnam one($unit, 'Socket.SocketUser', 'root');
            my $gid = getgrnam one($unit, 'Socket.SocketGroup', 'root');
            return "no such SocketUser= or SocketGroup=" unless defined $uid && defined $gid;
            chown $uid, $gid, $address;
        } else {
            $socket = IO::Socket::INET->new(LocalAddr => $address, Proto => 'tcp', Listen => SOMAXCONN, ReuseAddr => 1);
        }
        return "can't listen on $address: $!" unless $socket;
        $socket->blocking(1);
        push @listeners, $socket;
    }
    $state{$name}{listeners} = \@listeners;
    $state{$name}{active} = 1;
    return '';
}

sub start_service {
    my ($unit) = @_;
    my $name = $unit->{name};
    my $type = one($unit, 'Service.Type', 'simple');
    run_to_end($unit, $_) or return 'ExecStartPre= failed' for all($unit, 'Service.ExecStartPre');
    for my $line (all($unit, 'Service.ExecStart')) {
        my @listeners = map { @{ $state{$_}{listeners} } } sockets_of($name);
        if ($type eq 'oneshot' || $type eq 'forking') { run_to_end($unit, $line) or return 'ExecStart= failed' }
        else { (undef, $state{$name}{pid}) = spawn($unit, $line, @listeners) }
    }
    run_to_end($unit, $_) for all($unit, 'Service.ExecStartPost');
    $state{$name}{active} = $type ne 'oneshot' || one($unit, 'Service.RemainAfterExit', 'no') =~ /^(on|yes|true|1)$/;
    return '';
}

sub pulled_in {    # Requires=, Wants= and the links of enabled units
    my ($unit) = @_;
    return (words($unit, 'Unit.Requires'), words($unit, 'Unit.Wants'), map { s{.*/}{}r } map { glob "$_/$unit->{name}.wants/*" } @FOLDERS);
}

sub start {
    my ($name, $depth) = @_;
    my $unit = load($name) or return "Unit $name not found.";
    return '' if ($depth // 0) > 4;
    for my $path (all($unit, 'Unit.ConditionPathExists')) {
        my ($not, $file) = $path =~ /^(!?)(.*)/;
        return '' if !-e $file != !!$not;    # a condition that does not hold is no failure
    }
    for my $other (pulled_in($unit)) {
        next if $other =~ /\.(target|slice|mount|timer)$|^(systemd-|getty|e2scrub|cron|networking)/;    # nothing for here
        my $problem = start($other, ($depth // 0) + 1);
        return $problem if $problem && grep { $_ eq $other } words($unit, 'Unit.Requires');
    }
    return '' if $name =~ /\.(target|timer|path)$/ || $state{$name}{active};
    my $problem = $name =~ /\.socket$/ ? start_socket($unit) : start_service($unit);
    return $problem && "Job for $name failed: $problem; see $LOGS/$name.log";
}

sub stop {
    my ($name) = @_;
    my $unit = load($name) or return "Unit $name not loaded.";
    my $s = $state{$name} //= {};
    delete $s->{restart_at};
    if ($name =~ /\.socket$/) {
        for my $socket (@{ $s->{listeners} // [] }) {
            my $path = $socket->isa('IO::Socket::UNIX') ? $socket->hostpath : undef;
            close $socket;
            unlink $path if $path && one($unit, 'Socket.RemoveOnStop', 'no') eq 'yes';
        }
        $s->{listeners} = [];
    } elsif ($s->{active}) {
        $s->{active} = 0;
        run_to_end($unit, $_) for all($unit, 'Service.ExecStop');
        my $pid = main_pid($name);
        if ($pid) {
            kill 'TERM', $pid;
            for (1 .. 200) { last unless kill(0, $pid); waitpid($pid, WNOHANG); select undef, undef, undef, 0.1 if kill(0, $pid) }
            kill 'KILL', $pid if kill 0, $pid;
            waitpid $pid, 0 if $s->{pid};
        }
        delete $s->{pid};
    }
    $s->{active} = 0;
    return '';
}

# Units whose PartOf= or ReloadPropagatedFrom= names this one.
sub follow {
    my ($key, $of) = @_;
    return grep { $state{$_}{active} && grep { $_ eq $of } words($units{$_}, "Unit.$key") } sort keys %units;
}

sub reload {
    my ($name) = @_;
    my $unit = load($name) or return "Unit $name not found.";
    return "$name is not active, cannot reload." unless $state{$name}{active};
    for my $each ($name, follow('ReloadPropagatedFrom', $name)) {
        my @lines = all($units{$each}, 'Service.ExecReload') or return "Job type reload is not applicable for unit $each.";
        run_to_end($units{$each}, $_) or return "reload of $each failed; see $LOGS/$each.log" for @lines;
    }
    return '';
}

sub restart {
    my ($name) = @_;
    load($name) or return "Unit $name not found.";
    my @too = follow('PartOf', $name);
    stop($_) for @too, $name;
    my $problem = '';
    $problem ||= start($_) for $name, @too;
    return $problem;
}

sub generate {    # the units that PostgreSQL's clusters get
    my $generator = '/usr/lib/systemd/system-generators/postgresql-generator';
    my @into = map { "/run/systemd/generator$_" } '', '.early', '.late';
    system('rm', '-rf', @into);
    system('mkdir', '-p', @into);
    system($generator, @into) if -x $generator;
}

sub asked {
    my ($verb, @names) = @_;
    my ($status, @text) = (0);
    @names = map { /\.(service|socket|target|timer|path)$/ ? $_ : "$_.service" } @names;
    if ($verb eq 'daemon-reload') { %units = map { $_ => $units{$_} } grep { 0 } (); generate(); load($_) for keys %state; return (0) }
    if ($verb eq 'boot') { generate(); start($_) for 'sockets.target', 'multi-user.target'; return (0) }
    for my $name (@names) {
        my $active = $state{$name}{active};
        my $problem = '';
        if ($verb eq 'is-active') { push @text, $active ? 'active' : 'inactive'; $status = 3 unless $active; next }
        elsif ($verb eq 'status') { push @text, "$name: " . ($active ? 'active' : 'inactive'); $status = 3 unless $active; next }
        elsif ($verb eq 'start') { $problem = start($name) }
        elsif ($verb eq 'stop') { stop($_) for follow('PartOf', $name); $problem = stop($name) }
        elsif ($verb eq 'restart') { $problem = restart($name) }
        elsif ($verb eq 'try-restart') { $problem = restart($name) if $active }
        elsif ($verb eq 'reload') { $problem = reload($name) }
        elsif ($verb =~ /^(try-)?reload-or-(try-)?restart$/) {
            $problem = $active && all(load($name), 'Service.ExecReload') ? reload($name) : $active || $verb eq 'reload-or-restart' ? restart($name) : '';
        } elsif ($verb eq 'reset-failed') { }
        else { return (1, "units.pl does not know the verb $verb") }
        if ($problem) { $status = 1; push @text, $problem }
    }
    return ($status, @text);
}

# ---- the loop ----

sub reap {
    while ((my $pid = waitpid -1, WNOHANG) > 0) {
        my ($status, $at) = ($?, time);
        for my $name (grep { ($state{$_}{pid} // 0) == $pid } keys %state) {
            my $s = $state{$name};
            delete $s->{pid};
            $s->{active} = 0;
            open my $log, '>>', "$LOGS/$name.log";
            print $log "units.pl: main process ended, status $status\n";
            my $restart = one($units{$name}, 'Service.Restart', 'no');
            $s->{restart_at} = $at + one($units{$name}, 'Service.RestartSec', 1)
              if $restart eq 'always' || ($restart =~ /^on-/ && $status != 0);
        }
    }
}

unlink '/run/systemd/units.sock';
my $control = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => '/run/systemd/units.sock', Listen => 16) or die "units.sock: $!";
system('systemd-tmpfiles', '--create', '--boot', '--exclude-prefix=/dev', '--exclude-prefix=/proc', '--exclude-prefix=/sys') if $ENV{BOOT};
asked('boot') if $ENV{BOOT};
print "ready\n";
STDOUT->flush;
while (1) {
    my $wait = IO::Select->new($control);
    my %activates;
    for my $name (grep { /\.socket$/ && $state{$_}{active} } keys %state) {
        my $service = service_of($name);
        next if $state{$service}{active} || $state{$service}{restart_at};
        for my $socket (@{ $state{$name}{listeners} }) { $wait->add($socket); $activates{ fileno $socket } = $service }
    }
    for my $ready ($wait->can_read(0.1)) {
        if ($ready != $control) { start($activates{ fileno $ready }); next }
        my $client = $control->accept or next;
        my $line = <$client> // '';
        my ($status, @text) = asked(split ' ', $line);
        print $client join("\n", $status, @text), "\n";
        close $client;
    }
    reap();
    for my $name (grep { $state{$_}{restart_at} && $state{$_}{restart_at} <= time } keys %state) {
        delete $state{$name}{restart_at};
        start($name);
    }
}
