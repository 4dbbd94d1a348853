package arc

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailweir/mail"
)

// FuzzValidate feeds hostile messages, in two ways that must agree.
func FuzzValidate(f *testing.F) {
	f.Add([]byte(newChain().grow(2).String()))
	f.Add([]byte("ARC-Seal: i=1; cv=none; b=\r\nARC-Message-Signature: i=1; h=\r\nARC-Authentication-Results: i=1;\r\n\r\n"))
	f.Add([]byte("ARC-Authentication-Results:(\r\n\r\n"))
	f.Fuzz(func(t *testing.T, m []byte) {
		whole := Validate(context.Background(), resolver(), m, time.Unix(0, 0))
		n, _ := mail.HeaderLength(m)
		h := mail.ParseHeader(m[:n])
		v := Start(context.Background(), resolver(), &h, time.Unix(0, 0))
		for i := range m[n:] {
			v.Write(m[n+i : n+i+1])
		}
		if got := v.End(context.Background()); got.Status != whole.Status || got.Reason != whole.Reason {
			t.Errorf("octet by octet %+v, at once %+v", got, whole)
		}
		if whole.Status == "" || (whole.Status == Fail) != (whole.Reason != "") {
			t.Errorf("%+v", whole)
		}
	})
}

func FuzzInstance(f *testing.F) {
	f.Add(" i=1; x")
	f.Add("(a(b)\\))i = 50 (c) ;")
	f.Add("i=100;")
	f.Fuzz(func(t *testing.T, s string) {
		n := resultsInstance([]byte(s))
		if n < 0 || n > 99 || n > 0 && !strings.Contains(s, ";") {
			t.Errorf("%q: %d", s, n)
		}
	})
}

// hostile are shapes that could cost quadratic time.
func hostile(size int) map[string]string {
	long := func(unit string) string { return strings.Repeat(unit, size/len(unit)) }
	padded := newChain()
	for range MaxSets {
		padded.add(func(d *draft) { d.results += "; x=" + strings.Repeat("y", size/MaxSets) })
	}
	set := "ARC-Seal: i=7; a=rsa-sha256; d=a.example; s=b; cv=pass; b=\r\n"
	good := newChain().grow(MaxSets)
	wide := newChain()
	wide.fields += long("X: y\r\n")
	wide.grow(3)
	return map[string]string{
		"sets":      padded.String(),
		"seals":     long(set) + goodFields + "\r\n" + goodBody,
		"strays":    long("ARC-Seal: i=\r\n") + goodFields + "\r\n" + goodBody,
		"results":   "ARC-Authentication-Results:" + long("(") + "\r\n" + goodFields + "\r\n",
		"comments":  "ARC-Authentication-Results:" + long("()") + "i=1;\r\n" + goodFields + "\r\n",
		"tags":      "ARC-Seal: " + long("a=;\r\n ") + "\r\n" + goodFields + "\r\n",
		"fields":    wide.String(),
		"body":      good.header() + "\r\n" + long(" \r\n"),
		"long body": good.header() + "\r\n" + long("hello world\r\n"),
	}
}

// TestHostileCostIsLinear: eight times the input may cost at most 30 times the
// CPU, where quadratic code would cost 64 times as much.
func TestHostileCostIsLinear(t *testing.T) {
	small, large := hostile(1<<15), hostile(1<<18)
	for name := range small {
		a, b := leastCPU(small[name]), leastCPU(large[name])
		t.Logf("%-12s 32 KB %8s, 256 KB %8s", name, a, b)
		if b > 30*max(a, time.Millisecond) {
			t.Errorf("%s: 32 KB cost %s, 256 KB %s", name, a, b)
		}
	}
}

// leastCPU is the processor time of the cheapest of three runs: other work on
// the machine must not fail the test.
func leastCPU(m string) time.Duration {
	least := time.Hour
	for range 3 {
		start := cpu()
		validate(m)
		least = min(least, cpu()-start)
	}
	return least
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkValidate(b *testing.B) {
	for _, c := range []struct {
		name string
		sets int
	}{{"none", 0}, {"one", 1}, {"three", 3}, {"fifty", MaxSets}} {
		m := newChain().grow(c.sets).String()
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				validate(m)
			}
		})
	}
}
