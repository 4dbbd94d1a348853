# Oracle for the differential tests: reads one JSON object a line and answers
# with one, using the Debian package libmail-dkim-perl.
#   {"op":"verify","message":BASE64,"zone":{NAME:TXT}} -> {"results":["pass",...]}
#   {"op":"arc","message":BASE64,"zone":{NAME:TXT}}    -> {"result":"pass","detail":TEXT}
use strict;
use warnings;
use JSON::PP;
use MIME::Base64;
use Mail::DKIM::Verifier;
use Mail::DKIM::ARC::Verifier;

my %zone;

{
    no warnings 'redefine';
    *Mail::DKIM::DNS::query = sub {
        my ($name) = @_;
        my $txt = $zone{ lc $name };
        return defined $txt ? ( bless { txt => $txt }, 'Record' ) : ();
    };
}
{
    package Record;
    sub type { 'TXT' }
    sub txtdata { $_[0]{txt} }
    sub char_str_list { $_[0]{txt} }
}

sub feed {
    my ( $verifier, $message ) = @_;
    $verifier->PRINT($message);
    $verifier->CLOSE;
    return $verifier;
}

$| = 1;
while ( my $line = <STDIN> ) {
    my $req = decode_json($line);
    %zone = %{ $req->{zone} };
    my $message = decode_base64( $req->{message} );
    my $answer  = eval {
        local $SIG{ALRM} = sub { die "no end\n" };    # some broken chains make it loop
        alarm 5;
        if ( $req->{op} eq 'arc' ) {
            my $v = feed( Mail::DKIM::ARC::Verifier->new( Strict => 1 ), $message );
            +{ result => $v->result, detail => $v->result_detail };
        }
        else {
            my $v = feed( Mail::DKIM::Verifier->new, $message );
            +{ results => [ map { $_->result || 'none' } $v->signatures ] };
        }
    } || { crashed => "$@" };
    print encode_json($answer), "\n";
}
