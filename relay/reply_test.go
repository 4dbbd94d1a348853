package relay

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"mailweir/mail"
)

func readOne(src io.Reader) (mail.Reply, *replyReader, error) {
	var rr replyReader
	rr.reset(src)
	var rep reply
	if err := rr.read(&rep); err != nil {
		return mail.Reply{}, &rr, err
	}
	return rep.value(), &rr, nil
}

func TestReadReply(t *testing.T) {
	long := strings.Repeat("x", 600)
	for _, c := range []struct {
		in   string
		want mail.Reply
		err  error
	}{
		{"250 Ok\r\n", mail.Reply{Code: 250, Text: "Ok"}, nil},
		{"250 2.1.5 Ok\r\n", mail.Reply{Code: 250, Enhanced: mail.EnhancedCode{2, 1, 5}, Text: "Ok"}, nil},
		{"250\r\n", mail.Reply{Code: 250}, nil},
		{"250 \r\n", mail.Reply{Code: 250}, nil},
		{"250 2.0.0\r\n", mail.Reply{Code: 250, Enhanced: mail.EnhancedCode{2, 0, 0}}, nil},
		{"550-5.7.1 One\r\n550-5.7.1 Two\r\n550 5.7.1 Three\r\n", mail.Reply{Code: 550, Enhanced: mail.EnhancedCode{5, 7, 1}, Text: "One\nTwo\nThree"}, nil},
		{"250-One\r\n250-\r\n250 Three\r\n", mail.Reply{Code: 250, Text: "One\n\nThree"}, nil},
		{"450 4.123.999 x\r\n", mail.Reply{Code: 450, Enhanced: mail.EnhancedCode{4, 123, 999}, Text: "x"}, nil},
		{"450 5.1.1 x\r\n", mail.Reply{Code: 450, Text: "5.1.1 x"}, nil}, // of another class: no enhanced code (RFC 2034 section 4)
		{"450 4.1 x\r\n", mail.Reply{Code: 450, Text: "4.1 x"}, nil},
		{"450 4.1.1234 x\r\n", mail.Reply{Code: 450, Text: "4.1.1234 x"}, nil},
		{"450 4.1.1x\r\n", mail.Reply{Code: 450, Text: "4.1.1x"}, nil},
		{"250-Ok\r\n550 5.0.0 No\r\n", mail.Reply{Code: 550, Enhanced: mail.EnhancedCode{5, 0, 0}, Text: "Ok\nNo"}, nil},
		{"250 bare LF\n", mail.Reply{Code: 250, Text: "bare LF"}, nil},
		{"550 \x1b[31mred\x00\t\xff\x7f\r\r\n", mail.Reply{Code: 550, Text: "?[31mred? ???"}, nil},
		{"550 " + long + "\r\n", mail.Reply{Code: 550, Text: long[:maxReplyLine-4]}, nil},
		{"550 " + strings.Repeat("x", 10_000) + "\r\n", mail.Reply{Code: 550, Text: strings.Repeat("x", maxReplyLine-4)}, nil},
		{"", mail.Reply{}, io.EOF},
		{"250 Ok", mail.Reply{}, io.EOF},
		{"250-Ok\r\n", mail.Reply{}, io.EOF},
		{"\r\n", mail.Reply{}, errReplySyntax},
		{"25 Ok\r\n", mail.Reply{}, errReplySyntax},
		{"250Ok\r\n", mail.Reply{}, errReplySyntax},
		{"150 Ok\r\n", mail.Reply{}, errReplySyntax},
		{"650 Ok\r\n", mail.Reply{}, errReplySyntax},
		{"2x0 Ok\r\n", mail.Reply{}, errReplySyntax},
		{" 250 Ok\r\n", mail.Reply{}, errReplySyntax},
		{strings.Repeat("250-more\r\n", 10_000), mail.Reply{}, errReplyLength},
		{"250 " + strings.Repeat("x", 100_000), mail.Reply{}, errReplyLength},
	} {
		for name, src := range map[string]io.Reader{"whole": strings.NewReader(c.in), "by octets": iotest.OneByteReader(strings.NewReader(c.in))} {
			got, _, err := readOne(src)
			if got != c.want || err != c.err {
				t.Errorf("%s %.60q:\ngot  %.100v %v\nwant %.100v %v", name, c.in, got, err, c.want, c.err)
			}
		}
	}
	many := strings.Repeat("250-"+long+"\r\n", 60) + "250 End\r\n"
	if got, _, err := readOne(strings.NewReader(many)); err != nil || len(got.Text) > maxReplyText || len(got.Text) < maxReplyText-maxReplyLine {
		t.Errorf("%d octets kept of a long reply, %v", len(got.Text), err)
	}
}

// However it arrives a reply is the same, is bounded, holds nothing that harms
// a log, and leaves what follows it alone.
func FuzzReadReply(f *testing.F) {
	f.Add([]byte("250-2.0.0 a\r\n250 2.0.0 b\r\n354 next\r\n"))
	f.Add([]byte("550 \xff\x00\x1b\n"))
	f.Add([]byte("250-" + strings.Repeat("x", 5000) + "\r\n250 y\r\n"))
	f.Add([]byte("220"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rep, rr, err := readOne(bytes.NewReader(data))
		slow, _, slowErr := readOne(iotest.HalfReader(iotest.OneByteReader(bytes.NewReader(data))))
		if rep != slow || err != slowErr {
			t.Fatalf("%v %v in one piece, %v %v by octets", rep, err, slow, slowErr)
		}
		if err != nil {
			return
		}
		if rep.Code < 200 || rep.Code > 599 || len(rep.Text) > maxReplyText || !utf8.ValidString(rep.Text) {
			t.Fatalf("%d, %d octets", rep.Code, len(rep.Text))
		}
		if i := strings.IndexFunc(rep.Text, func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f }); i >= 0 {
			t.Fatalf("control character in %q", rep.Text)
		}
		if n := rr.buffered(); n > 0 && !bytes.HasSuffix(data[:len(data)-unread(rr, data)], []byte("\n")) {
			t.Fatalf("the reply ended inside of a line")
		}
		_ = rep.String()
	})
}

// unread is how much of data was not part of the reply.
func unread(rr *replyReader, data []byte) int {
	rest, _ := io.ReadAll(rr.src)
	return rr.buffered() + len(rest)
}

func TestReadReplyDoesNotAllocate(t *testing.T) {
	in := bytes.Repeat([]byte("250 2.1.0 Sender ok\r\n250-2.1.5 Two\r\n250 2.1.5 lines\r\n"), 100)
	src := bytes.NewReader(in)
	var rr replyReader
	rr.reset(src)
	var rep reply
	if n := testing.AllocsPerRun(100, func() {
		if src.Len() == 0 && rr.buffered() == 0 {
			src.Reset(in)
		}
		if err := rr.read(&rep); err != nil || !rep.positive() {
			t.Fatal(rep, err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a reply", n)
	}
}

func FuzzExtensions(f *testing.F) {
	f.Add([]byte("host\nSIZE 1000\nPIPELINING\nLIMITS RCPTMAX=5 MAILMAX=2\nCHUNKING"))
	f.Add([]byte("host\nSIZE 99999999999999999999\nLIMITS =\nLIMITS RCPTMAX=-1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		e := parseExtensions(text)
		if e.maxSize < 0 || e.maxMail < 0 || e.maxRcpt < 0 || e.maxSize > 0 && !e.size {
			t.Fatalf("%+v", e)
		}
	})
}

func TestExtensions(t *testing.T) {
	got := parseExtensions([]byte("PIPELINING is not the first line\npipelining\nChunking\nSIZE 52428800\n8BITMIME\nSMTPUTF8\nDSN\nSTARTTLS\nLIMITS MAILMAX=20 RCPTMAX=50 X\nX-OTHER a b"))
	want := extensions{pipelining: true, chunking: true, eightBit: true, utf8: true, dsn: true, startTLS: true, size: true, maxSize: 52428800, maxMail: 20, maxRcpt: 50}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := parseExtensions([]byte("PIPELINING")); got != (extensions{}) {
		t.Errorf("greeting taken for a keyword: %+v", got)
	}
}

func TestClassify(t *testing.T) {
	for code, want := range map[int]mail.Result{
		250: mail.Relayed, 251: mail.Relayed, 252: mail.Relayed,
		421: mail.Deferred, 450: mail.Deferred, 452: mail.Deferred, 499: mail.Deferred,
		500: mail.Failed, 550: mail.Failed, 554: mail.Failed, 599: mail.Failed,
		0: mail.Deferred, 354: mail.Deferred, 100: mail.Deferred, 600: mail.Deferred,
	} {
		if got := classify(mail.Reply{Code: code}); got != want {
			t.Errorf("%d is %s, want %s", code, got, want)
		}
	}
}

func TestTooMany(t *testing.T) {
	for line, want := range map[string]bool{
		"452 4.5.3 Too many recipients":   true,
		"452 Too many recipients":         true,
		"452 4.3.1 Insufficient storage":  false,
		"452 4.2.2 Mailbox full":          false,
		"552 5.5.3 Too many recipients":   true,
		"552 Too many recipients":         true,
		"552 5.2.2 Mailbox full":          false,
		"450 4.5.3 Something like it":     false,
		"550 5.5.3 Too many, permanently": false,
	} {
		var rr replyReader
		rr.reset(strings.NewReader(line + "\r\n"))
		var rep reply
		if err := rr.read(&rep); err != nil || tooMany(&rep) != want {
			t.Errorf("%q: %v, %v", line, tooMany(&rep), err)
		}
	}
}
