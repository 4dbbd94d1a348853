package dkim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// TestAgainstMsgauth signs random messages, breaks some of them and compares
// every result with go-msgauth.
func TestAgainstMsgauth(t *testing.T) {
	keys := newTestKeys(t)
	n := 3000
	if testing.Short() {
		n = 300
	}
	passes, differ := 0, 0
	for seed := range uint64(n) {
		g := newGenerator(seed)
		m := g.message()
		for range 1 + g.IntN(3) {
			m = keys.sign(t, m, g.options())
		}
		m = g.mutate(g.mutate(m))
		got := verifyInPieces(g, keys, m)
		want := msgauthResults(t, keys, m)
		if slices.Contains(got, Pass) {
			passes++
		}
		if slices.Equal(got, want) {
			continue
		}
		differ++
		if !slices.Equal(passing(got), passing(want)) {
			t.Fatalf("seed %d: got %v, go-msgauth says %v\n%q", seed, got, want, m)
		}
	}
	// The two may give a broken signature different names, rarely.
	if differ > n/50 {
		t.Errorf("%d of %d messages get another kind of failure", differ, n)
	}
	if passes < n/4 || passes > n*9/10 {
		t.Errorf("%d of %d messages pass: the generator tests one side only", passes, n)
	}
}

func passing(list []Status) []bool {
	out := make([]bool, len(list))
	for i, s := range list {
		out[i] = s == Pass
	}
	return out
}

// verifyInPieces feeds the body in random pieces, as the network would.
func verifyInPieces(g generator, keys *testKeys, m []byte) []Status {
	h, body := split(m)
	v := Start(context.Background(), keys.resolver(), h, time.Now())
	for len(body) > 0 {
		n := 1 + g.IntN(len(body))
		if g.IntN(2) == 0 {
			n = min(len(body), 1+g.IntN(3))
		}
		v.Write(body[:n])
		body = body[n:]
	}
	return statuses(v.End(context.Background()))
}

func msgauthResults(t *testing.T, keys *testKeys, m []byte) []Status {
	list, err := msgauth.VerifyWithOptions(bytes.NewReader(m), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return keys.resolver().LookupTXT(context.Background(), name) },
	})
	if err != nil {
		t.Fatal(err)
	}
	out := make([]Status, len(list))
	for i, v := range list {
		switch {
		case v.Err == nil:
			out[i] = Pass
		case msgauth.IsTempFail(v.Err):
			out[i] = TempError
		case msgauth.IsPermFail(v.Err):
			out[i] = PermError
		default:
			out[i] = Fail
		}
	}
	return out
}

func statuses(results []Result) []Status {
	out := make([]Status, len(results))
	for i, r := range results {
		out[i] = r.Status
	}
	return out
}

// oracle talks to a program that answers one JSON object a line with another.
type oracle struct {
	t   *testing.T
	in  *json.Encoder
	out *bufio.Reader
}

// dkimpy is testdata/dkimpy.py.
type dkimpy struct{ *oracle }

func startDkimpy(t *testing.T) dkimpy {
	const python = "/usr/bin/python3"
	if exec.Command(python, "-c", "import dkim").Run() != nil {
		t.Skip("the oracle is not there: needs the Debian package python3-dkim")
	}
	return dkimpy{startOracle(t, python, "testdata/dkimpy.py")}
}

func startOracle(t *testing.T, program, script string) *oracle {
	cmd := exec.Command(program, script)
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
	return &oracle{t, json.NewEncoder(stdin), bufio.NewReader(stdout)}
}

func (d *oracle) ask(request, answer any) {
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

// verify also tells when dkimpy does not take m for a message.
func (d dkimpy) verify(keys *testKeys, m []byte) (pass []bool, refused bool) {
	zone := map[string]string{}
	for name, txts := range keys.zone {
		zone[name] = txts[0]
	}
	var answer struct {
		Pass    []bool
		Refused bool
	}
	d.ask(map[string]any{"op": "verify", "message": m, "zone": zone}, &answer)
	return answer.Pass, answer.Refused
}

// sign returns m with dkimpy's signature on top.
func (d dkimpy) sign(keys *testKeys, g generator, m []byte) []byte {
	req := map[string]any{
		"op": "sign", "message": m, "domain": "example.org", "length": g.IntN(3) == 0,
		"header": g.pick("simple", "relaxed"), "body": g.pick("simple", "relaxed"),
	}
	if g.IntN(2) == 0 {
		req["selector"], req["algorithm"], req["key"] = "small", "rsa-sha256", keys.pem()
	} else {
		seed := base64.StdEncoding.EncodeToString(keys.ed25519.Seed())
		req["selector"], req["algorithm"], req["key"] = "ed", "ed25519-sha256", []byte(seed)
	}
	var answer struct{ Field []byte }
	d.ask(req, &answer)
	return append(answer.Field, m...)
}

// TestAgainstDkimpy lets each side sign and the other verify.
func TestAgainstDkimpy(t *testing.T) {
	oracle := startDkimpy(t)
	keys := newTestKeys(t)
	n := 1500
	if testing.Short() {
		n = 150
	}
	compared := 0
	for seed := range uint64(n) {
		g := newGenerator(1<<32 + seed)
		g.tidy = true
		m := g.message()
		if g.IntN(2) == 0 {
			m = oracle.sign(keys, g, m)
		} else {
			m = keys.sign(t, m, g.options())
		}
		m = g.mutate(m)
		if !bytes.HasSuffix(m, []byte("\r\n")) {
			m = append(m, "\r\n"...) // dkimpy does not see the end of the last line else
		}
		results := Verify(context.Background(), keys.resolver(), m, time.Now())
		want, refused := oracle.verify(keys, m)
		if refused {
			continue
		}
		compared++
		if len(results) != len(want) {
			t.Fatalf("seed %d: %d signatures, dkimpy has %d\n%q", seed, len(results), len(want), m)
		}
		for i, r := range results {
			if (r.Status == Pass) != want[i] && !excused(r, want[i], m) {
				t.Fatalf("seed %d: got %+v, dkimpy says pass=%v\n%q", seed, r, want[i], m)
			}
		}
	}
	if compared < n/2 {
		t.Errorf("only %d of %d messages were compared", compared, n)
	}
}

// excused names where the two differ on purpose: l= may not leave octets
// unsigned here, and dkimpy signs every From over, listed or not, which this
// gateway leaves to DMARC and to the refusal of such messages.
func excused(r Result, theirs bool, m []byte) bool {
	h, _ := split(m)
	return theirs && r.Reason == "l= does not cover the whole body" || !theirs && h.Count("From") > 1
}
