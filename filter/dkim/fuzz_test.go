package dkim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func FuzzTags(f *testing.F) {
	for _, s := range []string{"v=1; a=rsa-sha256;", "a = b ;\r\n\tc=", ";;", "=", "v=1; v=2", "p=\x00", "a_1=;b-=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tags, err := parseTags(s)
		if err != nil {
			return
		}
		for _, tag := range tags {
			if got := strings.Trim(s[tag.start:tag.end], fws); got != tag.value {
				t.Errorf("value %q stands at %q", tag.value, got)
			}
		}
		parseKey(s)
	})
}

// FuzzSignature feeds hostile messages, in two ways that must agree.
func FuzzSignature(f *testing.F) {
	keys := newTestKeys(f)
	f.Add([]byte(handSign(keys.ed25519, goodTags, ruleBody) + ruleFields + "\r\n" + ruleBody))
	f.Add([]byte("DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=rsa; h=from; bh=; b=\r\nFrom: a\r\n\r\n"))
	f.Add([]byte("DKIM-Signature:\r\n\r\n"))
	f.Fuzz(func(t *testing.T, m []byte) {
		whole := Verify(context.Background(), keys.resolver(), m, time.Unix(0, 0))
		h, body := split(m)
		v := Start(context.Background(), keys.resolver(), h, time.Unix(0, 0))
		for i := range body {
			v.Write(body[i : i+1])
		}
		if got := statuses(v.End(context.Background())); !slices.Equal(got, statuses(whole)) {
			t.Errorf("octet by octet %v, at once %v", got, statuses(whole))
		}
		for _, r := range whole {
			if r.Status == "" {
				t.Errorf("no status: %+v", r)
			}
		}
	})
}

var (
	wspAtEnd = regexp.MustCompile(`[ \t]+\r\n`)
	wspRun   = regexp.MustCompile(`[ \t]+`)
	endLines = regexp.MustCompile(`(\r\n)+\z`)
)

// naiveBody is RFC 6376 section 3.4 by the letter, for a body of whole lines.
func naiveBody(b string, relaxed bool) string {
	if relaxed {
		b = wspRun.ReplaceAllString(wspAtEnd.ReplaceAllString(b, "\r\n"), " ")
	}
	b = endLines.ReplaceAllString(b, "")
	if b != "" || !relaxed {
		b += "\r\n"
	}
	return b
}

func FuzzBody(f *testing.F) {
	f.Add([]byte("Hello  world \r\n\r\n"), uint8(3))
	f.Add([]byte(" \r\n\t\r\n"), uint8(1))
	f.Add([]byte("a\rb\nc \r \r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, body []byte, step uint8) {
		if len(body) > 0 && !bytes.HasSuffix(body, []byte("\r\n")) {
			body = append(body, "\r\n"...)
		}
		for _, relaxed := range []bool{false, true} {
			h := newBodyHash(relaxed)
			for rest := body; len(rest) > 0; {
				n := min(len(rest), int(step)+1)
				h.write(rest[:n])
				rest = rest[n:]
			}
			canonical := naiveBody(string(body), relaxed)
			want := sha256.Sum256([]byte(canonical))
			if !bytes.Equal(h.finish(), want[:]) || h.size != int64(len(canonical)) {
				t.Errorf("relaxed=%v: %q in steps of %d is not hashed as %q", relaxed, body, int(step)+1, canonical)
			}
		}
	})
}

var naiveFold = regexp.MustCompile(`\r\n`)

func FuzzRelaxedField(f *testing.F) {
	f.Add([]byte(" a\r\n\tb  c \r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		got := string(appendRelaxed(nil, "x", body))
		v := wspRun.ReplaceAllString(naiveFold.ReplaceAllString(string(body), ""), " ")
		if want := "x:" + strings.Trim(v, " ") + "\r\n"; got != want {
			t.Errorf("%q becomes %q, want %q", body, got, want)
		}
	})
}

// hostile are the shapes that cost other verifiers quadratic time.
func hostile(keys *testKeys, size int) map[string][]byte {
	sign := handSign(keys.ed25519, goodTags, ruleBody)
	relaxed := strings.Replace(sign, "v=1;", "v=1; c=relaxed/relaxed;", 1)
	long := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	names := strings.Replace(relaxed, "h=From:Subject", "h=From"+strings.Repeat(":a", 4000), 1)
	return map[string][]byte{
		"folds":       []byte(relaxed + "From: a@example.org\r\nX: y\r\n" + long(" z\r\n") + "\r\n" + ruleBody),
		"fields":      []byte(relaxed + ruleFields + long("a: b\r\n") + "\r\n" + ruleBody),
		"names":       []byte(names + ruleFields + long("a: b\r\n") + "\r\n" + ruleBody),
		"blank lines": []byte(sign + relaxed + ruleFields + "\r\n" + long("\r\n") + "x\r\n"),
		"short lines": []byte(sign + relaxed + ruleFields + "\r\n" + long("a\r\n\r\n")),
		"white lines": []byte(sign + relaxed + ruleFields + "\r\n" + long(" \r\n")),
		"one line":    []byte(sign + relaxed + ruleFields + "\r\n" + long("a  b ") + "\r\n"),
		"one word":    []byte(sign + relaxed + ruleFields + "\r\n" + long("abcdefgh") + "\r\n"),
		"no lines":    []byte(sign + relaxed + ruleFields + "\r\n" + long("\r")),
		"signatures":  []byte(strings.Repeat(sign, size/len(sign)) + ruleFields + "\r\n" + ruleBody),
		"tags":        []byte("DKIM-Signature: " + long("a=;\r\n ") + "\r\n" + ruleFields + "\r\n" + ruleBody),
		"semicolons":  []byte("DKIM-Signature: " + long(";") + "\r\n" + ruleFields + "\r\n" + ruleBody),
		"from":        []byte(sign + "From: " + long("a@b, ") + "\r\n\r\n" + ruleBody),
	}
}

// TestHostileCostIsLinear: eight times the input may cost at most 30 times the
// CPU, where quadratic code would cost 64 times as much.
func TestHostileCostIsLinear(t *testing.T) {
	keys := newTestKeys(t)
	small, large := hostile(keys, 1<<15), hostile(keys, 1<<18)
	for name := range small {
		a, b := leastCPU(keys, small[name]), leastCPU(keys, large[name])
		t.Logf("%-12s 32 KB %8s, 256 KB %8s", name, a, b)
		if b > 30*max(a, time.Millisecond) {
			t.Errorf("%s: 32 KB cost %s, 256 KB %s", name, a, b)
		}
	}
}

// leastCPU is the processor time of the cheapest of three runs: other work on
// the machine must not fail the test.
func leastCPU(keys *testKeys, m []byte) time.Duration {
	least := time.Hour
	for range 3 {
		start := cpu()
		Verify(context.Background(), keys.resolver(), m, time.Unix(0, 0))
		least = min(least, cpu()-start)
	}
	return least
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkHostile(b *testing.B) {
	keys := newTestKeys(b)
	for name, m := range hostile(keys, 1<<20) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(m)))
			for b.Loop() {
				Verify(context.Background(), keys.resolver(), m, time.Unix(0, 0))
			}
		})
	}
}

func BenchmarkBody(b *testing.B) {
	line := "The quick brown fox jumps over the lazy dog, and then it does so once more.\r\n"
	for _, kind := range []struct {
		name    string
		relaxed bool
		body    string
	}{
		{"simple", false, strings.Repeat(line, 840)},
		{"relaxed", true, strings.Repeat(line, 840)},
		{"relaxed/untidy", true, strings.Repeat(strings.Replace(line, ". ", ".  ", 1)[:70]+" \r\n", 900)},
	} {
		b.Run(kind.name, func(b *testing.B) {
			b.SetBytes(int64(len(kind.body)))
			for b.Loop() {
				h := newBodyHash(kind.relaxed)
				h.write([]byte(kind.body))
				h.finish()
			}
		})
	}
}
