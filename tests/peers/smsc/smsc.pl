#!/usr/bin/perl
# An SMSC on Net::SMPP (Debian's libnet-smpp-perl), which shares nothing with the SMPP library of the daemon.
#
# Listens on a free port of loopback, which it prints. Takes binds with the password it is given, one session
# after the other, throttles the first submission, takes all others, and sends for each a receipt that has the
# message id in decimal where the answer had it in hex. What it read is a line of JSON each.
use strict;
use warnings;
use JSON::PP;
use Net::SMPP;

my ($password) = @ARGV;
my $json = JSON::PP->new->canonical;
$| = 1;
$SIG{PIPE} = "IGNORE";

my $listener = Net::SMPP->new_listen('127.0.0.1', port => 0, smpp_version => 0x34) or die "listen: $!";
print $listener->sockport, "\n";
my $taken = 0;
while (my $session = $listener->accept) {
    serve($session);
    close $session;
}

sub serve {
    my ($session) = @_;
    while (my $pdu = $session->read_pdu) {
        report($pdu);
        my $answer = { seq => $pdu->{seq} };
        my $command = $pdu->{cmd};
        if (my $respond = bind_answer($command)) {
            my $taken_in = $pdu->{password} eq $password;
            $session->$respond(%$answer, system_id => 'perl', status => $taken_in ? 0 : 0x0E);
            return if !$taken_in;
            $session->enquire_link(async => 1) if $command != Net::SMPP::CMD_bind_transmitter;
        }
        elsif ($command == Net::SMPP::CMD_submit_sm) {
            if ($taken++ == 0) {
                $session->submit_sm_resp(%$answer, message_id => '', status => 0x58);
                next;
            }
            my $number = 0xA0000000 + $taken;
            $session->submit_sm_resp(%$answer, message_id => sprintf('%08X', $number));
            $session->deliver_sm(
                async => 1, source_addr => $pdu->{destination_addr}, destination_addr => $pdu->{source_addr},
                esm_class => 0x04,
                short_message => "id:$number sub:001 dlvrd:001 submit date:2611231200 done date:2611231201 "
                    . "stat:DELIVRD err:000 text:");
        }
        elsif ($command == Net::SMPP::CMD_enquire_link) { $session->enquire_link_resp(%$answer) }
        elsif ($command == Net::SMPP::CMD_unbind) { $session->unbind_resp(%$answer); return }
    }
}

sub bind_answer {
    my ($command) = @_;
    return 'bind_transceiver_resp' if $command == Net::SMPP::CMD_bind_transceiver;
    return 'bind_transmitter_resp' if $command == Net::SMPP::CMD_bind_transmitter;
    return 'bind_receiver_resp' if $command == Net::SMPP::CMD_bind_receiver;
    return '';
}

sub report {
    my ($pdu) = @_;
    my %said = map { $_ => $pdu->{$_} } grep { defined $pdu->{$_} && !ref $pdu->{$_} } keys %$pdu;
    # Octets, not characters.
    $said{$_} = unpack 'H*', $said{$_} // '' for qw(data short_message);
    print $json->encode(\%said), "\n";
}
