package dkim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

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

// hostile are the shapes that cost other verifiers quadratic time.
func hostile(keys *testKeys, size int) map[string][]byte {
	sign := handSign(keys.ed25519, goodTags, ruleBody)
	relaxed := strings.Replace(sign, "v=1;", "v=1; c=relaxed/relaxed;", 1)
	long := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	with := func(old, new string) string { return strings.Replace(relaxed, old, new, 1) }
	names := with("h=From:Subject", "h=From"+strings.Repeat(":a", 4000))
	var distinct, signers strings.Builder
	for i := range 1500 {
		fmt.Fprintf(&distinct, ":x%d", i)
	}
	for i := range size / len(sign) {
		signers.WriteString(strings.Replace(sign, "d=example.org", fmt.Sprintf("d=d%d.example.org", i), 1))
	}
	message := func(head, body string) []byte { return []byte(head + "\r\n" + body) }
	return map[string][]byte{
		"distinct names":  message(with("h=From:Subject", "h=From"+distinct.String())+ruleFields+long("x7: b\r\n"), ruleBody),
		"colons":          message(with("h=From:Subject", "h=From"+strings.Repeat(":", 8000))+ruleFields, long("x\r\n")),
		"one name":        message(names+ruleFields+long("A: b\r\n"), ruleBody),
		"signed folds":    message(relaxed+"From: a@example.org\r\nSubject: y\r\n"+long(" z\r\n"), ruleBody),
		"signed tabs":     message(relaxed+"From: a@example.org\r\nSubject: "+long("\t")+"x\r\n", ruleBody),
		"simple folds":    message(sign+"From: a@example.org\r\nSubject: y\r\n"+long(" \t z\r\n"), ruleBody),
		"signers":         message(signers.String()+ruleFields, ruleBody),
		"folded b":        message(strings.TrimSuffix(relaxed, "\r\n")+strings.Repeat("\r\n\tA", 3000)+"\r\n"+ruleFields, long("y\r\n")),
		"long b":          message(strings.TrimSuffix(relaxed, "\r\n")+strings.Repeat("A", 12000)+"\r\n"+ruleFields, long("y\r\n")),
		"long i":          message(with("v=1;", "v=1; i="+strings.Repeat("=40", 4000)+"@example.org;")+ruleFields, long("y\r\n")),
		"duplicate tags":  message("DKIM-Signature: "+long("v=1; ")+"\r\n"+ruleFields, ruleBody),
		"no equals":       message("DKIM-Signature: "+long("v")+"\r\n"+ruleFields, ruleBody),
		"equals":          message("DKIM-Signature: v"+long("=")+"\r\n"+ruleFields, ruleBody),
		"comments":        message(sign+"From: "+long("(")+"\r\n", ruleBody),
		"at signs":        message(sign+"From: "+long("@")+"\r\n", ruleBody),
		"space runs":      message(sign+relaxed+ruleFields, long("a   \t   b\r\n")),
		"trailing spaces": message(sign+relaxed+ruleFields, long("a \r\n \r\n")),
		"no end":          message(sign+relaxed+ruleFields, long("        ")),
		"folds":           []byte(relaxed + "From: a@example.org\r\nX: y\r\n" + long(" z\r\n") + "\r\n" + ruleBody),
		"fields":          []byte(relaxed + ruleFields + long("a: b\r\n") + "\r\n" + ruleBody),
		"names":           []byte(names + ruleFields + long("a: b\r\n") + "\r\n" + ruleBody),
		"blank lines":     []byte(sign + relaxed + ruleFields + "\r\n" + long("\r\n") + "x\r\n"),
		"short lines":     []byte(sign + relaxed + ruleFields + "\r\n" + long("a\r\n\r\n")),
		"white lines":     []byte(sign + relaxed + ruleFields + "\r\n" + long(" \r\n")),
		"one line":        []byte(sign + relaxed + ruleFields + "\r\n" + long("a  b ") + "\r\n"),
		"one word":        []byte(sign + relaxed + ruleFields + "\r\n" + long("abcdefgh") + "\r\n"),
		"no lines":        []byte(sign + relaxed + ruleFields + "\r\n" + long("\r")),
		"signatures":      []byte(strings.Repeat(sign, size/len(sign)) + ruleFields + "\r\n" + ruleBody),
		"tags":            []byte("DKIM-Signature: " + long("a=;\r\n ") + "\r\n" + ruleFields + "\r\n" + ruleBody),
		"semicolons":      []byte("DKIM-Signature: " + long(";") + "\r\n" + ruleFields + "\r\n" + ruleBody),
		"from":            []byte(sign + "From: " + long("a@b, ") + "\r\n\r\n" + ruleBody),
	}
}

// TestHostileCostIsLinear: eight times the input may cost at most 30 times the
// CPU, where quadratic code would cost 64 times as much.
func TestHostileCostIsLinear(t *testing.T) {
	keys := newTestKeys(t)
	small, large := hostile(keys, 1<<15), hostile(keys, 1<<18)
	if len(small) < 30 {
		t.Errorf("only %d shapes", len(small))
	}
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
