# Prints what a mail reader of Perl sees in each message of a folder: one JSON
# object a part. Usage: perl_mime.pl MIME-tools|Email-MIME FOLDER
use strict;
use warnings;
use JSON::PP;
use MIME::Base64 ();
use MIME::Parser;
use Email::MIME;

my ($reader, $folder) = @ARGV;
my $json = JSON::PP->new->utf8->canonical;
$SIG{__WARN__} = sub { };

sub show {
    my ($file, $name, $type, $disposition, $content) = @_;
    $content = defined $content ? substr($content, 0, 2048) : '';
    utf8::encode($content) if utf8::is_utf8($content);
    print $json->encode({
        message => $file, name => $name // '', type => lc($type // ''),
        attached => lc($disposition // '') eq 'attachment' ? JSON::PP::true : JSON::PP::false,
        content => MIME::Base64::encode_base64($content, ''),
    }), "\n";
}

sub tools {
    my ($file, $entity) = @_;
    if (my @parts = $entity->parts) { tools($file, $_) for @parts; return }
    my $body = $entity->bodyhandle or return;
    my $disposition = $entity->head->mime_attr('content-disposition');
    show($file, $entity->head->recommended_filename, $entity->effective_type, $disposition, $body->as_string);
}

sub email_mime {
    my ($file, $part) = @_;
    my @parts = $part->subparts;
    if (!@parts && ($part->content_type // '') =~ m{^\s*message/rfc822}i) {
        email_mime($file, Email::MIME->new($part->body));
        return;
    }
    if (@parts) { email_mime($file, $_) for @parts; return }
    my ($type) = ($part->content_type // 'text/plain') =~ m{^\s*([^\s;]+)};
    my ($disposition) = ($part->header('Content-Disposition') // '') =~ m{^\s*([^\s;]+)};
    show($file, $part->filename, $type, $disposition, $part->body);
}

opendir my $dir, $folder or die "$folder: $!";
for my $file (sort grep { -f "$folder/$_" } readdir $dir) {
    open my $in, '<:raw', "$folder/$file" or die "$file: $!";
    my $octets = do { local $/; <$in> };
    eval {    # a reader that falls over shows nothing
        if ($reader eq 'MIME-tools') {
            my $parser = MIME::Parser->new;
            $parser->output_to_core(1);
            $parser->tmp_to_core(1);
            $parser->extract_nested_messages(1);
            $parser->extract_uuencode(1);
            tools($file, $parser->parse_data($octets));
        }
        else { email_mime($file, Email::MIME->new($octets)) }
    };
}
