package mime

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/mail"
)

var _ filter.Streamer = (*Check)(nil)

// text is a Text that counts its calls.
type text struct {
	recorder
	reported, aborted int
}

func (x *text) Report() filter.Report {
	x.reported++
	return filter.Report{
		State:   filter.OK,
		Symbols: []filter.Symbol{{Name: "TEXT"}},
		Set:     func(f *filter.Facts) { f.Body.TextLength = 7 },
	}
}

func (x *text) Abort() { x.aborted++ }

func transaction(data []byte) *filter.Transaction {
	n, _ := mail.HeaderLength(data)
	h := mail.ParseHeader(data[:n])
	return &filter.Transaction{Header: &h, Content: mail.Bytes(data), Envelope: &mail.Envelope{}}
}

func names(list []filter.Symbol) string {
	var out []string
	for _, s := range list {
		out = append(out, s.Name)
	}
	return strings.Join(out, " ")
}

func TestCheck(t *testing.T) {
	data := readCase(t, "testdata/walk/part-after-close.eml")
	var x text
	c := New(func(*filter.Transaction) Text { return &x }, nil)
	run := c.Run(context.Background(), transaction(data))
	const want = "DATE_MISSING MESSAGE_ID_MISSING SUBJECT_MISSING MIME_PART_AFTER_CLOSE MIME_AMBIGUOUS TEXT"
	if run.State != filter.OK || names(run.Symbols) != want {
		t.Errorf("%s: %s, want %s", run.State, names(run.Symbols), want)
	}
	var a filter.Facts
	run.Set(&a)
	if len(a.Body.Parts) != 3 || a.Body.Parts[2].Magic != "exe" || a.Body.TextLength != 7 ||
		!reflect.DeepEqual(a.Body.Ambiguities, []string{"part_after_close"}) || x.reported != 1 {
		t.Errorf("facts %+v, %d reports", a.Body, x.reported)
	}
	tx := transaction(data)
	s := c.Start(context.Background(), tx)
	s.Write(data[len(tx.Header.Raw):])
	if streamed := s.End(context.Background()); !reflect.DeepEqual(streamed.Symbols, run.Symbols) {
		t.Errorf("streamed %v, run %v", streamed.Symbols, run.Symbols)
	}
	c.Start(context.Background(), tx).Abort()
	if x.aborted != 1 {
		t.Errorf("%d aborts", x.aborted)
	}
}

func TestCheckWithoutText(t *testing.T) {
	for _, c := range []*Check{
		New(nil, nil),
		New(func(*filter.Transaction) Text { return nil }, func(*filter.Transaction) Parts { return nil }),
	} {
		r := c.Run(context.Background(), transaction([]byte("From: a@example.org\r\n\r\ntext\r\n")))
		var f filter.Facts
		r.Set(&f)
		if len(f.Body.Parts) != 1 || f.Body.Parts[0].Size != 6 {
			t.Errorf("%+v", f.Body)
		}
		c.Start(context.Background(), transaction(nil)).Abort()
	}
}

func TestHeaderSymbols(t *testing.T) {
	const good = "From: a@example.org\r\nDate: x\r\nMessage-ID: <x@y>\r\nSubject: s\r\n"
	for _, c := range []struct {
		in, want string
		utf8     bool
	}{
		{good + "\r\n", "", false},
		{"\r\n", "FROM_MISSING DATE_MISSING MESSAGE_ID_MISSING SUBJECT_MISSING", false},
		{good + "from: b\r\nSUBJECT: t\r\nTo: a\r\nTo: b\r\n\r\n", "FROM_MULTIPLE SUBJECT_MULTIPLE TO_MULTIPLE", false},
		{good + "X : y\r\n\r\n", "HEADER_SPACE_BEFORE_COLON", false},
		{good + "no field\r\n\r\n", "HEADER_NOT_A_FIELD", false},
		{good + "X: caf\xe9\r\n\r\n", "HEADER_8BIT", false},
		{good + "X: café\r\n\r\n", "", true},
		{good + "X: y\r\n \t\r\n\r\n", "HEADER_EMPTY_FOLD", false},
		{good + "X: y\r\n z\r\n\r\n", "", false},
		{good, "HEADER_NO_BREAK", false},
	} {
		h := mail.ParseHeader([]byte(c.in))
		if got := names(headerSymbols(&h, c.utf8)); got != c.want {
			t.Errorf("%q: %s, want %s", c.in, got, c.want)
		}
	}
}

func walkOnly(data string) *Walker {
	n, _ := mail.HeaderLength([]byte(data))
	h := mail.ParseHeader([]byte(data[:n]))
	w := NewWalker(&h, nil, nil)
	w.Write([]byte(data[n:]))
	w.Close()
	return w
}

// TestLimits: what exceeds a limit is said, and nothing beyond it is kept.
func TestLimits(t *testing.T) {
	const top = "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	w := walkOnly(top + strings.Repeat("--b\r\n\r\nx\r\n", 2*MaxParts))
	if len(w.Parts) != MaxParts || !w.Odd.Has(LimitParts) {
		t.Errorf("%d parts, %v", len(w.Parts), w.Odd.List())
	}
	w = walkOnly(strings.Repeat("Content-Type: message/rfc822\r\n\r\n", 2*MaxDepth))
	if len(w.Parts) != MaxDepth+1 || !w.Odd.Has(LimitDepth) {
		t.Errorf("%d levels, %v", len(w.Parts), w.Odd.List())
	}
	w = walkOnly(top + "--b\r\n" + strings.Repeat("X: y\r\n", MaxHeader/6+1) + "\r\nbody\r\n--b\r\n\r\nnext\r\n--b--\r\n")
	if len(w.Parts) != 3 || !w.Odd.Has(LimitHeader) || cap(w.head) > 2*MaxHeader {
		t.Errorf("%d parts, %v, %d octets of header kept", len(w.Parts), w.Odd.List(), cap(w.head))
	}
	inner := "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
	w = walkOnly(strings.Repeat(inner, 20))
	if len(w.Parts) != MaxEncoded+1 || !w.Odd.Has(LimitDepth) {
		t.Errorf("%d encoded messages, %v", len(w.Parts), w.Odd.List())
	}
	var b strings.Builder
	b.WriteString(top)
	for i := range 2 * MaxDepth {
		fmt.Fprintf(&b, "--b\r\nContent-Type: multipart/mixed; boundary=b\r\nX: %d\r\n\r\n", i)
	}
	if w = walkOnly(b.String()); len(w.frames) != 0 || !w.Odd.Has(BoundaryReuse) {
		t.Errorf("%d open, %v", len(w.frames), w.Odd.List())
	}
}
