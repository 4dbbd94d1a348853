package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// slowZone has an SPF record of eleven answers one after the other, and a
// signature; and authors without a policy, whose tree walks are more than what is
// begun ahead of its turn.
func slowZone() string {
	var b strings.Builder
	b.WriteString("s0.slow.example TXT \"v=spf1 include:s1.slow.example -all\"\n")
	for i := 1; i <= 10; i++ {
		fmt.Fprintf(&b, "s%d.slow.example TXT \"v=spf1 include:s%d.slow.example -all\"\n", i, i+1)
	}
	return b.String()
}

const slowSignature = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=%s; s=s; h=from;\r\n" +
	" bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=" +
	"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\r\n"

const slowAuthors = "From: a@1.2.3.4.5.6.slow.example, b@7.6.5.4.3.2.slow.invalid,\r\n" +
	" c@a.b.c.d.e.f.more.example, d@f.e.d.c.b.a.more.invalid, e@z.y.x.w.v.u.last.example\r\n"

// TestSlowDNS has a message wait for DNS as long as it can, from a server on
// loopback: 20 s from the first question to the reply, where each check for
// itself could take as much. What was not found out is temperror; but a sender
// who is slow himself, and waits before DATA until that has cost all that it may,
// does not get as far with the domain of somebody else.
func TestSlowDNS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, fault, header string
		tops                []string
		pause, most         time.Duration
		spf, dmarc          string
	}{
		{"silent", "!drop %s\n", fmt.Sprintf(slowSignature, "s0.slow.example") + slowAuthors,
			[]string{"*.example", "*.invalid", "*.arpa"}, 0, 12 * time.Second, "temperror", "temperror"},
		{"slow", "!late %s 1800ms\n", fmt.Sprintf(slowSignature, "s0.slow.example") + slowAuthors,
			[]string{"*.example", "*.invalid", "*.arpa"}, 0, 20 * time.Second, "temperror", "temperror"},
		{"slow sender", "!late %s 1800ms\n", fmt.Sprintf(slowSignature, "victim.example") + "From: a@victim.example\r\n",
			[]string{"*.slow.example", "*.arpa"}, 17 * time.Second, 17 * time.Second, "temperror", "fail"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &onlooker{world: newWorld(t, t.TempDir())}
			r.more = "[[dnsbl]]\nzone = \"list.example\"\nscore = 1.0\n[[uribl]]\nzone = \"names.example\"\ntest_point = \"test\"\nscore = 1.0\n"
			zone := slowZone() + "_dmarc.victim.example TXT \"v=DMARC1; p=reject\"\n"
			for _, top := range c.tops {
				zone += fmt.Sprintf(c.fault, top)
			}
			r.open(t, zone)
			begin := time.Now()
			dot, reply := r.slowly(t, c.pause, &letter{listen: "Listen", xclient: "ADDR=192.0.2.7", helo: "helo.slow.example",
				from: "x@s0.slow.example", to: []string{"joe@rcpt.example"}, msg: []byte(c.header + "Subject: x\r\n\r\nhttp://link.example/\r\n")})
			all := time.Since(begin)
			t.Logf("%v from the dot to the reply, %v in all", dot.Round(time.Millisecond), all.Round(time.Millisecond))
			if all > c.most+4*time.Second {
				t.Errorf("it waited for %v", all)
			}
			if !strings.HasPrefix(reply, "250 ") {
				t.Fatal(reply)
			}
			found, err := r.sinks["Sink"].wait(1, patience)
			if err != nil {
				t.Fatal(err)
			}
			results := readResults(t, found[0].Data)
			if spf, dmarc := first(results, "spf").result, first(results, "dmarc").result; spf != c.spf || dmarc != c.dmarc {
				t.Errorf("spf=%s dmarc=%s", spf, dmarc)
			}
		})
	}
}

// slowly sends a letter, with a pause before DATA, and tells how long the reply to
// its last dot took.
func (r *onlooker) slowly(t *testing.T, pause time.Duration, l *letter) (time.Duration, string) {
	t.Helper()
	c, err := r.dial(l.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.greet(l); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"MAIL FROM:<" + l.from + ">", "RCPT TO:<" + l.to[0] + ">", "DATA"} {
		if line == "DATA" {
			time.Sleep(pause)
		}
		if reply, err := c.do("%s", line); err != nil || reply[0] > '3' {
			t.Fatal(line, reply, err)
		}
	}
	c.data(l.msg)
	begin := time.Now()
	reply, err := c.reply()
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(begin), reply
}
