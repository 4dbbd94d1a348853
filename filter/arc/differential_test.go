package arc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"mailweir/mail"
)

// dkimpy talks to testdata/dkimpy.py.
type dkimpy struct {
	t   *testing.T
	in  *json.Encoder
	out *bufio.Reader
}

func startDkimpy(t *testing.T) *dkimpy {
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import dkim, authres").Run() != nil {
		t.Skip("the oracle is not there: needs the Debian packages python3-dkim and python3-authres")
	}
	cmd := exec.Command(python, "testdata/dkimpy.py")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return &dkimpy{t, json.NewEncoder(stdin), bufio.NewReader(stdout)}
}

func (d *dkimpy) ask(request, answer any) {
	d.t.Helper()
	if err := d.in.Encode(request); err != nil {
		d.t.Fatal(err)
	}
	line, err := d.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, answer)
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *dkimpy) verify(m []byte) string {
	zone := map[string]string{}
	for name, txts := range keys().zone {
		if len(txts) == 1 {
			zone[name] = txts[0]
		}
	}
	var answer struct{ Result string }
	d.ask(map[string]any{"op": "verify", "message": m, "zone": zone}, &answer)
	return answer.Result
}

// seal lets dkimpy put a set on top of m, as the mailing list of that name.
func (d *dkimpy) seal(m []byte, hop int, cv string) []byte {
	id := fmt.Sprintf("hop%d.example.org", hop)
	own := "Authentication-Results: " + id + "; spf=pass smtp.mailfrom=a@example.org; arc=" + cv + "\r\n"
	m = append([]byte(own), m...)
	var answer struct{ Fields []byte }
	d.ask(map[string]any{"op": "sign", "message": m, "id": id, "key": keys().pem()}, &answer)
	return append(answer.Fields, m...)
}

type generator struct{ *rand.Rand }

func (g generator) pick(s ...string) string { return s[g.IntN(len(s))] }

func (g generator) message() []byte {
	var b strings.Builder
	b.WriteString("From: " + g.pick("a@example.org", "Joe  Doe <joe@example.org> ") + "\r\n")
	for range g.IntN(5) {
		b.WriteString(g.pick("To", "Subject", "X-A", "Received", "MIME-Version", "Date") + g.pick(":", ": ", ":\t ") +
			g.pick("word", "two  words", "a\r\n fold", "a \r\n\t fold ", "=20; i=7") + "\r\n")
	}
	b.WriteString("\r\n")
	for range g.IntN(5) {
		b.WriteString(g.pick("text", "two  spaces", " lead", "trail \t", "", "") + "\r\n")
	}
	return []byte(b.String())
}

// chain is a message that was handled by up to four sealers, some of which
// changed it first.
func (g generator) chain(oracle *dkimpy) []byte {
	m, cv := g.message(), "none"
	for hop := range g.IntN(5) {
		switch g.IntN(4) {
		case 0:
			m = append(m, "-- \r\nfooter\r\n"...)
		case 1:
			m = append([]byte("Subject: [list]\r\n"), m...)
		}
		m = oracle.seal(m, hop, cv)
		cv = "pass"
		if g.IntN(25) == 0 {
			cv = "fail"
		}
	}
	return m
}

// mutate changes a message in one place, or not at all.
func (g generator) mutate(m []byte) []byte {
	at := g.IntN(len(m))
	switch g.IntN(9) {
	case 0: // insert, but never between CR and LF, and never at the start of a line
		if m[at] == '\n' || at == 0 || m[at-1] == '\n' {
			return m
		}
		return bytes.Join([][]byte{m[:at], []byte(g.pick("x", " ", "\t", ";", "\r\n ")), m[at:]}, nil)
	case 1:
		if m[at] == '\r' || m[at] == '\n' {
			return m
		}
		return append(bytes.Clone(m[:at]), m[at+1:]...)
	case 2:
		return append(bytes.Clone(m), g.pick("\r\n", "x\r\n", " \r\n")...)
	case 3: // a field on top
		return append([]byte(g.pick("Subject: other", "X-A: 1", "ARC-Seal: i=1; cv=none", "ARC-Authentication-Results: i=2; x")+"\r\n"), m...)
	case 4: // a tag
		old := g.pick("i=1", "i=2", "cv=none", "cv=pass", "a=rsa-sha256", "d=example.org", "s=rsa", "h=from", "bh=", "t=", "b=")
		text := g.pick("i=3", "i=0", "cv=fail", "cv=pass", "cv=none", "a=rsa-sha1", "h=from; ", "zz=1; "+old, ";"+old, " "+old)
		return bytes.Replace(m, []byte(old), []byte(text), 1+g.IntN(2))
	case 5: // white space and case, which relaxed canonicalisation forgives
		return bytes.Replace(m, []byte(g.pick("; ", ": ", " : ")), []byte(g.pick(";  ", ":  ", " :\r\n ")), 1+g.IntN(3))
	case 6:
		return bytes.Replace(m, []byte("ARC-Seal:"), []byte("arc-SEAL:"), 1)
	case 7: // a field less
		h := mail.ParseHeader(m)
		if len(h.Fields) < 2 {
			return m
		}
		f := h.Fields[g.IntN(len(h.Fields))].Raw
		return bytes.Replace(m, f, nil, 1)
	}
	return m
}

// TestAgainstDkimpy lets dkimpy seal messages, breaks them in many ways, and
// compares the verdicts.
func TestAgainstDkimpy(t *testing.T) {
	oracle := startDkimpy(t)
	chains := 200
	if testing.Short() {
		chains = 20
	}
	compared, count := 0, map[Status]int{}
	for seed := range uint64(chains) {
		g := generator{rand.New(rand.NewPCG(seed, 1))}
		m := g.chain(oracle)
		for range 12 {
			m := g.mutate(g.mutate(m))
			got, want := g.validate(m), oracle.verify(m)
			if want == "refused" || strings.HasPrefix(want, "crashed") {
				continue
			}
			compared++
			count[got.Status]++
			if string(got.Status) != want && !excused(got, want) {
				t.Fatalf("seed %d: got %+v, dkimpy says %s\n%q", seed, got, want, m)
			}
		}
	}
	t.Logf("%d compared: %v", compared, count)
	if compared < 8*chains || count[Pass] < compared/8 || count[Fail] < compared/8 {
		t.Errorf("%d messages compared, %v: the generator tests one side only", compared, count)
	}
}

// validate feeds the body in random pieces, as the network would.
func (g generator) validate(m []byte) Result {
	n, _ := mail.HeaderLength(m)
	h := mail.ParseHeader(m[:n])
	v := Start(context.Background(), resolver(), &h, time.Now())
	for rest := m[n:]; len(rest) > 0; {
		k := 1 + g.IntN(len(rest))
		v.Write(rest[:k])
		rest = rest[k:]
	}
	return v.End(context.Background())
}

// excused names where the two differ on purpose: dkimpy overlooks some fields
// that belong to no set, and finds an instance in others that cannot be read.
func excused(r Result, theirs string) bool {
	return theirs == "pass" && r.Reason == errStray.Error() || theirs == "fail" && r.Status == None
}
