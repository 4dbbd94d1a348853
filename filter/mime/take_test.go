package mime

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

// taker writes down every leaf that it was given.
type taker struct {
	leaves []*taken
	refuse string // a type that it does not want
	limit  int    // octets of a leaf that it wants; 0 for all
}

type taken struct {
	leaf  Leaf
	b     []byte
	limit int
	ended int
}

func (x *taker) Begin(l *Leaf) Content {
	if x.refuse != "" && l.Type == x.refuse {
		return nil
	}
	t := &taken{leaf: *l, limit: x.limit}
	x.leaves = append(x.leaves, t)
	return t
}

func (t *taken) Write(p []byte) bool {
	t.b = append(t.b, p...)
	return t.limit == 0 || len(t.b) < t.limit
}

func (t *taken) End() { t.ended++ }

func (x *taker) String() string {
	var b strings.Builder
	for _, t := range x.leaves {
		fmt.Fprintf(&b, "%s %q %q ended %d\n", t.leaf.Type, t.leaf.Names, t.b, t.ended)
	}
	return b.String()
}

func takeFrom(data string, x *taker, piece int) {
	n, _ := mail.HeaderLength([]byte(data))
	h := mail.ParseHeader([]byte(data[:n]))
	w := NewWalker(&h, nil, x)
	for body := []byte(data[n:]); len(body) > 0; {
		m := min(len(body), piece)
		w.Write(body[:m])
		body = body[m:]
	}
	w.Close()
}

const nestedParts = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n" +
	"--b\r\n\r\ntext\r\n" +
	"--b\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n" +
	"Content-Disposition: attachment; filename=b.exe; filename*=utf-8''c%2Escr\r\n" +
	"Content-Disposition: attachment; filename=\"=?utf-8?Q?d=2Ejs?=\"\r\n\r\naGVs\r\nbG8=\r\n" +
	"--b\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
	"Q29udGVudC1UcmFuc2Zlci1FbmNvZGluZzogYmFzZTY0DQoNCmFHVnNiRzg9DQo=\r\n" + // a base64 body in it
	"--b--\r\n"

func TestTaker(t *testing.T) {
	const want = `text/plain [] "text" ended 1
application/pdf ["b.exe" "c.scr" "a.pdf" "d.js" "=?utf-8?Q?d=2Ejs?="] "hello" ended 1
text/plain [] "hello" ended 1
`
	for _, piece := range []int{1, 3, 64, len(nestedParts)} {
		var x taker
		takeFrom(nestedParts, &x, piece)
		if got := x.String(); got != want {
			t.Errorf("in pieces of %d:\n%s\nwant\n%s", piece, got, want)
		}
	}
	x := taker{refuse: "application/pdf", limit: 2}
	takeFrom(nestedParts, &x, 1)
	if got := x.String(); got != "text/plain [] \"te\" ended 1\ntext/plain [] \"hel\" ended 1\n" {
		t.Errorf("limited: %s", got)
	}
}

// parts is a Parts that fails.
type parts struct {
	taker
	aborted int
}

func (*parts) Report() filter.Report {
	return filter.Report{
		State: filter.Error, Cause: errors.New("broken"), Symbols: []filter.Symbol{{Name: "PARTS"}},
		Set: func(f *filter.Facts) { f.Body.Images = 3 },
	}
}

func (p *parts) Abort() { p.aborted++ }

func TestCheckWithParts(t *testing.T) {
	var p parts
	c := New(nil, func(*filter.Transaction) Parts { return &p })
	r := c.Run(t.Context(), transaction([]byte(nestedParts)))
	var f filter.Facts
	r.Set(&f)
	if len(p.leaves) < 4 || p.leaves[2].leaf.Reading != "" || p.leaves[3].leaf.Reading == "" || r.State != filter.Error || r.Cause == nil || !strings.HasSuffix(names(r.Symbols), "PARTS") ||
		f.Body.Images != 3 || len(f.Body.Parts) != 5 {
		t.Errorf("%d leaves, %+v, %+v", len(p.leaves), r, f.Body)
	}
	c.Start(t.Context(), transaction(nil)).Abort()
	if p.aborted != 1 {
		t.Errorf("aborted %d times", p.aborted)
	}
}
