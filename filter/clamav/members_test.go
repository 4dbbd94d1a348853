package clamav

import (
	"context"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"mailweir/filter"
	"mailweir/internal/archive"
	"mailweir/internal/mailtest"
)

// TestMembers: EICAR is found in archives of every kind, whether clamd knows it
// or not; what is deeper than is unpacked is not clean.
func TestMembers(t *testing.T) {
	client := newClient(t, Options{Address: "unix:" + mailtest.StartStrictClamd(t, "MaxRecursion 3", "AlertExceedsMax no").Socket})
	judged := func(items ...string) filter.VirusFacts {
		k := NewCheck(client, func(*filter.Transaction, func() io.Reader) Contents { return &list{items: items} })
		j := judge(t, k, harmless(100))
		v := j.Facts.Virus
		if n := names(j.Symbols); (n == filter.SymVirus) != (v.Signature != "") || (n == filter.SymOversize) == v.Scanned {
			t.Errorf("%s, %+v", n, v)
		}
		return v
	}
	for _, kind := range slices.Sorted(maps.Keys(mailtest.Packers)) {
		if _, err := exec.LookPath("bzip2"); kind == "bzip2" && err != nil {
			continue
		}
		data := mailtest.Packers[kind](t, "inner.dat", mailtest.EICAR())
		if v := judged("text", string(data)); v.Signature == "" {
			t.Errorf("%s: not found: %+v", kind, v)
		}
		// A familiar archive in which it lies is gone into, too.
		if v := judged(string(mailtest.Packers["zip"](t, "a", data))); v.Signature == "" {
			t.Errorf("zip of %s: not found: %+v", kind, v)
		}
		if v := judged(string(mailtest.Packers[kind](t, "inner.dat", []byte("harmless")))); v.Signature != "" || !v.Scanned {
			t.Errorf("%s: harmless, and %+v", kind, v)
		}
	}
	data := mailtest.EICAR()
	for depth := 1; depth <= archive.DefaultLimits().Depth+1; depth++ {
		data = mailtest.RAR("a.rar", data)
		v := judged(string(data))
		if deep := depth > archive.DefaultLimits().Depth; (v.Signature == "") != deep || v.Scanned == deep {
			t.Errorf("%d deep: %+v", depth, v)
		}
	}
	if v := judged(string(mailtest.RAR("inner.dat", mailtest.EICAR()))); !strings.HasSuffix(v.Where, " > inner.dat") || v.Contents != 2 {
		t.Errorf("%+v", v)
	}
	// What every clamd unpacks is not sent again; what it does not see is: second
	// streams, and archives behind octets that tell nothing of them, however far.
	text := string(harmless(200 << 10))
	empty := string(mailtest.Packers["gzip"](t, "a", nil))
	for _, c := range []struct {
		name, data string
		contents   int
		found      bool
	}{
		{"tar", string(mailtest.Packers["tar"](t, "a", []byte("b"))), 1, false},
		{"zip", string(mailtest.Packers["zip"](t, "a", []byte("b"))), 1, false},
		{"gzip", empty, 1, false},
		{"text", text, 1, false},
		{"zip behind text", text + string(mailtest.Packers["zip"](t, "a", mailtest.EICAR())), 2, true},
		{"rar behind text", text + string(mailtest.RAR("a", mailtest.EICAR())), 2, true},
		{"zip behind gzip", empty + string(mailtest.Packers["zip"](t, "a", mailtest.EICAR())), 2, true},
	} {
		if v := judged(c.data); v.Contents != c.contents && !c.found || (v.Signature != "") != c.found {
			t.Errorf("%s: %+v", c.name, v)
		}
	}
}

// TestPanic: a mistake in what takes a message apart ends the check, not the
// process, wherever it comes to light.
func TestPanic(t *testing.T) {
	client := newClient(t, Options{Address: "unix:" + mailtest.StartClamd(t).Socket})
	for _, c := range []panicking{{next: true}, {}} {
		k := NewCheck(client, func(*filter.Transaction, func() io.Reader) Contents { return c })
		if j := judge(t, k, harmless(100)); names(j.Symbols) != filter.SymScannerError {
			t.Errorf("%+v: %s", c, names(j.Symbols))
		}
	}
}

// panicking is a Contents that does, at once or when it is read.
type panicking struct{ next bool }

func (p panicking) Next() (io.Reader, string, error) {
	if p.next {
		panic("a mistake")
	}
	return p, "content", nil
}

func (panicking) Read([]byte) (int, error) { panic("another mistake") }

func (panicking) Incomplete() string { return "" }

// TestMembersOfTheLost: no turn to unpack is a failure, not a clean archive.
func TestMembersOfTheLost(t *testing.T) {
	k := NewCheck(newClient(t, Options{Address: "unix:/nonexistent"}), nil)
	for range unpackers {
		k.unpack <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := k.newMembers(ctx).scan(outcome{v: Verdict{Clean: true}}, mailtest.RAR("a", []byte("b")))
	if o.weight() != weightFailed {
		t.Errorf("%+v", o)
	}
}
