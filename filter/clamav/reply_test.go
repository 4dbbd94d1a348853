package clamav

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseReply(t *testing.T) {
	for _, tt := range []struct {
		reply     string
		clean     bool
		signature string
		err       error
	}{
		{"stream: OK", true, "", nil},
		{"stream: Eicar-Test FOUND", false, "Eicar-Test", nil},
		{"stream: Eicar-Test(44d88612fea8a8f36de82e1278abb02f:68) FOUND", false, "Eicar-Test(44d88612fea8a8f36de82e1278abb02f:68)", nil},
		{"stream: OK FOUND", false, "OK", nil},
		{"INSTREAM size limit exceeded. ERROR", false, "", ErrOversize},
		{"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND", false, "", ErrOversize},
		{"stream: Heuristics.Limits.Exceeded FOUND", false, "", ErrOversize},
		{"", false, "", ErrReply},
		{"OK", false, "", ErrReply},
		{"PONG", false, "", ErrReply},
		{"stream: ok", false, "", ErrReply},
		{"stream: OK ", false, "", ErrReply},
		{" stream: OK", false, "", ErrReply},
		{"stream: OK\n", false, "", ErrReply},
		{"stream:  OK", false, "", ErrReply},
		{"stream: ", false, "", ErrReply},
		{"stream: FOUND", false, "", ErrReply},
		{"stream:  FOUND", false, "", ErrReply},
		{"stream: \t FOUND", false, "", ErrReply},
		{"1: stream: OK", false, "", ErrReply},
		{"/tmp/message: OK", false, "", ErrReply},
		{"instream(local): OK", false, "", ErrReply},
		{"stream: Can't allocate memory ERROR", false, "", ErrReply},
		{"stream: Time limit reached ERROR", false, "", ErrReply},
		{"COMMAND READ TIMED OUT", false, "", ErrReply},
		{"UNKNOWN COMMAND", false, "", ErrReply},
		{"INSTREAM size limit exceeded. ERROR\n", false, "", ErrReply},
	} {
		v, err := parseReply([]byte(tt.reply))
		if v.Clean != tt.clean || v.Signature != tt.signature || !errors.Is(err, tt.err) {
			t.Errorf("%q: got %+v, %v; want clean %v, signature %q, %v", tt.reply, v, err, tt.clean, tt.signature, tt.err)
		}
	}
}

func TestZeroVerdictIsNotClean(t *testing.T) {
	if (Verdict{}).Clean {
		t.Fatal("a forgotten verdict lets mail pass")
	}
}

func TestPrintable(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"Win.Trojan.X-1", "Win.Trojan.X-1"},
		{"a\r\nb\x00c\x7f\xff", "a??b?c??"},
		{strings.Repeat("x", maxName+1), strings.Repeat("x", maxName)},
		{"é", "??"},
	} {
		if got := printable(tt.in); got != tt.want {
			t.Errorf("printable(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// FuzzReply gives the reply reader hostile octets, in one piece and one by one.
// There is only one way to be clean.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		"stream: OK\x00", "stream: OK", "stream: X FOUND\x00", "stream: OK\x00stream: X FOUND\x00",
		"INSTREAM size limit exceeded. ERROR\x00", "stream: Heuristics.Limits.Exceeded.MaxFiles FOUND\x00",
		"\x00", "", "stream: \xff\x1b[31m FOUND\x00", strings.Repeat("A", maxReply+10), "stream: OK\n\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := readReply(bytes.NewReader(raw))
		checkReply(t, raw, v, err)
		v, err = readReply(iotest.OneByteReader(bytes.NewReader(raw)))
		// Octet by octet, the reader cannot see what follows the NUL.
		whole, _, _ := bytes.Cut(raw, []byte{0})
		checkReply(t, append(whole[:len(whole):len(whole)], raw[min(len(whole), len(raw)):min(len(whole)+1, len(raw))]...), v, err)
	})
}

func checkReply(t *testing.T, raw []byte, v Verdict, err error) {
	t.Helper()
	if v.Clean != (string(raw) == "stream: OK\x00") {
		t.Fatalf("%q: clean %v", raw, v.Clean)
	}
	if err != nil && v != (Verdict{}) {
		t.Fatalf("%q: an error and a verdict: %v, %+v", raw, err, v)
	}
	if err == nil && v.Clean == (v.Signature != "") {
		t.Fatalf("%q: neither clean nor a virus, or both: %+v", raw, v)
	}
	if err != nil && resultOf(v, err) == "unknown" {
		t.Fatalf("%q: an error of no kind: %v", raw, err)
	}
	name := printable(v.Signature)
	if len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Fatalf("%q: not printable: %q", raw, name)
	}
}

func TestReplyReaderErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		r    io.Reader
		err  error
	}{
		{"endless", iotest.OneByteReader(bytes.NewReader(bytes.Repeat([]byte("A"), 1<<20))), ErrReply},
		{"empty", strings.NewReader(""), ErrTruncated},
		{"cut", strings.NewReader("stream: OK"), ErrTruncated},
		{"broken", iotest.ErrReader(io.ErrClosedPipe), ErrUnavailable},
		{"late", iotest.ErrReader(iotest.ErrTimeout), ErrUnavailable},
	} {
		if v, err := readReply(tt.r); !errors.Is(err, tt.err) || v != (Verdict{}) {
			t.Errorf("%s: got %+v, %v; want %v", tt.name, v, err, tt.err)
		}
	}
}
